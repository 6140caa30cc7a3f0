"""The pretend flasher, pressed as a newcomer would."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.browser.pages import Browser, rows
from tests.servers import PATIENCE_SECONDS, Server, served, wait_until

pytestmark = pytest.mark.needs_chromium


@pytest.fixture
def demo(browser: Browser, tmp_path: Path) -> Iterator[Server]:
    with served(tmp_path / "data", DEMO="1") as server:
        browser.driver.get(f"http://127.0.0.1:{server.port}/demo/")
        wait_until(lambda: shown(browser, "count") == "0", "the count never came")
        yield server
        browser.leave()


def shown(browser: Browser, name: str) -> str:
    return browser.driver.find_element(By.ID, name).text


def press(browser: Browser, *names: str) -> None:
    for name in names:
        key = browser.driver.find_element(By.ID, name)
        wait_until(key.is_enabled, f"{name} cannot be pressed")
        key.click()


def test_it_works_without_the_client(browser: Browser, demo: Server) -> None:
    browser.block("*telemetry.js*")
    try:
        browser.driver.refresh()
        press(browser, "connect", "flash", "fail", "offline", "flush")
        wait_until(lambda: "flash complete" in shown(browser, "log"), "the flash did not end")
    finally:
        browser.block()
    assert "telemetry.js was not loaded" in shown(browser, "log")
    assert not [line for line in browser.console() if "Uncaught" in line]
    assert rows(demo, "UV-5RM") == []


def test_a_flash_moves_the_count(browser: Browser, demo: Server) -> None:
    press(browser, "connect", "flash")
    wait_until(lambda: shown(browser, "count") == "1", "the count did not move")
    [row] = rows(demo, "UV-5RM")
    assert (row["event_type"], row["connected"], row["app_version"]) == ("flash_success", 1, "demo")
    assert shown(browser, "waiting") == "0"
    assert "POST /event → 201" in shown(browser, "log")


def test_equal_failures_of_an_offline_page_are_sent_once(browser: Browser, demo: Server) -> None:
    press(browser, "offline", "fail", "fail")
    wait_until(lambda: shown(browser, "waiting") == "1", "nothing waits")
    press(browser, "offline")
    wait_until(lambda: len(rows(demo, "UV-5RM")) == 1, "nothing came")
    [row] = rows(demo, "UV-5RM")
    assert row["event_type"] == "connect_error"
    metadata = json.loads(row["metadata_json"])
    assert (metadata["source"], metadata["count"], metadata["os"]) == ("demo", 2, "Linux")
    assert re.fullmatch(r"(Headless)?Chrom\w+ \d+", metadata["browser"])


def test_advice_is_shown_as_text(browser: Browser, demo: Server) -> None:
    press(browser, "fail")
    wait_until(lambda: len(rows(demo, "UV-5RM")) == 1, "a failure waited")
    wait_until(lambda: shown(browser, "waiting") == "0", "the client waits")
    assert shown(browser, "advice") == ""
    text = "Close <img src=x onerror=document.title='run'> the other &lt;program&gt;."
    with closing(sqlite3.connect(demo.data_dir / "telemetry.sqlite3", timeout=PATIENCE_SECONDS)) as database, database:
        columns = "advice_text = ?, advice_url = 'https://example.org/port', advised_at_ms = 1"
        database.execute(f"UPDATE events_failuregroup SET {columns}", [text])
    browser.driver.refresh()
    press(browser, "fail")
    wait_until(lambda: shown(browser, "advice-text") == text, "no advice came")
    link = browser.driver.find_element(By.ID, "advice-link")
    assert (link.text, link.get_attribute("href")) == ("https://example.org/port",) * 2
    assert (browser.driver.find_elements(By.CSS_SELECTOR, "#advice img, #log img"), browser.console()) == ([], [])
    press(browser, "connect", "flash")
    wait_until(lambda: shown(browser, "advice") == "", "the advice stayed")


def test_offline_flashes_wait_and_count_when_the_network_is_back(browser: Browser, demo: Server) -> None:
    press(browser, "offline", "connect", "flash", "flash")
    wait_until(lambda: shown(browser, "waiting") == "2", "nothing waits")
    assert (shown(browser, "count"), rows(demo, "UV-5RM")) == ("0", [])
    press(browser, "offline")
    wait_until(lambda: shown(browser, "count") == "2", "the count did not move")
    assert shown(browser, "waiting") == "0"


def test_a_hidden_page_sends_a_beacon(browser: Browser, demo: Server) -> None:
    press(browser, "connect", "fail", "hidden")
    wait_until(lambda: len(rows(demo, "UV-5RM")) == 1, "the beacon was lost")
    assert "beacon /event → queued by the browser" in shown(browser, "log")


def test_nothing_breaks_the_policy(browser: Browser, demo: Server) -> None:
    browser.driver.refresh()
    press(browser, "connect", "flash")
    wait_until(lambda: shown(browser, "count") == "1", "the count did not move")
    assert browser.console() == []
    for width in (1280, 390):
        browser.driver.set_window_size(width, 1000)
        assert browser.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth;"), width


def test_a_browser_that_forbids_storage_can_flash_too(make_browser: Callable[..., Browser], demo: Server) -> None:
    strict = make_browser(**{"profile.default_content_setting_values.cookies": 2})
    strict.driver.get(f"http://127.0.0.1:{demo.port}/demo/")
    press(strict, "connect", "flash")
    wait_until(lambda: shown(strict, "count") == "1", "the count did not move")
    assert shown(strict, "waiting") == "–"
    assert [line for line in strict.console() if "demo.js" in line] == []


def test_the_banner_names_the_page(demo: Server) -> None:
    assert f"http://127.0.0.1:{demo.port}/demo/" in demo.log.read_text()
