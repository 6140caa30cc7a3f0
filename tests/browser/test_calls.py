"""Each call of the client from a page on another origin, in each mode, and who may read the answers."""

import json
import re
import socket
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.browser.pages import ORIGIN, Browser, gate_before, rows
from tests.fixtures.deployed_clients import OLDEST, everything
from tests.servers import PROJECT_DIR, Server, wait_until

pytestmark = pytest.mark.needs_chromium

FRONTEND = PROJECT_DIR / "docs/frontend.md"
FLASH = """
  const telemetry = createTelemetry({
    baseUrl: url, logIngestUrl: url, counterUrl: url, unified, appVersion: '19afc18',
    context: () => ({ model, writeMode: true, connected: true, logLines: ['open', 'write'] }),
  });
"""


def test_an_exclamation_mark_arrives(browser: Browser, site: Server, url: str) -> None:
    """A mark of the same character stands in front of an event whose outcome is unknown."""
    browser.run(
        "const telemetry = createTelemetry({ baseUrl: url, appVersion: 'dev', context: { model } });"
        "telemetry.reportError({ message: '!Stop! Wait!', metadata: { seen: '!' } });"
        "await telemetry.flush();",
        url=url,
        model="calls: mark",
    )
    [row] = rows(site, "calls: mark")
    assert row["message"] == "!Stop! Wait!"
    assert '"seen":"!"' in row["metadata_json"]


def test_a_success_is_stored_and_moves_the_count(browser: Browser, site: Server, url: str) -> None:
    before, after = browser.run(
        FLASH
        + """
        const before = await telemetry.fetchFlashCount();
        await telemetry.reportFlashSuccess({ sessionId: 'calls-1', metadata: { firmware: 'v2' } });
        await telemetry.reportFlashSuccess({ sessionId: 'calls-1' });
        return [before, await telemetry.fetchFlashCount()];
        """,
        url=url,
        unified=True,
        model="calls: success",
    )
    assert after == before + 1
    [row] = rows(site, "calls: success")
    told = ("event_type", "session_id", "message", "write_mode", "connected", "app_version", "error_name", "stack")
    assert [row[name] for name in told] == ["flash_success", "calls-1", "Flash complete", 1, 1, "19afc18", None, None]
    assert json.loads(row["log_lines_json"]) == ["open", "write"]
    assert json.loads(row["metadata_json"]) == {"firmware": "v2"}
    assert browser.waiting() == []


def test_a_failure_is_stored_with_the_thrown_value(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        FLASH
        + """
        telemetry.reportError({ eventType: 'flash_error', error: new TypeError('No ACK'), model: 'calls: failure' });
        telemetry.reportError(new RangeError('Out of range'));
        await telemetry.flush();
        """,
        url=url,
        unified=True,
        model="calls: failure",
    )
    first, second = rows(site, "calls: failure")
    assert (first["event_type"], first["message"], first["error_name"]) == ("flash_error", "No ACK", "TypeError")
    assert (second["event_type"], second["message"], second["error_name"]) == (
        "window_error",
        "Out of range",
        "RangeError",
    )
    assert first["stack"].startswith("TypeError: No ACK\n    at ")


def test_every_answer_may_be_read_by_the_page(browser: Browser, url: str) -> None:
    browser.run(
        """
        const calls = async (options) => {
          const telemetry = createTelemetry({ appVersion: 'dev', context: { model: 'calls: cors' }, ...options });
          await telemetry.reportFlashSuccess();
          for (const message of ['one', 'two']) telemetry.reportError({ message });
          await telemetry.flush();
          await telemetry.fetchFlashCount();
        };
        await calls({ baseUrl: url });
        await calls({ baseUrl: url, logIngestUrl: url, counterUrl: url, unified: 'dual' });
        // Refusals are answers too.
        await fetch(`${url}/event`, { method: 'POST', body: '{}' });
        await fetch(`${url}/nowhere`);
        """,
        url=url,
    )
    wanted = {
        *[("POST", path) for path in ("/event", "/event/batch", "/client-log", "/increment")],
        *[("OPTIONS", path) for path in ("/event", "/event/batch", "/client-log", "/increment")],
        *[("GET", path) for path in ("/metrics/flash-count", "/count", "/nowhere")],
    }
    answers = []

    def all_came() -> bool:
        answers.extend(answer for answer in browser.answers() if answer[1].startswith(url))
        return {(method, address.removeprefix(url)) for method, address, _, _ in answers} >= wanted

    wait_until(all_came, f"not every call was answered: {wanted}")
    assert {status for method, _, status, _ in answers if method != "OPTIONS"} == {200, 201, 400, 404}
    for method, address, status, headers in answers:
        assert headers.get("access-control-allow-origin") == ORIGIN, (method, address, status)
        assert headers["access-control-allow-credentials"] == "true"
        assert method == "OPTIONS" or headers["access-control-expose-headers"] == "Retry-After"


def test_without_the_unified_stream_the_old_calls_are_made(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        total = browser.run(
            FLASH
            + """
            await telemetry.reportFlashSuccess({ sessionId: 'calls-old' });
            const error = new Error('w'.repeat(900));
            for (const n of [1, 2, 3]) telemetry.reportError({ eventType: 'flash_error', error });
            telemetry.reportError({ eventType: 'unhandled_rejection', message: 'undefined' });
            await telemetry.flush();
            return telemetry.fetchFlashCount();
            """,
            url=gate.url,
            unified=False,
            model="calls: old",
        )
        wait_until(lambda: len(gate.bodies("/client-log")) == 2, "not every failure was logged")
    assert total >= 1
    assert gate.bodies("/increment") == [{"sessionId": "calls-old"}]
    paths = {(method, path) for method, path, _, _ in gate.seen if method != "OPTIONS"}
    assert paths == {("POST", "/client-log"), ("POST", "/increment"), ("GET", "/count")}

    recorded = {
        sent.case: json.loads(sent.body or "") for sent in everything() if sent.path == "/client-log" and sent.body
    }
    logged = sorted(gate.bodies("/client-log"), key=lambda sent: sent["event_type"])  # they went side by side
    for sent, like in zip(logged, ("long", "bare"), strict=True):
        shape = {name: type(value) for name, value in recorded[f"{OLDEST} {like}"].items()}
        assert {name: type(value) for name, value in sent.items()} == shape
        assert (sent["user_agent"], sent["page_url"]) == ("", "")
    assert len(logged[0]["message"]) == 300
    assert [row["source"] for row in rows(site, "calls: old")] == ["client_log", "client_log"]


def test_the_old_log_receives_every_failure_of_a_burst(browser: Browser, site: Server) -> None:
    # What may outlive a page has 64 KiB together; past that the browser refuses the request.
    with gate_before(site.port) as gate:
        browser.run(
            FLASH
            + """
            const logLines = Array(80).fill('x'.repeat(240));
            for (let n = 0; n < 8; n += 1) telemetry.reportError({ message: `event ${n}`, logLines });
            """,
            url=gate.url,
            unified=False,
            model="calls: many",
        )
        wait_until(lambda: len(gate.bodies("/client-log")) == 8, "not every failure was logged")


def test_dual_mode_tells_both_sides_and_nothing_counts_twice(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        before, after = browser.run(
            FLASH
            + """
            const before = await telemetry.fetchFlashCount();
            await telemetry.reportFlashSuccess({ sessionId: 'calls-dual' });
            telemetry.reportError({ eventType: 'connect_error', message: '📻'.repeat(400), stack: 's'.repeat(5000) });
            await telemetry.flush();
            return [before, await telemetry.fetchFlashCount()];
            """,
            url=gate.url,
            unified="dual",
            model="calls: dual",
        )
        wait_until(lambda: len(gate.bodies("/client-log")) == 1, "the old log was not told")
    assert after == before + 1
    assert {path for method, path, _, _ in gate.seen if method == "POST"} == {"/client-log", "/increment", "/event"}
    assert {path for method, path, _, _ in gate.seen if method == "GET"} == {"/count"}
    assert [row["event_type"] for row in rows(site, "calls: dual")] == ["flash_success", "connect_error"]


def test_addresses_may_name_the_path_or_end_with_a_slash(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        browser.run(
            """
            const telemetry = createTelemetry({
              baseUrl: `${url}/`, logIngestUrl: ` ${url}/client-log/ `, counterUrl: `${url}//`, unified: 'dual',
            });
            await telemetry.reportFlashSuccess({ model: 'calls: addresses' });
            telemetry.reportError({ message: 'x', model: 'calls: addresses' });
            """,
            url=gate.url,
        )
        wait_until(lambda: len(gate.bodies("/client-log")) == 1, "the log was not told")
    assert {path for method, path, _, _ in gate.seen if method == "POST"} == {"/event", "/increment", "/client-log"}


def test_without_addresses_nothing_is_sent_and_nothing_kept(browser: Browser) -> None:
    count = browser.run(
        """
        for (const unified of [true, false, 'dual']) {
          const telemetry = createTelemetry({ unified });
          await telemetry.reportFlashSuccess({ sessionId: 's' });
          telemetry.reportError({ message: 'x' });
          await telemetry.flush();
          if (await telemetry.fetchFlashCount() !== null) return 'a count from nowhere';
        }
        return createTelemetry().fetchFlashCount();
        """
    )
    assert count is None
    assert browser.waiting() == []
    assert browser.answers() == []


def test_a_token_goes_with_the_event(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        headers = browser.run(
            """
            const asked = [];
            const real = window.fetch;
            window.fetch = (address, options) => (asked.push(options.headers), real(address, options));
            await createTelemetry({ baseUrl: url, token: 'a.b' }).reportFlashSuccess({ model: 'calls: token' });
            window.fetch = real;
            return asked;
            """,
            url=gate.url,
        )
    assert headers == [{"Content-Type": "application/json", "Authorization": "Bearer a.b"}]
    assert len(rows(site, "calls: token")) == 1


def open_example(browser: Browser, page_folder: Path, url: str) -> None:
    """Open the documented page, with code of its own at the end of the script."""
    [example] = re.findall(r"^```html\n(.*?)^```", FRONTEND.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    own = '  document.querySelector("#own").textContent = "ready";\n</script>'
    example = example.replace("https://telemetry.example.org", url).replace("</script>", own)
    (page_folder / "example.html").write_text(
        '<!doctype html><link rel="icon" href="data:,"><p id="count"></p><p id="own"></p>' + example
    )
    browser.driver.get(f"{ORIGIN}/example.html")
    wait_until(lambda: browser.driver.find_element(By.ID, "own").text == "ready", "the page's own code did not run")


def test_the_module_may_be_imported_from_the_site_as_the_documentation_shows(
    browser: Browser, site: Server, url: str, page_folder: Path
) -> None:
    browser.run("await createTelemetry({ baseUrl: url }).reportFlashSuccess();", url=url)
    open_example(browser, page_folder, url)
    wait_until(lambda: browser.driver.find_element(By.ID, "count").text.isdigit(), "no count was shown")
    assert browser.console() == []


@pytest.mark.parametrize("pattern", ["*telemetry.js*", "*/static/*", "*127.0.0.1*"])
def test_a_page_works_when_the_module_is_blocked(
    browser: Browser, site: Server, url: str, page_folder: Path, pattern: str
) -> None:
    browser.block(pattern)
    try:
        open_example(browser, page_folder, url)
    finally:
        browser.block()
    assert [line for line in browser.console() if "net::ERR_BLOCKED_BY_CLIENT" not in line] == []


def test_a_page_works_while_the_module_is_not_answered(browser: Browser, page_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        open_example(browser, page_folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
        browser.leave()


def test_the_types_name_every_method_and_no_other(browser: Browser) -> None:
    types = (PROJECT_DIR / "events/static/events/telemetry.d.ts").read_text(encoding="utf-8")
    told = re.findall(r"^  (\w+)\(", types.partition("interface Telemetry")[2], re.MULTILINE)
    assert sorted(browser.run("return Object.keys(createTelemetry());")) == sorted(told)


def test_a_strict_policy_that_allows_the_site_is_enough(browser: Browser, site: Server, url: str) -> None:
    browser.open(f"/strict.html?connect={url}")
    policy, uncaught = browser.run(
        """
        const telemetry = createTelemetry({ baseUrl: url, context: { model: 'calls: policy' } });
        telemetry.installGlobalHandlers();
        await telemetry.reportFlashSuccess({ sessionId: 'calls-policy' });
        telemetry.reportError({ message: 'under a policy' });
        await telemetry.flush();
        telemetry.reportError({ message: 'by beacon' });
        return [window.policy, window.uncaught];
        """,
        url=url,
    )
    assert (policy, uncaught) == ([], [])
    assert browser.console() == []
    browser.leave()
    wait_until(lambda: len(rows(site, "calls: policy")) == 3, "the beacon was lost")
