"""The client against the old Workers: no event is lost or stored twice, and no request goes to a missing route."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.pages import Browser
from tests.fixtures.stand_in import CounterWorker, LogWorker, old_workers, running
from tests.servers import wait_until

pytestmark = pytest.mark.needs_chromium

MAKE = """
  window.telemetry = createTelemetry({
    baseUrl: log, logIngestUrl: log, counterUrl: counter, unified, appVersion: 'dev', queueName: 'workers',
    context: { model: 'UV-5RM' }, timeoutMs: 20_000, debug: true,
  });
"""


@pytest.fixture
def workers() -> Iterator[tuple[LogWorker, CounterWorker]]:
    with old_workers(baseline=100, total=200) as pair:
        yield pair


def requests(*workers: LogWorker | CounterWorker) -> Counter[str]:
    """Return how often each route was called."""
    return Counter(f"{seen.method} {seen.path}" for worker in workers for seen in worker.seen)


def messages(rows: list[dict[str, Any]]) -> list[str]:
    return [row["message"] for row in rows if row["event_type"] != "flash_success"]


@pytest.mark.parametrize("status", [404, 405, 410, 501])
def test_events_go_singly_where_there_is_no_batch(browser: Browser, status: int) -> None:
    class Worker(LogWorker):
        def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            return (status, {}) if path == "/event/batch" else super().answer(method, path, body)

    log = Worker()
    with running(log):
        browser.run(
            MAKE
            + """
            for (let n = 0; n < 3; n += 1) telemetry.reportError({ message: `event ${n}` });
            await telemetry.flush();
            for (let n = 3; n < 6; n += 1) telemetry.reportError({ message: `event ${n}` });
            await telemetry.flush();
            """,
            log=log.url,
            counter="",
            unified=True,
        )
    assert messages(log.events) == [f"event {n}" for n in range(6)]
    assert requests(log) == {"POST /event/batch": 1, "POST /event": 6}
    assert browser.waiting() == []


def test_dual_mode_stores_everything_once_at_each_worker(
    browser: Browser, workers: tuple[LogWorker, CounterWorker]
) -> None:
    log, counter = workers
    total = browser.run(
        MAKE
        + """
        for (const n of [0, 1]) {
          telemetry.reportError({ eventType: 'flash_error', message: `event ${n}` });
          await telemetry.reportFlashSuccess({ sessionId: `session-${n}` });
        }
        await telemetry.flush();
        return telemetry.fetchFlashCount();
        """,
        log=log.url,
        counter=counter.url,
        unified="dual",
    )
    wait_until(lambda: len(log.logs) == 2, "a copy was lost")
    assert total == 202
    assert sorted(messages(log.events)) == sorted(messages(log.logs)) == ["event 0", "event 1"]
    assert sorted(log.sessions() - {"baseline-2026-02-10"}) == ["session-0", "session-1"]
    assert "sentToEvent" not in json.dumps([seen.body for seen in log.seen + counter.seen])
    assert set(requests(log, counter)) <= {
        *("POST /event", "POST /client-log", "POST /increment", "POST /event/batch", "GET /count")
    }


WITHOUT_A_ROUTE = {
    # name: (unified, is the counter named, is the log named, where a success goes, where a failure goes)
    "old mode, log alone": (False, False, True, "POST /event", "POST /client-log"),
    "old mode, nothing old": (False, False, False, "POST /event", "POST /event"),
    "old mode, both": (False, True, True, "POST /increment", "POST /client-log"),
    "dual, log alone": ("dual", False, True, "POST /event", "POST /event"),
    "dual, nothing old": ("dual", False, False, "POST /event", "POST /event"),
    "site alone": (True, True, True, "POST /event", "POST /event"),
}


@pytest.mark.parametrize("case", WITHOUT_A_ROUTE)
def test_an_event_never_goes_to_a_route_that_is_not_configured(
    browser: Browser, workers: tuple[LogWorker, CounterWorker], case: str
) -> None:
    log, counter = workers
    unified, has_counter, has_log, success, failure = WITHOUT_A_ROUTE[case]
    browser.run(
        """
        const telemetry = createTelemetry({ baseUrl: log, logIngestUrl, counterUrl, unified, timeoutMs: 20_000 });
        await telemetry.reportFlashSuccess({ sessionId: 'session' });
        telemetry.reportError({ message: 'event' });
        await telemetry.flush();
        """,
        log=log.url,
        logIngestUrl=log.url if has_log else "",
        counterUrl=counter.url if has_counter else "",
        unified=unified,
    )
    copies = Counter({"POST /client-log": 1} if unified == "dual" and has_log else {})
    wait_until(lambda: requests(log, counter).total() == 2 + copies.total(), "a request was lost")
    assert requests(log, counter) == Counter([success, failure]) + copies
    assert browser.waiting() == []


def test_a_count_with_or_without_ok_is_a_count(browser: Browser, workers: tuple[LogWorker, CounterWorker]) -> None:
    log, counter = workers
    counts = browser.run(
        """
        const of = (options) => createTelemetry(options).fetchFlashCount();
        const answers = ['{"total": 7}', '{"ok": true, "total": 8}', '{"ok": false, "total": 9}', '{"total": "7"}',
          '{"total": null}', '{"ok": true}', '[]', 'null', '"7"', 'no JSON'];
        const counts = [await of({ counterUrl: counter, unified: 'dual' }), await of({ baseUrl: log })];
        const fetched = window.fetch;
        for (const text of answers) {
          window.fetch = async () => new Response(text);
          counts.push(await of({ baseUrl: log }));
        }
        window.fetch = async () => new Response('{"total": 7}', { status: 500 });
        counts.push(await of({ baseUrl: log }));
        window.fetch = fetched;
        return counts;
        """,
        log=log.url,
        counter=counter.url,
    )
    assert counts == [200, 100, 7, 8, *[None] * 9]


@pytest.mark.parametrize("unified", ["dual", False])
def test_a_hidden_page_tells_an_old_worker_once(
    browser: Browser, workers: tuple[LogWorker, CounterWorker], unified: str | bool
) -> None:
    log, counter = workers
    addresses = {"log": log.url, "counter": counter.url, "unified": unified}
    browser.run(
        MAKE
        + """
        const hide = (state) => {
          Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
          document.dispatchEvent(new Event('visibilitychange'));
        };
        for (const n of [0, 1, 2]) telemetry.reportError({ eventType: 'flash_error', message: `event ${n}` });
        hide('hidden');
        telemetry.reportError({ message: 'while it was hidden' });
        await telemetry.reportFlashSuccess({ sessionId: 'hidden' });
        await new Promise((go) => setTimeout(go, 500));
        hide('visible');
        await telemetry.flush();
        """,
        **addresses,
    )
    browser.open(afresh=False)
    browser.run(MAKE + "await telemetry.flush();", **addresses)
    stored = log.events if unified else log.logs
    expected = sorted(["event 0", "event 1", "event 2", "while it was hidden"])
    wait_until(lambda: len(messages(stored)) >= len(expected), f"a failure was lost: {messages(stored)}")
    assert sorted(messages(stored)) == expected
    assert sorted(messages(log.logs)) == expected
    assert counter.count == 201
    assert browser.waiting() == []


def test_two_tabs_tell_an_old_worker_once(browser: Browser, workers: tuple[LogWorker, CounterWorker]) -> None:
    log, counter = workers
    addresses = {"log": log.url, "counter": counter.url, "unified": "dual"}
    browser.run(MAKE + "for (let n = 0; n < 8; n += 1) telemetry.reportError({ message: `event ${n}` });", **addresses)
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    second = browser.driver.current_window_handle
    try:
        browser.open(afresh=False)
        browser.run(MAKE, **addresses)
        for tab in (first, second):
            browser.driver.switch_to.window(tab)
            browser.run("window.flushed = telemetry.flush();")
        for tab in (first, second):
            browser.driver.switch_to.window(tab)
            browser.run("await window.flushed;")
    finally:
        browser.driver.switch_to.window(second)
        browser.driver.close()
        browser.driver.switch_to.window(first)
    browser.run("await telemetry.flush();")
    assert sorted(messages(log.events)) == [f"event {n}" for n in range(8)]
    assert browser.waiting() == []


@pytest.mark.parametrize("unified", [True, "dual", False])
def test_an_offline_page_loses_nothing(
    browser: Browser, workers: tuple[LogWorker, CounterWorker], unified: str | bool
) -> None:
    """Where the older services have an event alone, it waits for the network as every other does."""
    log, counter = workers
    browser.run(MAKE, log=log.url, counter=counter.url, unified=unified)
    browser.go_offline()
    try:
        browser.run(
            """
            for (const n of [0, 1]) {
              telemetry.reportError({ message: `event ${n}` });
              await telemetry.reportFlashSuccess({ sessionId: `session-${n}` });
            }
            dispatchEvent(new Event('pagehide'));
            """
        )
        assert len(browser.waiting()) == 4
    finally:
        browser.go_offline(False)
    wait_until(lambda: browser.waiting() == [], "the events stayed")
    if unified is False:
        assert (messages(log.logs), counter.count, log.events[1:]) == (["event 0", "event 1"], 202, [])
    else:
        assert messages(log.events) == ["event 0", "event 1"]
        assert log.sessions() == {"baseline-2026-02-10", "session-0", "session-1"}


def test_the_next_build_sends_the_queue_of_the_previous_build(
    browser: Browser, workers: tuple[LogWorker, CounterWorker]
) -> None:
    log, _ = workers
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    browser.run(
        MAKE
        + """
        telemetry.reportError({ message: 'left' });
        await telemetry.reportFlashSuccess({ sessionId: 'left' });
        """,
        log=address,
        counter=address,
        unified=False,
    )
    browser.open(afresh=False)
    browser.run(MAKE + "await telemetry.flush();", log=log.url, counter="", unified="dual")
    assert (messages(log.events), log.sessions()) == (["left"], {"baseline-2026-02-10", "left"})
    assert browser.waiting() == []


# Name of the case: how the server answers, how old the event is in days, and whether it is still there afterwards.
AGES: dict[str, tuple[str, float, bool]] = {
    "six days, refused": ("new Response('{}', { status: 403 })", 6.9, True),
    "eight days, refused": ("new Response('{}', { status: 403 })", 8, False),
    "eight days, missing": ("new Response('{}', { status: 404 })", 8, False),
    "eight days, broken": ("new Response('no JSON', { status: 200 })", 8, False),
    "eight days, unreachable": ("Promise.reject(new TypeError('Failed to fetch'))", 8, False),
    "eight days, stored": ("new Response('{\"ok\": true}')", 8, False),
}


@pytest.mark.parametrize("case", AGES)
def test_an_event_that_no_server_accepts_is_given_up_after_a_week(browser: Browser, case: str) -> None:
    answer, days, is_kept = AGES[case]
    kept, said, asked = browser.run(
        f"const answer = () => {answer};"
        """
        const [fetched, now, debug] = [window.fetch, Date.now, console.debug];
        const said = [];
        let asked = 0;
        console.debug = (...words) => said.push(words.join(' '));
        window.fetch = async () => (asked += 1, answer());
        Date.now = () => now() - days * 86_400_000;
        const telemetry = createTelemetry({ baseUrl: 'http://127.0.0.1:9', debug: true });
        telemetry.reportError({ message: 'oldest' });
        telemetry.reportError({ message: 'second' });
        Date.now = now;
        telemetry.reportError({ message: 'of today' });
        await telemetry.flush();
        [window.fetch, console.debug] = [fetched, debug];
        const kept = Object.keys(localStorage).filter((key) => key.startsWith('telemetry ')).sort();
        return [kept.map((key) => JSON.parse(localStorage.getItem(key)).message), said, asked];
        """,
        days=days,
    )
    discarded = [json.loads(line.partition(" {")[1][1:] + line.partition(" {")[2]) for line in said if "7 days" in line]
    if "stored" in case:
        assert (kept, discarded) == ([], [])
    else:
        assert kept == [*(["oldest", "second"] if is_kept else []), "of today"]
        assert [event["message"] for event in discarded] == ([] if is_kept else ["oldest", "second"])
    assert asked == (2 if case.endswith("missing") else 1)  # a missing batch route is followed by single events


def test_an_event_without_a_configured_route_is_dropped_after_a_week(browser: Browser) -> None:
    browser.run(
        """
        const event = { occurred_at: '2026-01-01T00:00:00.000Z', message: 'of a build that had a counter' };
        localStorage.setItem(`telemetry workers ${event.occurred_at} sabc`, JSON.stringify(event));
        const telemetry = createTelemetry({ unified: false, logIngestUrl: 'http://127.0.0.1:9', queueName: 'workers' });
        await telemetry.flush();
        """
    )
    assert browser.waiting() == []


BLANK: list[str] = ["", " ", "\\n\\t", "\\u0085", "\\u001c", "\\u00a0"]


@pytest.mark.parametrize("unified", ["dual", False])
@pytest.mark.parametrize("message", BLANK)
def test_a_blank_message_gets_the_words_that_the_old_log_gives_it(
    browser: Browser, workers: tuple[LogWorker, CounterWorker], message: str, unified: str | bool
) -> None:
    log, counter = workers
    browser.run(
        MAKE + f"telemetry.reportError({{ message: '{message}' }}); await telemetry.flush();",
        log=log.url,
        counter=counter.url,
        unified=unified,
    )
    wait_until(lambda: len(log.logs) == 1, "the copy was lost")
    assert messages(log.logs + log.events[1:]) == ["(no message)"] * (2 if unified else 1)
