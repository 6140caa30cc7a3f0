"""Pages that are being hidden: what they have to say goes by beacon."""

import json

import pytest

from tests.browser.pages import Browser, gate_before, rows
from tests.conftest import payload
from tests.servers import Server, wait_until

pytestmark = pytest.mark.needs_chromium


@pytest.mark.parametrize("media_type", ["application/json", "text/plain"])
def test_a_beacon_of_either_kind_is_stored(browser: Browser, site: Server, url: str, media_type: str) -> None:
    model = f"hidden: {media_type}"
    browser.run(
        """
        addEventListener('pagehide', () => navigator.sendBeacon(`${url}/event`, new Blob([body], { type })));
        """,
        url=url,
        body=json.dumps(payload(model=model)),
        type=media_type,
    )
    browser.leave()
    wait_until(lambda: len(rows(site, model)) == 1, "the beacon was lost")


def test_a_closed_page_sends_its_queue_as_text(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        browser.run(
            """
            window.telemetry = createTelemetry({ baseUrl: url, context: { model: 'hidden: left' } });
            for (const n of [0, 1, 1]) telemetry.reportError({ message: `event ${n}` });
            """,
            url=gate.url,
        )
        assert rows(site, "hidden: left") == []
        browser.leave()
        wait_until(lambda: len(rows(site, "hidden: left")) == 2, "the beacon was lost")
        [(_, path, media_type, _)] = [seen for seen in gate.seen if seen[0] == "POST"]
    assert (path, media_type) == ("/event/batch", "text/plain;charset=UTF-8")
    assert [row["metadata_json"] for row in rows(site, "hidden: left")] == ["{}", '{"count":2}']
    assert [seen for seen in gate.seen if seen[0] == "OPTIONS"] == []


def test_a_hidden_tab_sends_its_queue(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        """
        window.telemetry = createTelemetry({ baseUrl: url, context: { model: 'hidden: behind' } });
        telemetry.reportError({ message: 'event 0' });
        """,
        url=url,
    )
    front = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    try:
        wait_until(lambda: len(rows(site, "hidden: behind")) == 1, "the beacon was lost")
        browser.driver.close()
    finally:
        browser.driver.switch_to.window(front)
    # What was sent so may be lost on the way: it is told again, and stored once.
    assert len(browser.waiting()) == 1
    browser.run("await telemetry.flush();")
    assert browser.waiting() == []
    assert len(rows(site, "hidden: behind")) == 1


def test_a_report_from_a_hidden_page_goes_by_beacon_in_the_old_mode_too(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        browser.run(
            """
            const telemetry = createTelemetry({
              logIngestUrl: url, counterUrl: url, unified: false, context: { model: 'hidden: old' },
            });
            addEventListener('visibilitychange', () => {
              telemetry.reportError({ message: 'too late' });
              telemetry.reportFlashSuccess({ sessionId: 'hidden-old' });
            });
            """,
            url=gate.url,
        )
        browser.leave()
        wait_until(lambda: len(gate.bodies("/client-log") + gate.bodies("/increment")) == 2, "a beacon was lost")
    assert {media_type for _, _, media_type, _ in gate.seen} == {"text/plain;charset=UTF-8"}
    # The gate has seen the request, but the site may not have stored it yet.
    wait_until(lambda: [row["message"] for row in rows(site, "hidden: old")] == ["too late"], "a beacon was not stored")


@pytest.mark.parametrize("beacon", ["navigator.sendBeacon", "undefined"])
def test_old_services_receive_a_request_when_a_beacon_is_refused(browser: Browser, site: Server, beacon: str) -> None:
    with gate_before(site.port) as gate:
        browser.run(
            f"navigator.sendBeacon = {beacon};"
            """
            Object.defineProperty(document, 'visibilityState', { get: () => 'hidden' });
            const telemetry = createTelemetry({
              logIngestUrl: url, counterUrl: url, unified: false, context: { model: 'hidden: many' },
            });
            const logLines = Array(80).fill('x'.repeat(240));
            for (let n = 0; n < 8; n += 1) telemetry.reportError({ message: `event ${n}`, logLines });
            telemetry.reportFlashSuccess({ sessionId: 'hidden-many' });
            """,
            url=gate.url,
        )
        wait_until(lambda: len(gate.bodies("/client-log")) == 8, "failures were lost")
        wait_until(lambda: len(gate.bodies("/increment")) == 1, "the success was lost")


def test_no_more_than_a_beacon_holds_is_sent_and_the_rest_waits(browser: Browser, site: Server, url: str) -> None:
    browser.run(
        """
        window.telemetry = createTelemetry({ baseUrl: url, context: { model: 'hidden: quota' } });
        const logLines = Array(100).fill('x'.repeat(200));
        for (let n = 0; n < 9; n += 1) telemetry.reportError({ message: `event ${n}`, logLines });
        """,
        url=url,
    )
    browser.leave()
    wait_until(lambda: len(rows(site, "hidden: quota")) == 2, "the beacon was lost")
    browser.open(afresh=False)
    browser.run("await createTelemetry({ baseUrl: url }).flush();", url=url)
    assert [row["message"] for row in rows(site, "hidden: quota")] == [f"event {n}" for n in range(9)]


def test_a_beacon_takes_the_token_in_its_address(browser: Browser, site: Server) -> None:
    with gate_before(site.port) as gate:
        browser.run(
            "createTelemetry({ baseUrl: url, token: 'a+b/c' }).reportError({ model: 'hidden: token' });", url=gate.url
        )
        browser.leave()
        wait_until(lambda: len(rows(site, "hidden: token")) == 1, "the beacon was lost")
    assert [path for method, path, _, _ in gate.seen if method == "POST"] == ["/event?token=a%2Bb%2Fc"]
