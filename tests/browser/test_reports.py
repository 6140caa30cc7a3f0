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
        const error = Object.assign(new Error(long), { name: long });
        error.errors = logLines.map((_, n) => ({ name: long, message: n + long, stack: `    at ${long}` }));
        telemetry.reportError({ message: long, errorName: long, stack: long, logLines, metadata, error });
        const [key] = Object.keys(localStorage).filter((key) => key.startsWith('telemetry '));
        if (new Blob([localStorage.getItem(key)]).size > 60_000) throw new Error('no beacon takes this');
        """,
    )
    row = contract.parse(contract.clean(event), received_at_ms=0)
    assert len(json.loads(row.log_lines_json)) >= 10
    assert len(json.loads(row.metadata_json)["causes"]) >= 1


def test_text_is_cut_between_characters(browser: Browser) -> None:
    found = reported(
        browser,
        "for (let n = 0; n < 4; n += 1) telemetry.reportError({ message: 'a'.repeat(n) + '📻'.repeat(500) });",
    )
    assert [event["message"] for event in found] == [
        "📻" * 500,
        *["a" * n + "📻" * (499 - n) + "…" for n in range(1, 4)],
    ]


def test_a_missing_field_gets_a_placeholder(browser: Browser) -> None:
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


def test_no_address_and_no_user_agent_is_sent(browser: Browser) -> None:
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
        ("unhandled_rejection", "Object {}", None),
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


def test_a_value_with_throwing_getters_is_reported(browser: Browser) -> None:
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


def test_a_report_with_invalid_fields_is_kept(browser: Browser) -> None:
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
    "dates": "Date.prototype.toJSON = () => 'patched';",
    "copies of lists": "Array.from = (items) => [...items];",
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
        const port = { bytes: [1, 'a', null, undefined], opened: new Date(0) };
        telemetry.reportError({ message: 'x', metadata: { bank: 3, missing: undefined, name: 'n' } });
        telemetry.reportError({ message: 'y', metadata: { port, opened: port.opened } });
        telemetry.reportError({ message: 'z', error: new Error('', { cause: { name: 'N', message: 'No ACK' } }) });
        await telemetry.reportFlashSuccess({ message: 'done' });
        await telemetry.flush();
        for (const kind of [Array, Object, String, Number]) delete kind.prototype.toJSON;
        """,
        url=url,
        model=model,
    )
    found = [(row["message"], json.loads(row["log_lines_json"]), row["metadata_json"]) for row in rows(site, model)]
    assert found == [
        ("x", ["a", 'b"'], '{"bank":3,"missing":"","name":"n"}'),
        (
            "y",
            ["a", 'b"'],
            r'{"port":"{\"bytes\":[1,\"a\",null,null],\"opened\":\"1970-01-01T00:00:00.000Z\"}",'
            r'"opened":"\"1970-01-01T00:00:00.000Z\""}',
        ),
        ("z", ["a", 'b"'], '{"causes":[{"name":"N","message":"No ACK","frame":""}]}'),
        ("done", ["a", 'b"'], "{}"),
    ]


# An error, and its causes as (name, message). `deep(n)` has a chain of n causes.
CAUSES = {
    "a cause": ("new Error('x', { cause: new TypeError('No ACK') })", [("TypeError", "No ACK")]),
    "a chain": ("deep(2)", [("Error", "level 1"), ("Error", "level 0")]),
    "a longer chain": ("deep(9)", [("Error", f"level {n}") for n in (8, 7, 6, 5, 4)]),
    "a DOMException": (
        "new Error('x', { cause: new DOMException('The device has been lost.', 'NetworkError') })",
        [("NetworkError", "The device has been lost.")],
    ),
    "an AggregateError": (
        "new AggregateError([new Error('first'), 'second', null, 7], 'x', { cause: deep(1) })",
        [("Error", "level 1"), ("Error", "first"), ("", "second"), ("", "7"), ("Error", "level 0")],
    ),
    "a large AggregateError": (
        "new AggregateError(Array.from({ length: 300 }, (_, n) => new Error(`error ${n}`)))",
        [("Error", f"error {n}") for n in range(8)],
    ),
    "an error that is its own cause": ("circle()", []),
    "two errors that cause each other": ("circle(new Error('other'))", [("Error", "other")]),
    "a cause without a text": ("new Error('x', { cause: { code: 7 } })", [("", "Object {code}")]),
    "a cause with an empty message": ("new Error('x', { cause: new Error('') })", [("Error", "(no message)")]),
    "a Response": (
        "new Error('x', { cause: new Response('', { status: 404 }) })",
        [("", "Response {type: default, status: 404}")],
    ),
    "a body of a response": (
        "({ name: 'HttpError', message: 'x', error: { code: 7 } })",
        [("", "Object {code}")],
    ),
    "an ErrorEvent": (
        "new ErrorEvent('error', { message: 'x', error: new TypeError('in a worker') })",
        [],
    ),
    "a rejected ErrorEvent": (
        "({ error: new ErrorEvent('error', { error: new TypeError('in a worker') }) })",
        [("TypeError", "in a worker")],
    ),
    "errors that are no list": ("Object.assign(new Error('x'), { errors: 'none', cause: 0 })", [("", "0")]),
    "a cause that throws when it is read": ("nasty('cause', { errors: ['first'] })", [("", "first")]),
    "errors that throw when they are read": ("nasty('errors', { cause: 'first' })", [("", "first")]),
    "a revoked cause": ("new AggregateError([revoked(), 'second'])", [("", "(unprintable)"), ("", "second")]),
    "a report with a cause": ("({ message: 'x', cause: new Error('No ACK') })", [("Error", "No ACK")]),
    "no cause": ("new Error('x', { cause: null })", []),
}

# Values that throw when they are read, for the code of a test.
HOSTILE = """
    const deep = (n) => new Error(`level ${n}`, n ? { cause: deep(n - 1) } : {});
    const circle = (other) => {
      const error = new Error('x', { cause: other });
      (other ?? error).cause = error;
      return error;
    };
    const revoked = () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    };
    const nasty = (name, rest = {}) =>
      Object.defineProperty({ ...rest }, name, { enumerable: true, get() { throw new Error('nasty'); } });
"""


@pytest.mark.parametrize("case", CAUSES)
def test_the_causes_of_an_error_are_sent(browser: Browser, case: str) -> None:
    value, expected = CAUSES[case]
    [event] = reported(browser, f"{HOSTILE} telemetry.reportError({value});")
    causes = json.loads(contract.parse(event, received_at_ms=0).metadata_json).get("causes", [])
    assert [(cause["name"], cause["message"]) for cause in causes] == expected
    assert all(set(cause) == {"name", "message", "frame"} for cause in causes)


# A stack, and its top frame.
FRAMES = [
    ("Error: x\n    at flash (https://x.example/a/b.js:1:20)\n    at g (c.js:1:1)", "at flash (https://…/b.js:1:20)"),
    ("Error: at 5\nat the port anna@x.example: 7\n    at https://x.example/a/b.js:1:20", "at https://…/b.js:1:20"),
    ("Error: x\r\n    at flash (b.js:1:20)\r\n", "at flash (b.js:1:20)"),
    ("Error: " + "long " * 2_000 + "\n    at flash (b.js:1:20)", "at flash (b.js:1:20)"),
    ("flash@https://x.example/a/b.js:1:20\n@https://x.example/a/b.js:2:3", "flash@https://…/b.js:1:20"),
    ("@https://x.example/a.wasm:wasm-function[796]:0x143b4", "@https://…/a.wasm:wasm-function[796]:0x143b4"),
    ("https://x.example/a/b.js:1:20\nglobal code@https://x.example/a/b.js:2:3", "https://…/b.js:1:20"),
    ("    at " + "f" * 300 + " (b.js:1:20)", "at " + "f" * 236 + "…"),
    ("Error: x", ""),
    (7, ""),
]


@pytest.mark.parametrize(("stack", "frame"), FRAMES)
def test_a_cause_has_its_top_frame(browser: Browser, stack: str | int, frame: str) -> None:
    [event] = reported(
        browser, "telemetry.reportError(new Error('x', { cause: { name: 'N', message: 'm', stack } }));", stack=stack
    )
    assert json.loads(event["metadata_json"]) == {"causes": [{"name": "N", "message": "m", "frame": frame}]}


def test_causes_remain_when_failures_are_combined(browser: Browser) -> None:
    found = reported(
        browser,
        """
        const report = (cause, name = 'Error') => {
          const error = Object.assign(new Error('x', { cause }), { name, stack: '' });
          telemetry.reportError({ error, metadata: { bank: 3 } });
        };
        for (const cause of ['first', 'first', 'second']) report(cause);
        report('first', 'TypeError');
        """,
    )
    causes = [{"name": "", "message": "first", "frame": ""}], [{"name": "", "message": "second", "frame": ""}]
    assert [(event["error_name"], json.loads(event["metadata_json"])) for event in found] == [
        ("Error", {"bank": 3, "causes": causes[0], "count": 2}),
        ("Error", {"bank": 3, "causes": causes[1]}),
        ("TypeError", {"bank": 3, "causes": causes[0]}),
    ]


# A thrown value, and the message of its report.
DESCRIPTIONS = {
    "an object": ("({ code: 7, detail: 'anna' })", "Object {code, detail}"),
    "its type and status": ("({ type: 'radio', bank: 3, status: 3 })", "Object {type: radio, bank, status: 3}"),
    "an object as type": ("({ type: { deep: 1 } })", "Object {type}"),
    "an instance": ("new (class { port = 1; })()", "Object {port}"),
    "no prototype": ("Object.assign(Object.create(null), { lost: true })", "Object {lost}"),
    "an Event": ("new Event('error')", "Event {isTrusted, type: error}"),
    "a CloseEvent": ("new CloseEvent('close', { code: 1006 })", "CloseEvent {isTrusted, type: close}"),
    "a Response": ("new Response('', { status: 404 })", "Response {type: default, status: 404}"),
    "a Map": ("new Map([[1, 2]])", "Map {}"),
    "an address as type": ("({ type: 'https://x.example/a/b?user=anna' })", "Object {type: https://…/b}"),
    "a getter that throws": ("nasty('type', { bank: 3 })", "Object {bank, type}"),
    "a message that is an object": ("({ message: { code: 7 } })", "Object {code}"),
    "a message that throws": ("nasty('message', { name: 'Fault' })", "Object {name, message}"),
    "a revoked proxy": ("revoked()", "(unprintable)"),
    "an ErrorEvent": ("new ErrorEvent('error', { message: 'in a worker' })", "in a worker"),
    "a text of its own": ("({ toString: () => 'own text' })", "own text"),
    "a list": ("[1, 'a']", "1,a"),
    "a text": ("'[object Object]'", "[object Object]"),
    "a number": ("7", "7"),
    "a symbol": ("Symbol('s')", "Symbol(s)"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_thrown_value_without_a_text_is_described(browser: Browser, case: str) -> None:
    value, message = DESCRIPTIONS[case]
    found = reported(
        browser,
        HOSTILE
        + f"const value = {value};"
        + """
        telemetry.reportError(value);
        telemetry.reportError({ eventType: 'flash_error', error: value });
        telemetry.installGlobalHandlers();
        dispatchEvent(new PromiseRejectionEvent('unhandledrejection', { promise: Promise.resolve(), reason: value }));
        dispatchEvent(new ErrorEvent('error', { error: value, message: `Uncaught` }));
        """,
    )
    is_object = message not in ("[object Object]", "7", "Symbol(s)")
    assert [(event["event_type"], event["message"]) for event in found] == [
        ("window_error", message),
        ("flash_error", message),
        ("unhandled_rejection", message),
        *([] if is_object else [("window_error", "Uncaught")]),  # the browser has a text for these
    ]


# An error that is no instance of this page's `Error`: name, message, stack and causes.
FOREIGN = {
    "an iframe": (
        """
        const frame = document.body.appendChild(document.createElement('iframe'));
        const value = frame.contentWindow.eval("new TypeError('No ACK', { cause: new RangeError('cause') })");
        """,
        [("RangeError", "cause")],
    ),
    "a worker": (
        """
        const code = "postMessage(new TypeError('No ACK', { cause: 'cause' }));";
        const worker = new Worker(URL.createObjectURL(new Blob([code])));
        const { data: value } = await new Promise((go) => { worker.onmessage = go; });
        """,
        [("", "cause")],
    ),
    "a plain object": ("const value = { name: 'TypeError', message: 'No ACK', stack: 'f@b.js:1:2' };", []),
    "an object without a prototype": (
        """
        const value = Object.create(null);
        Object.assign(value, { name: 'TypeError', message: 'No ACK', stack: 'f@b.js:1:2' });
        """,
        [],
    ),
    "a failed request": (
        "const value = { name: 'TypeError', message: 'No ACK', stack: 'f@b.js:1:2', error: { code: 7 }, status: 404 };",
        [("", "Object {code}")],
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_an_error_of_another_realm_keeps_name_stack_and_causes(browser: Browser, case: str) -> None:
    code, causes = FOREIGN[case]
    found = reported(
        browser,
        code
        + """
        telemetry.reportError(value);
        telemetry.reportError({ eventType: 'flash_error', error: value });
        telemetry.installGlobalHandlers();
        dispatchEvent(new PromiseRejectionEvent('unhandledrejection', { promise: Promise.resolve(), reason: value }));
        """,
    )
    assert [event["event_type"] for event in found] == ["window_error", "flash_error", "unhandled_rejection"]
    for event in found:
        assert (event["error_name"], event["message"]) == ("TypeError", "No ACK")
        assert event["stack"].startswith(("TypeError: No ACK\n    at ", "f@b.js:1:2"))
        reported_causes = json.loads(event["metadata_json"]).get("causes", [])
        assert [(cause["name"], cause["message"]) for cause in reported_causes] == causes


# The fields of a report: the value in the page, and the event's column with its value.
FIELDS: dict[str, tuple[Any, str, Any]] = {
    "model": ("M", "model", "M"),
    "writeMode": (True, "write_mode", 1),
    "connected": (True, "connected", 1),
    "logLines": (["line"], "log_lines_json", '["line"]'),
    "metadata": ({"bank": 3}, "metadata_json", '{"bank":3}'),
    "message": ("words", "message", "words"),
    "errorName": ("Name", "error_name", "Name"),
    "stack": ("f@b.js:1:2", "stack", "f@b.js:1:2"),
}
TEXTS = ("message", "errorName", "stack")


@pytest.mark.parametrize("field", FIELDS)
def test_readable_fields_are_kept_when_another_throws(browser: Browser, field: str) -> None:
    found = reported(
        browser,
        HOSTILE
        + """
        telemetry.reportError({ eventType: 'flash_error', ...rest, error: nasty(field) });
        telemetry.reportError(Object.assign(nasty(field, rest), { eventType: 'connect_error' }));
        await telemetry.reportFlashSuccess(nasty(field, rest));
        const context = nasty(field, rest);
        createTelemetry({ baseUrl: nowhere, context }).reportError({ eventType: 'window_error', ...texts });
        """,
        field=field,
        rest={name: value for name, (value, _, _) in FIELDS.items() if name != field},
        texts={name: FIELDS[name][0] for name in TEXTS},
    )
    events = {event["event_type"]: event for event in found}
    assert sorted(events) == ["connect_error", "flash_error", "flash_success", "window_error"]
    for event_type, event in events.items():
        lacking = {"flash_success": {field, "errorName", "stack"}, "window_error": {field}.difference(TEXTS)}
        kept = [row for name, row in FIELDS.items() if name not in lacking.get(event_type, {field})]
        assert [(column, event[column]) for _, column, _ in kept] == [(column, stored) for _, column, stored in kept]


def test_a_revoked_proxy_anywhere_loses_no_report(browser: Browser) -> None:
    fields = ["error", "message", "errorName", "stack", "model", "writeMode", "logLines", "metadata"]
    found = reported(
        browser,
        HOSTILE
        + """
        const report = (n, details) => telemetry.reportError({ message: `event ${n}`, ...details });
        createTelemetry({ baseUrl: nowhere, context: revoked() }).reportError({ message: 'event context' });
        await new Promise((go) => setTimeout(go, 5)); // the clients have clocks of their own
        fields.forEach((field, n) => report(n, { [field]: revoked() }));
        report('line', { logLines: ['first', revoked(), 'last'] });
        report('value', { metadata: { port: revoked(), inner: { port: revoked() }, bank: 3 } });
        await telemetry.reportFlashSuccess(revoked());
        """,
        fields=fields,
    )
    names = [f"event {n}" for n in range(len(fields))]
    names[fields.index("message")] = "(unprintable)"
    assert [event["message"] for event in found] == [
        *("event context", *names),
        *("event line", "event value", "Flash complete"),
    ]
    lines, values = found[-3], found[-2]
    assert json.loads(lines["log_lines_json"]) == ["first", "(unprintable)", "last"]
    assert json.loads(values["metadata_json"]) == {"port": "(unprintable)", "inner": "Object {port}", "bank": 3}


def test_metadata_of_any_type_becomes_text(browser: Browser) -> None:
    [event] = reported(
        browser,
        """
        const circle = { bank: 3 };
        circle.itself = circle;
        telemetry.reportError({ message: 'x', metadata: {
          circle, list: [1, { a: null }], nothing: null, yes: true, big: 10n, run() {}, empty: {},
          error: new TypeError('No ACK'), url: new URL('https://x.example/a/b?user=anna'), map: new Map(),
          inner: { error: new TypeError('No ACK'), run() {}, big: NaN },
        } });
        """,
    )
    assert json.loads(event["metadata_json"]) == {
        "circle": "Object {bank, itself}",
        "list": '[1,{"a":null}]',
        "nothing": None,
        "yes": True,
        "big": "10",
        "run": "run() {}",
        "empty": "{}",
        "error": '"TypeError: No ACK"',
        "url": '"https://…/b"',
        "map": '"Map {}"',
        "inner": '{"error":"TypeError: No ACK","run":null,"big":null}',
    }


# How a page with two copies of the module reports an error, and the events of one error.
COPIES = {
    "both have handlers": (
        "first.installGlobalHandlers(); second.installGlobalHandlers(); throwLater('thrown');",
        [{}],
    ),
    "both have handlers, a text": (
        "for (const copy of [first, second]) copy.installGlobalHandlers(); rejectLater('nothing');",
        [{}],
    ),
    "thrown twice": (
        "for (const copy of [first, second]) copy.installGlobalHandlers(); throwLater('thrown'); throwLater('thrown');",
        [{"count": 2}],
    ),
    "one has no handlers any more": (
        "second.installGlobalHandlers(); first.installGlobalHandlers()(); throwLater('thrown');",
        [{}],
    ),
    "both are called": (
        "const error = new Error('x'); for (const copy of [first, second]) copy.reportError({ error });",
        [{}],
    ),
    "both are called again": (
        "const error = new Error('x'); for (const copy of [first, second, first, second]) copy.reportError({ error });",
        [{"count": 2}],
    ),
    "one is called, one has handlers": (
        """
        second.installGlobalHandlers();
        const error = new Error('x');
        first.reportError(error);
        dispatchEvent(new ErrorEvent('error', { error }));
        """,
        [{}],
    ),
    "reports without an error": ("for (const copy of [first, second]) copy.reportError({ message: 'x' });", [{}, {}]),
}


@pytest.mark.parametrize("case", COPIES)
@pytest.mark.parametrize("options", ["{}", "{ queueName: 'other' }"])
def test_two_copies_of_the_module_report_an_error_once(browser: Browser, case: str, options: str) -> None:
    code, expected = COPIES[case]
    browser.run(
        """
        const copy = await import('/telemetry.js?copy');
        if (copy.createTelemetry === createTelemetry) throw new Error('the same copy');
        const first = createTelemetry({ baseUrl: nowhere });
        const second = copy.createTelemetry({ baseUrl: nowhere, ..."""
        + options
        + "});"
        + code
        + """
        await new Promise((go) => setTimeout(go, 100));
        """,
        nowhere=NOWHERE,
    )
    assert [json.loads(event["metadata_json"]) for event in browser.waiting()] == expected


def test_two_sites_get_an_error_each(browser: Browser) -> None:
    browser.run(
        """
        for (const baseUrl of [nowhere, `${nowhere}/other`]) createTelemetry({ baseUrl }).installGlobalHandlers();
        throwLater('thrown');
        while (window.uncaught.length < 1) await new Promise((go) => setTimeout(go, 5));
        """,
        nowhere=NOWHERE,
    )
    assert [event["message"] for event in browser.waiting()] == ["thrown", "thrown"]


def test_no_argument_makes_a_call_throw(browser: Browser) -> None:
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
