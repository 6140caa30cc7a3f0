"""Events that could not be sent: they wait, and each is stored once."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.pages import Browser, database_locked, gate_before, rows
from tests.servers import Server, served, wait_until

pytestmark = pytest.mark.needs_chromium

MAKE = "window.telemetry = createTelemetry({ baseUrl: url, appVersion: 'dev', context: { model }, timeoutMs: 20_000 });"


def messages(server: Server, model: str) -> list[str]:
    """Return what was stored, by the client's clock."""
    return [row["message"] for row in rows(server, model)]


def stopped_site(folder: Path, **env: str) -> tuple[Server, str]:
    """Return a site that is not started yet, and its address."""
    server = Server(folder / "data", **env)
    return server, f"http://127.0.0.1:{server.port}"


def test_a_network_that_is_back_before_the_browser_says_so_gets_all_in_order(browser: Browser, site: Server) -> None:
    """The next try carries what would wait for others like it, or a success would overtake it."""
    with gate_before(site.port) as gate:
        gate.loses_answers = 1
        browser.run(
            MAKE
            + """
            telemetry.reportError({ eventType: 'flash_error', message: 'event 0' });
            await telemetry.reportFlashSuccess({ message: 'event 1' });
            """,
            url=gate.url,
            model="queue: back",
        )
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")
        assert [[event["message"] for event in sent["events"]] for sent in gate.bodies("/event/batch")] == [
            ["event 0", "event 1"]
        ]


def test_a_report_in_the_moment_that_the_network_is_back_overtakes_no_failure(browser: Browser, site: Server) -> None:
    """The event `online` makes every event due, also for a request that starts before the flush that it plans."""
    with gate_before(site.port) as gate:
        browser.run(
            MAKE
            + """
            telemetry.reportError({ eventType: 'flash_error', message: 'event 0' });
            const random = Math.random;
            Math.random = () => 0;  // the flush starts in the next task
            dispatchEvent(new Event('online'));
            Math.random = random;
            await telemetry.reportFlashSuccess({ message: 'event 1' });
            """,
            url=gate.url,
            model="queue: online",
        )
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")
        assert [[event["message"] for event in sent["events"]] for sent in gate.bodies("/event/batch")] == [
            ["event 0", "event 1"]
        ]
        assert gate.bodies("/event") == []


def test_ten_events_of_an_offline_page_are_stored_once_in_their_order(browser: Browser, site: Server) -> None:
    ten = [f"event {n}" for n in range(10)]
    with gate_before(site.port) as gate:
        browser.run(MAKE, url=gate.url, model="queue: offline")
        browser.go_offline()
        try:
            browser.run(
                """
                for (let n = 0; n < 10; n += 1) {
                  if (n % 2) telemetry.reportError({ eventType: 'flash_error', message: `event ${n}` });
                  else await telemetry.reportFlashSuccess({ message: `event ${n}` });
                }
                """
            )
            assert len(browser.waiting()) == 10
            assert rows(site, "queue: offline") == []
        finally:
            browser.go_offline(False)
        wait_until(lambda: len(rows(site, "queue: offline")) == 10, "not all came")
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")
        assert [[event["message"] for event in sent["events"]] for sent in gate.bodies("/event/batch")] == [ten]
        assert gate.bodies("/event") == []
    assert messages(site, "queue: offline") == ten


def test_a_site_killed_in_the_middle_of_a_flush_has_everything_once_after_its_restart(
    browser: Browser, tmp_path: Path
) -> None:
    server, _ = stopped_site(tmp_path)
    with server:
        server.start()
        with gate_before(server.port) as gate, database_locked(server):
            browser.run(
                MAKE
                + """
                for (let n = 0; n < 20; n += 1) telemetry.reportError({ message: `event ${n}` });
                window.flushed = telemetry.flush();
                """,
                url=gate.url,
                model="queue: killed",
            )
            wait_until(lambda: gate.bodies("/event/batch") != [], "the flush never came")
            for pid in [*server.workers, server.process.pid]:
                os.kill(pid, signal.SIGKILL)
            server.process.wait()
            browser.run("await window.flushed;")
            assert rows(server, "queue: killed") == []
            assert len(browser.waiting()) == 20
        server.start()
        with gate_before(server.port, port=gate.server_port):
            browser.run("await telemetry.flush();")
            wait_until(lambda: browser.waiting() == [], "the events stayed")
        assert messages(server, "queue: killed") == [f"event {n}" for n in range(20)]


def test_an_answer_that_is_lost_costs_no_event_and_stores_none_twice(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        gate.loses_answers = 1
        waiting = browser.run(
            MAKE
            + """
            for (let n = 0; n < 5; n += 1) telemetry.reportError({ message: `event ${n}` });
            await telemetry.flush();
            // Count here: the next try follows within a second.
            return Object.keys(localStorage).filter((key) => key.startsWith('telemetry ')).length;
            """,
            url=gate.url,
            model="queue: lost answer",
        )
        assert waiting == 5
        assert len(rows(site, "queue: lost answer")) == 5
        browser.run("await telemetry.flush();")
        assert browser.waiting() == []
    assert messages(site, "queue: lost answer") == [f"event {n}" for n in range(5)]


def test_two_tabs_share_one_queue(browser: Browser, tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    first = browser.driver.current_window_handle
    report = MAKE + "for (let n = 0; n < 5; n += 1) telemetry.reportError({ message: `${tab} ${n}` });"
    browser.run(report, url=url, model="queue: tabs", tab="first")
    browser.driver.switch_to.new_window("tab")
    second = browser.driver.current_window_handle
    with server:
        try:
            browser.open(afresh=False)
            browser.run(report, url=url, model="queue: tabs", tab="second")
            assert len(browser.waiting()) == 10
            server.start()
            for tab in (first, second):
                browser.driver.switch_to.window(tab)
                browser.run("window.flushed = telemetry.flush();")
            for tab in (first, second):
                browser.driver.switch_to.window(tab)
                browser.run("await window.flushed;")
            assert browser.waiting() == []
            assert sorted(messages(server, "queue: tabs")) == sorted(
                f"{tab} {n}" for tab in ("first", "second") for n in range(5)
            )
        finally:
            browser.driver.switch_to.window(second)
            browser.driver.close()
            browser.driver.switch_to.window(first)


def test_the_next_visit_sends_the_queue_of_an_earlier_one(browser: Browser, tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    browser.run(MAKE + "await telemetry.reportFlashSuccess({ sessionId: 's' });", url=url, model="queue: visit")
    with server:
        server.start()
        browser.open(afresh=False)
        browser.run(MAKE, url=url, model="another")
        wait_until(lambda: len(rows(server, "queue: visit")) == 1, "nothing came")
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")


def test_a_full_storage_keeps_events_in_memory(browser: Browser, tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    browser.run(
        """
        for (let size = 4_000_000; size >= 1; ) {
          try {
            localStorage.setItem(`filler ${size} ${Math.random()}`, 'x'.repeat(size));
          } catch {
            size = size >> 1;
          }
        }
        """
        + MAKE
        + """
        await telemetry.reportFlashSuccess({ message: 'event 0' });
        for (const n of [1, 1, 1, 2]) telemetry.reportError({ message: `event ${n}` });
        """,
        url=url,
        model="queue: full",
    )
    assert browser.waiting() == []
    with server:
        server.start()
        try:
            browser.run("await telemetry.flush();")
            found = rows(server, "queue: full")
            assert [row["message"] for row in found] == ["event 0", "event 1", "event 2"]
            assert found[1]["metadata_json"] == '{"count":3}'
        finally:
            browser.run("localStorage.clear();")


def test_a_storage_that_the_page_clears_costs_no_event(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        MAKE
        + """
        telemetry.reportError({ message: 'event 0' });
        localStorage.clear();
        telemetry.reportError({ message: 'event 1' });
        localStorage.clear();
        await telemetry.flush();
        localStorage.clear();
        await telemetry.flush();
        """,
        url=url,
        model="queue: cleared",
    )
    assert browser.waiting() == []
    assert messages(site, "queue: cleared") == ["event 0", "event 1"]


def test_a_cleared_storage_costs_no_event_of_an_earlier_visit(browser: Browser, tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    browser.run(MAKE + "telemetry.reportError({ message: 'event 0' });", url=url, model="queue: cleared visit")
    browser.open(afresh=False)
    assert len(browser.waiting()) == 1
    browser.run(MAKE + "localStorage.clear();", url=url, model="another")
    with server:
        server.start()
        browser.run("await telemetry.flush();")
        assert browser.waiting() == []
        assert messages(server, "queue: cleared visit") == ["event 0"]


def test_a_storage_that_one_tab_clears_costs_no_event_of_the_others(browser: Browser, tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    first = browser.driver.current_window_handle
    report = MAKE + "telemetry.reportError({ message: tab });"
    browser.run(report, url=url, model="queue: cleared tabs", tab="first")
    browser.driver.switch_to.new_window("tab")
    second = browser.driver.current_window_handle
    with server:
        try:
            browser.open(afresh=False)
            browser.run(report, url=url, model="queue: cleared tabs", tab="second")
            browser.run("localStorage.clear(); telemetry.reportError({ message: 'third' });")
            server.start()
            for tab in (second, first):
                browser.driver.switch_to.window(tab)
                browser.run("await telemetry.flush();")
            assert browser.waiting() == []
            assert sorted(messages(server, "queue: cleared tabs")) == ["first", "second", "third"]
        finally:
            browser.driver.switch_to.window(second)
            browser.driver.close()
            browser.driver.switch_to.window(first)


def test_a_cleared_storage_keeps_the_count_of_a_failure(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        MAKE
        + """
        for (const n of [1, 2, 3]) {
          telemetry.reportError({ message: 'event 0' });
          localStorage.clear();
        }
        await telemetry.flush();
        """,
        url=url,
        model="queue: cleared count",
    )
    assert [row["metadata_json"] for row in rows(site, "queue: cleared count")] == ['{"count":3}']


@pytest.mark.usefixtures("front_end")
def test_a_forbidden_storage_keeps_events_in_memory(make_browser: Callable[..., Browser], tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    browser = make_browser(**{"profile.default_content_setting_values.cookies": 2})
    browser.open()
    word = browser.run("try { localStorage.length; return 'allowed'; } catch (error) { return error.name; }")
    assert word == "SecurityError"
    browser.run(
        MAKE + "for (let n = 0; n < 3; n += 1) telemetry.reportError({ message: `event ${n}` });",
        url=url,
        model="queue: forbidden",
    )
    with server:
        server.start()
        browser.run("await telemetry.flush();")
        assert messages(server, "queue: forbidden") == ["event 0", "event 1", "event 2"]
        browser.run("telemetry.reportError({ message: 'event 3' });")
        browser.leave()
        wait_until(lambda: len(rows(server, "queue: forbidden")) == 4, "the beacon was lost")


def test_a_429_is_waited_out(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "data", INGEST_RATE="1/4s") as server:
        url = f"http://127.0.0.1:{server.port}"
        browser.run(
            MAKE
            + """
            for (const n of [0, 1]) await telemetry.reportFlashSuccess({ message: `event ${n}` });
            for (const n of [1, 2, 3]) await telemetry.flush();  // asking again does not shorten it
            """,
            url=url,
            model="queue: 429",
        )
        wait_until(lambda: len(rows(server, "queue: 429")) == 2, "it never came")
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")
        answers = [
            (status, "retry-after" in headers)
            for method, address, status, headers in browser.answers()
            if (method, address) == ("POST", f"{url}/event")
        ]
    assert answers == [(201, False), (429, True), (201, False)]


def test_a_503_is_waited_out(browser: Browser, tmp_path: Path) -> None:
    with served(tmp_path / "data") as server:
        url = f"http://127.0.0.1:{server.port}"
        with database_locked(server):
            browser.run(
                MAKE + "await telemetry.reportFlashSuccess({ message: 'event 0' });", url=url, model="queue: 503"
            )
            assert [event["message"] for event in browser.waiting()] == ["event 0"]
        wait_until(lambda: len(rows(server, "queue: 503")) == 1, "it never came")
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")
        answers = [
            (status, headers.get("retry-after"))
            for method, address, status, headers in browser.answers()
            if (method, address) == ("POST", f"{url}/event")
        ]
    assert answers[0] == (503, answers[0][1])
    assert int(answers[0][1] or 0) >= 1
    assert answers[-1] == (201, None)


def test_a_site_that_never_answers_holds_nothing_up(browser: Browser, tmp_path: Path) -> None:
    server, url = stopped_site(tmp_path)
    with socket.create_server(("127.0.0.1", server.port)):
        count = browser.run(
            """
            window.telemetry = createTelemetry({ baseUrl: url, context: { model }, timeoutMs: 300 });
            await telemetry.reportFlashSuccess({ message: 'event 0' });
            await telemetry.reportFlashSuccess({ message: 'event 1' });
            return telemetry.fetchFlashCount();
            """,
            url=url,
            model="queue: silent",
        )
        assert count is None
        assert len(browser.waiting()) == 2
    with server:
        server.start()
        wait_until(lambda: len(rows(server, "queue: silent")) == 2, "they never came")
        wait_until(lambda: browser.waiting() == [], "what is stored was kept")


def test_past_a_hundred_the_oldest_failures_go_and_no_success(browser: Browser, tmp_path: Path) -> None:
    _, url = stopped_site(tmp_path)
    browser.run(
        MAKE
        + """
        await telemetry.reportFlashSuccess({ message: 'first of all' });
        for (let n = 0; n < 120; n += 1) telemetry.reportError({ message: `event ${n}` });
        """,
        url=url,
        model="queue: many",
    )
    kept = [event["message"] for event in browser.waiting()]
    assert kept == ["first of all", *[f"event {n}" for n in range(21, 120)]]
    browser.run("for (let n = 0; n < 101; n += 1) telemetry.reportFlashSuccess({ message: `success ${n}` });")
    kept = [event["message"] for event in browser.waiting()]
    assert kept == [f"success {n}" for n in range(1, 101)]


def test_a_full_queue_goes_at_once(browser: Browser, site: Server, url: str) -> None:
    # Each of a storm of failures would be pushed out by later ones before its 15 s are over.
    browser.run(
        MAKE + "for (let n = 0; n < 100; n += 1) telemetry.reportError({ message: `event ${n}` });",
        url=url,
        model="queue: storm",
    )
    wait_until(lambda: browser.waiting() == [], "they wait")
    assert len(rows(site, "queue: storm")) == 100


@pytest.mark.parametrize("back", ["an hour", "40 days"])
def test_a_clock_that_is_set_back_holds_nothing_up(browser: Browser, site: Server, url: str, back: str) -> None:
    # Past 24.8 days a timer fires at once, so waiting until then would keep the page busy.
    timers = browser.run(
        MAKE
        + """
        const [now, fetched, timeout] = [Date.now, window.fetch, window.setTimeout];
        window.fetch = async () => new Response('{}', { status: 503, headers: { 'Retry-After': '1' } });
        await telemetry.reportFlashSuccess({ message: 'event 0' });
        let timers = 0;
        window.setTimeout = (...words) => (timers += 1, timeout(...words));
        window.fetch = fetched;
        Date.now = () => now() - (back === 'an hour' ? 3_600_000 : 40 * 86_400_000);
        await telemetry.reportFlashSuccess({ message: 'event 1' });
        const isWaiting = () => Object.keys(localStorage).some((key) => key.startsWith('telemetry '));
        for (let n = 0; n < 50 && isWaiting(); n += 1) await new Promise((go) => timeout(go, 100));
        [Date.now, window.setTimeout] = [now, timeout];
        return timers;
        """,
        url=url,
        model=f"queue: back {back}",
        back=back,
    )
    assert sorted(messages(site, f"queue: back {back}")) == ["event 0", "event 1"]
    assert timers < 20


def test_an_event_that_the_contract_refuses_is_dropped(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        MAKE
        + """
        await telemetry.reportFlashSuccess({ sessionId: 'baseline-1' });
        telemetry.reportError({ message: 'event 0' });
        await telemetry.reportFlashSuccess({ sessionId: 'baseline-2' });
        const key = Object.keys(localStorage).find((key) => key.startsWith('telemetry '));
        localStorage.setItem(key.replace('Z f', 'Z s0'), 'no JSON at all');
        localStorage.setItem(key.replace('Z f', 'Z s1'), '');
        await telemetry.flush();
        """,
        url=url,
        model="queue: poison",
    )
    assert browser.waiting() == []
    assert messages(site, "queue: poison") == ["event 0"]


def test_one_event_that_is_refused_holds_up_no_other_of_its_batch(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        browser.run(MAKE, url=gate.url, model="queue: item")
        browser.go_offline()
        try:
            browser.run(
                """
                for (const n of [0, 1, 2]) {
                  await telemetry.reportFlashSuccess({ sessionId: n === 1 ? 'baseline-1' : `item-${n}` });
                }
                """
            )
        finally:
            browser.go_offline(False)
        browser.run("await telemetry.flush();")
        wait_until(lambda: browser.waiting() == [], "what is refused was kept")
        assert [path for method, path, _, _ in gate.seen if method == "POST"] == ["/event/batch"]
    assert [row["session_id"] for row in rows(site, "queue: item")] == ["item-0", "item-2"]


def test_a_batch_that_is_too_large_on_the_way_is_split(browser: Browser, site: Server) -> None:
    with gate_before(site.port, max_body=40_000) as gate:
        browser.run(
            MAKE
            + """
            const logLines = (n) => Array(n).fill('📻'.repeat(50));
            for (let n = 0; n < 7; n += 1) telemetry.reportError({ message: `event ${n}`, logLines: logLines(50) });
            telemetry.reportError({ message: 'larger than any', logLines: logLines(200) });
            await telemetry.flush();
            """,
            url=gate.url,
            model="queue: split",
        )
    assert browser.waiting() == []
    assert messages(site, "queue: split") == [f"event {n}" for n in range(7)]
