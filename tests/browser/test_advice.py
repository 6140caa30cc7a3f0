"""`onAdvice` of the client: called once for each error with what the site advises, and never in the page's way."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.browser.pages import Browser, rows
from tests.servers import PATIENCE_SECONDS, Server, wait_until

pytestmark = pytest.mark.needs_chromium

TEXT = 'Use <b onclick="alert(1)">another</b> cable &amp; "driver".'
URL = "https://example.org/cables"
MAKE = """
  window.advice = [];
  window.telemetry = createTelemetry({
    baseUrl: url, appVersion: 'dev', context: { model },
    onAdvice: (advice, error) => window.advice.push([advice, error]),
  });
"""
# What the page was told: the advice, and the message of the error.
TOLD = "return window.advice.map(([advice, error]) => [advice, error.message ?? error]);"


@pytest.fixture(autouse=True)
def _advised(browser: Browser, site: Server, url: str) -> None:
    """Give advice to the failures `No ACK`. The server is another process, which must notice at once."""
    browser.run(
        "const telemetry = createTelemetry({ baseUrl: url });"
        "telemetry.reportError({ eventType: 'flash_error', errorName: 'Error', message: 'No ACK' });"
        "await telemetry.flush();",
        url=url,
    )
    columns = "advice_text = ?, advice_url = ?, advised_at_ms = 1"
    with closing(sqlite3.connect(site.data_dir / "telemetry.sqlite3", timeout=PATIENCE_SECONDS)) as database, database:
        changed = database.execute(
            f"UPDATE events_failuregroup SET {columns} WHERE title = 'No ACK' AND error_name = 'Error'", [TEXT, URL]
        ).rowcount
        assert changed >= 1
    browser.open()


def told(browser: Browser, number: int) -> Any:
    wait_until(lambda: len(browser.run(TOLD)) >= number, "no advice came")
    return browser.run(TOLD)


def report(*errors: str) -> str:
    """Return code that reports errors without a stack, which would put them into other groups."""
    return "".join(
        f"telemetry.reportError({{ eventType: 'flash_error', stack: ' ', error: {one} }});" for one in errors
    )


NO_ACK = "new Error('No ACK')"


def test_the_page_gets_the_advice_at_once_with_the_error(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        MAKE + f"window.error = {NO_ACK};" + report("error", "new Error('Nothing known')"),
        url=url,
        model="advice: at once",
    )
    assert told(browser, 1) == [[{"text": TEXT, "url": URL}, "No ACK"]]
    wait_until(lambda: browser.waiting() == [], "a failure waited")
    assert browser.run("return window.advice[0][1] === window.error;")
    assert [row["message"] for row in rows(site, "advice: at once")] == ["No ACK", "Nothing known"]
    assert len(browser.run(TOLD)) == 1


def test_one_error_gets_its_advice_once_and_an_equal_one_its_own(browser: Browser, site: Server, url: str) -> None:
    browser.run(MAKE + f"window.error = {NO_ACK};" + report("error"), url=url, model="advice: twice")
    told(browser, 1)
    browser.run(report("error"))  # the page reports it again, within 15 s
    browser.run("telemetry.reportError({ eventType: 'flash_error', error, model: 'other', stack: ' ' });")
    wait_until(lambda: browser.waiting() == [], "a failure waited")
    assert len(browser.run(TOLD)) == 1
    browser.run(report(NO_ACK))
    assert len(told(browser, 2)) == 2
    assert len(rows(site, "advice: twice")) == 1


@pytest.mark.parametrize(
    "callback",
    [
        "() => { window.advice.push([0, '']); throw new Error('from the page'); }",
        "async () => { window.advice.push([0, '']); throw new Error('from the page'); }",
        "() => { window.advice.push([0, '']); return { then() { throw new Error('from the page'); } }; }",
        "(window.advice.push([0, '']), 'no function')",
    ],
)
def test_a_callback_that_throws_disturbs_nobody(browser: Browser, site: Server, url: str, callback: str) -> None:
    browser.run(
        "window.advice = [];"
        f"window.telemetry = createTelemetry({{ baseUrl: url, context: {{ model }}, onAdvice: {callback} }});"
        "telemetry.installGlobalHandlers();" + report(NO_ACK, "new Error('Another')"),
        url=url,
        model=f"advice: {callback[:50]}",
    )
    told(browser, 1)
    wait_until(lambda: browser.waiting() == [], "an event stayed")
    assert browser.run("return uncaught;") == []
    assert [row["message"] for row in rows(site, f"advice: {callback[:50]}")] == ["No ACK", "Another"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ok": True, "advice": {"text": "x", "url": "https://example.org/"}}, {"text": "x", "url": "https://example.org/"}),
        ({"ok": True, "advice": {"text": "x", "url": None}}, {"text": "x", "url": None}),
        ({"ok": True, "advice": {"text": "x"}}, {"text": "x", "url": None}),
        ({"ok": True, "advice": {"text": "x", "url": "javascript:alert(1)"}}, {"text": "x", "url": None}),
        ({"ok": True, "advice": {"text": "x", "url": " https://example.org/"}}, {"text": "x", "url": None}),
        ({"ok": True, "advice": {"text": ["<b>"], "url": ["https://example.org/"]}}, {"text": "<b>", "url": "https://example.org/"}),
        ({"ok": True, "advice": {"text": 7, "html": "<b>"}}, {"text": "7", "url": None}),
        ({"ok": True, "advice": {"text": ""}}, None),
        ({"ok": True, "advice": {"text": {"toString": 1}}}, None),
        ({"ok": True, "advice": "x"}, None),
        ({"ok": True, "advice": None}, None),
        ({"ok": True}, None),
    ],
)  # fmt: skip
def test_only_text_and_an_https_link_reach_the_page(
    browser: Browser, url: str, answer: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    browser.run(
        "window.fetch = async () => new Response(answer, { status: 201 });" + MAKE + report(NO_ACK),
        url=url,
        model="advice: answers",
        answer=json.dumps(answer),
    )
    wait_until(lambda: browser.waiting() == [], "the event stayed")
    assert [advice for advice, _ in browser.run(TOLD)] == ([expected] if expected else [])
    assert browser.run("return uncaught;") == []


def test_failures_of_an_offline_page_get_their_advice_from_the_batch(browser: Browser, url: str) -> None:
    browser.run(MAKE, url=url, model="advice: queue")
    browser.go_offline()
    try:
        browser.run(report("new Error('Nothing known')", NO_ACK, "new Error('Also nothing')", "'No ACK'"))
        assert browser.run(TOLD) == []
    finally:
        browser.go_offline(False)
    found = told(browser, 1)
    wait_until(lambda: browser.waiting() == [], "the queue stayed")
    assert [message for _, message in found] == ["No ACK"]


def test_after_a_reload_the_callback_is_not_called(browser: Browser, site: Server, url: str) -> None:
    browser.run(MAKE, url=url, model="advice: reload")
    browser.go_offline()
    browser.run(report(NO_ACK))
    browser.go_offline(False)
    browser.open(afresh=False)
    browser.run(MAKE + "await telemetry.flush();", url=url, model="advice: reload")
    wait_until(lambda: browser.waiting() == [], "the queue stayed")
    assert len(rows(site, "advice: reload")) == 1
    assert browser.run(TOLD) == []


def test_advice_comes_after_a_beacon_when_the_page_is_seen_again(browser: Browser, site: Server, url: str) -> None:
    hide = "Object.defineProperty(document, 'visibilityState', { value: seen, configurable: true });"
    browser.run(hide + MAKE + report(NO_ACK), url=url, model="advice: beacon", seen="hidden")
    wait_until(lambda: len(rows(site, "advice: beacon")) == 1, "the beacon was lost")
    browser.run(hide + "document.dispatchEvent(new Event('visibilitychange'));", seen="visible")
    assert [message for _, message in told(browser, 1)] == ["No ACK"]
    wait_until(lambda: browser.waiting() == [], "the event stayed")
    assert (len(rows(site, "advice: beacon")), len(browser.run(TOLD))) == (1, 1)
