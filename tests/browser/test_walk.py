"""A maintainer's morning, with real keys and clicks: a spike, its group, a fix that does not hold, and its events."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.admin_pages import Visitor, address, post
from tests.browser.pages import Browser
from tests.servers import PATIENCE_SECONDS, served, wait_until

pytestmark = pytest.mark.needs_chromium
FIXED_IN = "19afc18"


def test_from_a_spike_to_a_regression_and_its_events(tmp_path: Path, make_browser: Callable[..., Browser]) -> None:
    browser = make_browser(**{"download.default_directory": str(tmp_path)})
    driver = browser.driver
    # A click may be answered before its page has come, above all behind a form's redirect.
    driver.implicitly_wait(PATIENCE_SECONDS)

    def at(selector: str) -> WebElement:
        return driver.find_element(By.CSS_SELECTOR, selector)

    def click(words: str) -> None:
        driver.find_element(By.PARTIAL_LINK_TEXT, words).click()

    def shows(selector: str, words: str) -> None:
        def shown() -> bool:
            try:
                return words in at(selector).text
            except StaleElementReferenceException:
                return False

        wait_until(shown, f"{selector} does not show {words!r}")

    with served(tmp_path / "data", INGEST_RATE="off") as server:
        assert server.command("demo_data", "--events", "300", "--days", "7", "--seed", "4").returncode == 0
        spike = {"error_name": "ProtocolError", "stack": "ProtocolError: x\n    at writeBlock (protocol.ts:88:13)"}
        for block in range(40):
            post(server, message=f"The radio refused block 0x{block:04x}", app_version="7c1d2e3", **spike)

        # Sign in by hand, and see what grows.
        driver.get(address(server, "/admin/"))
        at("#id_username").send_keys("admin")
        at("#id_password").send_keys(server.env["ADMIN_PASSWORD"], Keys.ENTER)
        shows(".attention", "The radio refused block …")

        # By the keyboard to its group, and what the newest event says.
        click("Groups")
        at("body").send_keys("/")
        driver.switch_to.active_element.send_keys("refused", Keys.ENTER)
        click("The radio refused block")
        group_page = driver.current_url
        assert at(".group-figures").text.split()[:2] == ["Events", "40"]
        shows("#stack", "at writeBlock (protocol.ts:88:13)")

        # Resolved in a version that nobody has seen yet.
        click("Resolve")
        at("#id_fixed_in").send_keys(FIXED_IN)
        at(".decide button").click()
        shows(".event-head .status", "resolved")

        # A cached client of the old version counts; one that has the fix brings it back.
        post(server, message="The radio refused block 0xffff", app_version="7c1d2e3", **spike)
        driver.get(group_page)
        shows(".event-head .status", "resolved")
        culprit = post(server, message="The radio refused block 0x0a20", app_version=FIXED_IN, **spike)
        driver.get(group_page)
        shows(".event-head .status", "regression")
        click("an event")
        assert at("#event-id").text == culprit
        click("Overview")
        shows(".attention", f"regression in {FIXED_IN}")

        # Muted, and its events exported.
        driver.get(group_page)
        click("Mute")
        at(".decide button").click()
        shows(".event-head .status", "muted")
        assert [line.split(".")[0] for line in at(".history").text.splitlines()] == [
            "Muted for good",
            f"Resolved in {FIXED_IN}",
        ]
        click("Export its events")
        wait_until(lambda: list(tmp_path.glob("failures-*.csv")), "no file was downloaded")
        (exported,) = tmp_path.glob("failures-*.csv")
        with exported.open(encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.DictReader(file))) == 42
        assert Visitor(browser).complaints() == []
