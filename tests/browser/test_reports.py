"""What the client makes of what it is told: within the contract's limits, nothing personal, and never a throw."""

import json
import uuid
from typing import Any

import pytest

from events.ingest import contract
from tests.browser.pages import Browser, rows
from tests.servers import Server, wait_until

pytestmark = pytest.mark.needs_chromium

NOWHERE = "http://127.0.0.1:9"  # nothing listens there, so every event can be looked at


def reported(browser: Browser, code: str, **words: Any) -> list[dict[str, Any]]:
    """Report in the page; return the events that it would send."""
    browser.run(
        "window.telemetry = createTelemetry({ baseUrl: nowhere, appVersion: 'dev', context: { model: 'UV-5RM' } });"
        + code,
        nowhere=NOWHERE,
        **words,
    )
    return browser.waiting()


@pytest.mark.parametrize("unified", ["true", "'dual'"])
def test_nothing_is_longer_than_the_contract_takes(browser: Browser, unified: str) -> None:
    [event] = reported(
        browser,
        f"const telemetry = createTelemetry({{ baseUrl: nowhere, appVersion: long, unified: {unified} }});"
        """
        telemetry.reportError({
          message: long, errorName: long, stack: long, model: long,
          logLines: Array(999).fill(long), metadata: Object.fromEntries(Array(300).fill(long).map((_, n) => [n, long])),
        });
        """,
        long="📻" * 9_000,
    )
    row = contract.parse(event, received_at_ms=0)
    shorter = unified != "true"
    assert len(row.message) == (300 if shorter else 500)
    assert len(row.stack or "") == (1_200 if shorter else 4_000)
    assert len(row.error_name or "") == (120 if shorter else 200)
    assert (len(row.model), len(row.app_version)) == (64, 64)
    assert len(json.dumps(event, ensure_ascii=False).encode()) <= 60_000


@pytest.mark.parametrize("unit", ["\\u0001", '"', "\\\\", "é", "📻", "\\ud83d"])
def test_any_text_fits_a_beacon_and_the_contract(browser: Browser, unit: str) -> None:
    [event] = reported(
        browser,
        f"const long = '{unit}'.repeat(9_000);"
        """
        const logLines = Array(300).fill(long);
        const metadata = Object.fromEntries(logLines.map((_, n) => [n + long, long]));
        telemetry.reportError({ message: long, errorName: long, stack: long, logLines, metadata });
        const [key] = Object.keys(localStorage).filter((key) => key.startsWith('telemetry '));
        if (new Blob([localStorage.getItem(key)]).size > 60_000) throw new Error('no beacon takes this');
        """,
    )
    row = contract.parse(contract.clean(event), received_at_ms=0)
    assert len(json.loads(row.log_lines_json)) >= 10


def test_text_is_cut_between_characters(browser: Browser) -> None:
    found = reported(
        browser,
        "for (let n = 0; n < 4; n += 1) telemetry.reportError({ message: 'a'.repeat(n) + '📻'.repeat(500) });",
    )
    assert [event["message"] for event in found] == [
        "📻" * 500,
        *["a" * n + "📻" * (499 - n) + "…" for n in range(1, 4)],
    ]


def test_what_is_missing_gets_a_word(browser: Browser) -> None:
    found = reported(
        browser,
        """
        const telemetry = createTelemetry({ baseUrl: nowhere });
        telemetry.reportError();
        telemetry.reportError({ eventType: 'flash_success', message: ' \\u0085\\u001f ' });
        telemetry.reportFlashSuccess();
        telemetry.reportFlashSuccess({ message: '\\u001c' });
        """,
    )
    told = [(event["event_type"], event["message"], event["model"], event["app_version"]) for event in found]
    assert told == [
        ("window_error", "(no message)", "unknown", "unknown"),
        ("flash_success", "Flash complete", "unknown", "unknown"),
        ("flash_success", "Flash complete", "unknown", "unknown"),
    ]
    for event in found:
        contract.parse(event, received_at_ms=0)


def test_a_session_that_is_drawn_begins_with_its_time(browser: Browser) -> None:
    found = reported(
        browser,
        """
        window.before = Date.now();
        for (let n = 0; n < 20; n += 1) telemetry.reportFlashSuccess();
        window.after = Date.now();
        """,
    )
    before, after = browser.run("return [before, after];")
    sessions = [event["session_id"] for event in found]
    drawn = [uuid.UUID(session) for session in sessions]
    assert len(set(drawn)) == 20
    assert {(session.version, session.variant) for session in drawn} == {(7, uuid.RFC_4122)}
    assert all(before <= session.int >> 80 <= after for session in drawn)
    assert [str(session) for session in drawn] == sessions


def test_the_same_failure_is_one_event_with_a_count(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        """
        const telemetry = createTelemetry({ baseUrl: url, context: { model: 'reports: same', metadata: { bank: 3 } } });
        const report = (message) => telemetry.reportError({ eventType: 'flash_error', message });
        for (const message of ['No ACK', 'No ACK', 'Timeout', 'No ACK']) report(message);
        await telemetry.flush();
        for (const message of ['No ACK', 'No ACK']) report(message);
        await telemetry.flush();
        """,
        url=url,
    )
    found = [(row["message"], json.loads(row["metadata_json"])) for row in rows(site, "reports: same")]
    assert found == [("No ACK", {"bank": 3, "count": 3}), ("Timeout", {"bank": 3})]


def test_a_failure_goes_by_itself_when_its_window_is_over(browser: Browser, site: Server, url: str) -> None:
    # Fifteen seconds are long: the page is told that they are over.
    browser.run(
        """
        const real = Date.now;
        const telemetry = createTelemetry({ baseUrl: url, context: { model: 'reports: window' } });
        for (const n of [1, 2]) telemetry.reportError({ message: 'No ACK' });
        Date.now = () => real() + 16_000;
        telemetry.reportError({ message: 'No ACK' });
        """,
        url=url,
    )
    wait_until(lambda: len(rows(site, "reports: window")) == 1, "the first never came")
    assert json.loads(rows(site, "reports: window")[0]["metadata_json"]) == {"count": 2}
    assert ["count" in event["metadata_json"] for event in browser.waiting()] == [False]


def test_a_clock_that_is_set_back_hides_no_failure(browser: Browser) -> None:
    found = reported(
        browser,
        """
        const now = Date.now;
        telemetry.reportError({ message: 'No ACK' });
        Date.now = () => now() - 3_600_000;
        for (const n of [1, 2]) telemetry.reportError({ message: 'No ACK' });
        Date.now = now;
        """,
    )
    # The later one has the clock of its time, so it sorts before.
    assert [event["metadata_json"] for event in found] == ['{"count":2}', "{}"]


def test_no_address_and_no_user_agent_is_told(browser: Browser) -> None:
    [event] = reported(
        browser,
        """
        telemetry.reportError({
          message: 'Failed to load https://someone@example.org:8080/a/b/chunk-1a2b.js?user=anna#top',
          stack: 'Error: x\\n    at flash (http://localhost:5173/src/page.js?t=1:4:7)\\nrun@https://example.org/app/main.js:1:20',
          logLines: ['opened https://example.org/firmware/v2.bin', 'C://x', 'file:///home/anna/radio.bin',
            'https://anna:secret@example.org', 'https://example.org?of=anna@example.com',
            'at f (https://example.org/a(1)/b.js?of=(anna)&x:1:20)'],
        });
        """,
    )
    assert event["message"] == "Failed to load https://…/chunk-1a2b.js"
    assert event["stack"] == "Error: x\n    at flash (http://…/page.js:4:7)\nrun@https://…/main.js:1:20"
    assert json.loads(event["log_lines_json"]) == [
        *("opened https://…/v2.bin", "C://x", "file://…/radio.bin"),
        *("https://example.org", "https://example.org", "at f (https://…/b.js:1:20)"),
    ]
    agent = browser.run("return navigator.userAgent;")
    assert agent not in json.dumps(event)
    assert set(event) == {
        *("event_type", "occurred_at", "message", "stack", "model", "write_mode", "connected", "app_version"),
        *("log_lines_json", "metadata_json"),
    }


def test_uncaught_errors_and_rejections_are_reported_until_the_handlers_go(browser: Browser) -> None:
    found = reported(
        browser,
        """
        const uninstall = telemetry.installGlobalHandlers();
        const seen = async (count) => {
          while (window.uncaught.length < count) await new Promise((go) => setTimeout(go, 5));
        };
        throwLater('thrown');
        await seen(1);
        rejectLater('error');
        await seen(2);
        rejectLater('nothing');
        await seen(3);
        rejectLater('bare');
        await seen(4);
        uninstall();
        throwLater('thrown later');
        await seen(5);
        """,
    )
    told = [(event["event_type"], event["message"], event.get("error_name")) for event in found]
    assert told == [
        ("window_error", "thrown", "TypeError"),
        ("unhandled_rejection", "rejected", "RangeError"),
        ("unhandled_rejection", "undefined", None),
        ("unhandled_rejection", "(unprintable)", None),
    ]


def test_handlers_that_are_installed_twice_tell_once(browser: Browser) -> None:
    found = reported(
        browser,
        """
        telemetry.installGlobalHandlers();
        const uninstall = telemetry.installGlobalHandlers();
        throwLater('thrown');
        while (window.uncaught.length < 1) await new Promise((go) => setTimeout(go, 5));
        uninstall();
        throwLater('thrown later');
        while (window.uncaught.length < 2) await new Promise((go) => setTimeout(go, 5));
        """,
    )
    (event,) = found
    assert "count" not in json.loads(event["metadata_json"])


def test_what_throws_when_it_is_looked_at_is_reported_too(browser: Browser) -> None:
    found = reported(
        browser,
        """
        telemetry.installGlobalHandlers();
        throwLater('nasty');
        while (window.uncaught.length < 1) await new Promise((go) => setTimeout(go, 5));
        rejectLater('nasty');
        while (window.uncaught.length < 2) await new Promise((go) => setTimeout(go, 5));
        await new Promise((go) => setTimeout(go, 100));
        if (window.uncaught.length > 2) throw new Error(window.uncaught);
        """,
    )
    assert [event["event_type"] for event in found] == ["window_error", "unhandled_rejection"]


def test_a_report_is_kept_whatever_is_wrong_with_it(browser: Browser) -> None:
    found = reported(
        browser,
        """
        telemetry.reportError('thrown as it is');
        telemetry.reportError(null);
        telemetry.reportError({ message: 'lines', logLines: 7 });
        telemetry.reportError({ message: 'stack', get stack() { throw new Error('nasty'); } });
        await telemetry.reportFlashSuccess(null);
        await telemetry.reportFlashSuccess({ message: 'lines', logLines: {} });
        """,
    )
    assert [event["message"] for event in found] == [
        *("thrown as it is", "(no message)", "lines", "stack", "Flash complete", "lines")
    ]


# How a script of the page may have changed what JSON makes of a value.
PATCHES = {
    "arrays": "Array.prototype.toJSON = function () { return `[${this.join()}]`; };",
    "objects": "Object.prototype.toJSON = function () { return 'an object'; };",
    "throws": "Array.prototype.toJSON = Object.prototype.toJSON = () => { throw new Error('patched'); };",
    "nothing": "Array.prototype.toJSON = Object.prototype.toJSON = () => undefined;",
    "text": "String.prototype.toJSON = Number.prototype.toJSON = () => 'patched';",
}


@pytest.mark.parametrize("patch", PATCHES)
def test_a_page_that_changes_json_changes_no_event(browser: Browser, site: Server, url: str, patch: str) -> None:
    model = f"reports: patched {patch}"
    browser.run(
        """
        const telemetry = createTelemetry({ baseUrl: url, context: { model, logLines: ['a', 'b"'] } });
        """
        + PATCHES[patch]
        + """
        telemetry.reportError({ message: 'x', metadata: { bank: 3, missing: undefined, name: 'n' } });
        telemetry.reportError({ message: 'y', metadata: { bank: 4 } });
        await telemetry.flush();
        for (const kind of [Array, Object, String, Number]) delete kind.prototype.toJSON;
        """,
        url=url,
        model=model,
    )
    found = [(row["message"], json.loads(row["log_lines_json"]), row["metadata_json"]) for row in rows(site, model)]
    assert found == [
        ("x", ["a", 'b"'], '{"bank":3,"missing":"","name":"n"}'),
        ("y", ["a", 'b"'], '{"bank":4}'),
    ]


def test_the_causes_of_an_error_are_told(browser: Browser) -> None:
    found = reported(
        browser,
        """
        const report = (error) => telemetry.reportError(error);
        const lost = new DOMException('The device has been lost.', 'NetworkError');
        const deep = (n) => new Error(`level ${n}`, n ? { cause: deep(n - 1) } : {});
        const circle = new Error('circle');
        circle.cause = circle;
        report(new Error('Flash failed', { cause: new Error('No ACK') }));
        report(new Error('Flash failed', { cause: lost }));
        report(new AggregateError([new Error('first'), 'second', null], 'All ports failed', { cause: 7 }));
        report(deep(9));
        report(circle);
        report(Object.defineProperty(new Error('own'), 'cause', { get() { throw new Error('nasty'); } }));
        report(new Error('text', { cause: 'a text' }));
        report(new Error('none'));
        """,
    )
    told = [(event["message"], json.loads(event["metadata_json"]).get("cause")) for event in found]
    assert told[:4] == [
        ("Flash failed", "Error: No ACK"),
        ("Flash failed", "NetworkError: The device has been lost."),
        ("All ports failed", "7; Error: first; second"),
        ("level 9", "; ".join(f"Error: level {n}" for n in (8, 7, 6, 5, 4))),
    ]
    assert told[4] == ("circle", "; ".join(["Error: circle"] * 5))
    assert told[-2:] == [("text", "a text"), ("none", None)]


def test_nothing_is_thrown_whatever_is_told(browser: Browser) -> None:
    uncaught, kinds = browser.run(
        """
        const circle = {};
        circle.itself = circle;
        const nasty = new Proxy({}, { get() { throw new Error('nasty'); }, ownKeys() { throw new Error('nasty'); } });
        const words = [undefined, null, 0, '', 'text', Symbol('s'), [], circle, nasty, Object.create(null), () => {}];
        const kinds = new Set();
        for (const unified of [true, false, 'dual']) {
          for (const context of [undefined, () => { throw new Error('context'); }, () => nasty, circle, 7]) {
            const addresses = { baseUrl: nowhere, logIngestUrl: nowhere, counterUrl: nowhere };
            const telemetry = createTelemetry({ ...addresses, unified, context });
            for (const word of words) {
              const fields = ['message', 'error', 'stack', 'model', 'metadata', 'logLines', 'sessionId'];
              const told = fields.map((field) => ({ [field]: word }));
              for (const details of [word, ...told, { metadata: { word } }, { logLines: [word] }]) {
                kinds.add(telemetry.reportError(details));
                kinds.add(await telemetry.reportFlashSuccess(details));
              }
            }
            kinds.add(await telemetry.flush());
            kinds.add(await telemetry.fetchFlashCount());
          }
        }
        createTelemetry({ baseUrl: nasty, appVersion: nasty, token: nasty });
        createTelemetry(null);
        return [window.uncaught, [...kinds].map(String)];
        """,
        nowhere=NOWHERE,
    )
    assert uncaught == []
    assert set(kinds) == {"undefined", "null"}


def test_the_console_stays_silent_but_under_debug(browser: Browser, site: Server, url: str) -> None:
    code = """
        const telemetry = createTelemetry({ baseUrl: url, debug, context: () => { throw new Error('context'); } });
        telemetry.reportError({ message: 'quiet' });
        await telemetry.reportFlashSuccess({ logLines: 7 });
        await telemetry.flush();
        """
    browser.run(code, url=url, debug=False)
    assert browser.console() == []
    browser.run(code, url=url, debug=True)
    assert any("telemetry:" in line for line in browser.console())
