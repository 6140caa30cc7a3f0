"""A maintainer's morning, with real keys and clicks: a spike, its group, a fix that does not hold, and its events."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.admin_pages import Visitor, address, post
from tests.browser.pages import Browser
from tests.conftest import success
from tests.servers import served, wait_until

pytestmark = pytest.mark.needs_chromium
FIXED_IN = "19afc18"


def test_from_a_spike_to_a_regression_and_its_events(tmp_path: Path, make_browser: Callable[..., Browser]) -> None:
    browser = make_browser(**{"download.default_directory": str(tmp_path)})
    driver = browser.driver
    visitor = Visitor(browser)

    def at(selector: str) -> WebElement:
        return driver.find_element(By.CSS_SELECTOR, selector)

    def follow(words: str) -> None:
        with visitor.leaving():
            driver.find_element(By.PARTIAL_LINK_TEXT, words).click()

    def press(selector: str) -> None:
        with visitor.leaving():
            at(selector).click()

    def enter(field: WebElement, words: str) -> None:
        with visitor.leaving():
            field.send_keys(words, Keys.ENTER)

    def shows(selector: str, words: str) -> None:
        wait_until(lambda: words in at(selector).text, f"{selector} never shows {words!r}", patience_seconds=20)

    with served(tmp_path / "data", INGEST_RATE="off") as server:
        assert server.command("demo_data", "--events", "300", "--days", "7", "--seed", "4").returncode == 0
        spike = {"error_name": "ProtocolError", "stack": "ProtocolError: x\n    at writeBlock (protocol.ts:88:13)"}
        for block in range(40):
            post(server, message=f"The radio refused block 0x{block:04x}", app_version="7c1d2e3", **spike)

        # Sign in by hand, and see what grows.
        driver.get(address(server, "/admin/"))
        at("#id_username").send_keys("admin")
        enter(at("#id_password"), server.env["ADMIN_PASSWORD"])
        shows(".attention", "The radio refused block …")

        # By the keyboard to its group, and what the newest event says.
        follow("Groups")
        at("body").send_keys("/")
        enter(driver.switch_to.active_element, "refused")
        follow("The radio refused block")
        group_page = driver.current_url
        assert at(".group-figures").text.split()[:2] == ["Events", "40"]
        shows("#stack", "at writeBlock (protocol.ts:88:13)")

        # Resolved in a version that nobody has seen yet.
        follow("Resolve")
        at("#id_fixed_in").send_keys(FIXED_IN)
        press(".decide button")
        shows(".page", f"No event has reported {FIXED_IN}")
        at(f"input[type=radio][value='{FIXED_IN}']").click()
        press(".decide button")
        shows(".event-head .status", "resolved")

        # A cached client of the old version counts; one that has the fix brings it back.
        post(server, message="The radio refused block 0xffff", app_version="7c1d2e3", **spike)
        driver.get(group_page)
        shows(".event-head .status", "resolved")
        # A version is a release once somebody has flashed with it.
        assert server.post("/event", json.dumps(success(app_version=FIXED_IN)).encode())[0] == 201
        culprit = post(server, message="The radio refused block 0x0a20", app_version=FIXED_IN, **spike)
        driver.get(group_page)
        shows(".event-head .status", "regression")
        follow("an event")
        assert at("#event-id").text == culprit
        follow("Overview")
        shows(".attention", "regression")
        assert FIXED_IN in (at(".attention").get_attribute("textContent") or "")  # a narrow column cuts it off

        # Muted, and its events exported.
        driver.get(group_page)
        follow("Mute")
        press(".decide button")
        shows(".event-head .status", "muted")
        assert [line.split(".")[0] for line in at(".history").text.splitlines()] == [
            "Muted for good",
            f"Resolved in {FIXED_IN}",
        ]
        follow("Export its events")
        at('input[value="csv"]').click()
        at('button[value="download"]').click()  # which leaves no page
        shows(".export-progress", "Done: 42 rows read")
        wait_until(lambda: list(tmp_path.glob("failures-*.csv")), "no file was downloaded")
        (exported,) = tmp_path.glob("failures-*.csv")
        with exported.open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.DictReader(file))) == 42
        assert visitor.complaints() == []
