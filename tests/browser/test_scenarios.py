"""What people do under time pressure, with every click counted: a report of failures, and an issue about an alert."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.alerts.channels.listeners import mail_server
from tests.browser.admin_pages import Visitor, address, post
from tests.browser.conftest import ISSUE_URL
from tests.browser.pages import Browser
from tests.reports.exports.workbooks import sheets
from tests.servers import Server, served, wait_until

pytestmark = pytest.mark.needs_chromium
PASSWORD = "a password for tests"
STAFF = f"""
from django.contrib.auth.models import Group, User
User.objects.create_user("sam", password={PASSWORD!r}, is_staff=True).groups.add(Group.objects.get(name="Staff"))
"""
# Messages are bundled for ten minutes.
DELIVER = """
from events import clock
from events.alerts import delivery
delivery.deliver()
delivery.deliver(now_ms=lambda: clock.now_ms() + 600_000)
"""
# Each would change in a spreadsheet that guesses the types of cells.
VERSIONS = ["1e5", "007", "72225e2", "3/4", "2026-11-01", "1.10", "+5", "=1+1", "TRUE", "12:30", "19afc18"]


class Person:
    """Somebody with a mouse and a keyboard. `clicks` counts the mouse."""

    def __init__(self, browser: Browser) -> None:
        self.driver = browser.driver
        self.visitor = Visitor(browser)
        self.clicks = 0

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def click(self, target: str | WebElement) -> WebElement:
        element = self.find(target) if isinstance(target, str) else target
        element.click()
        self.clicks += 1
        return element

    def follow(self, target: str | WebElement) -> None:
        with self.visitor.leaving():
            self.click(target)

    def link(self, words: str) -> WebElement:
        return self.driver.find_element(By.PARTIAL_LINK_TEXT, words)

    def choose(self, selector: str, value: str) -> None:
        Select(self.find(selector)).select_by_value(value)
        self.clicks += 2  # opens the menu, and chooses

    def sign_in(self, name: str) -> None:
        self.find("#id_username").send_keys(name)
        with self.visitor.leaving():
            self.find("#id_password").send_keys(PASSWORD, Keys.ENTER)


def test_a_report_of_the_failures_of_a_model_by_browser(tmp_path: Path, make_browser: Callable[..., Browser]) -> None:
    browser = make_browser(**{"download.default_directory": str(tmp_path)})
    person = Person(browser)
    with served(tmp_path / "data", INGEST_RATE="off") as server:
        assert server.command("shell", "--no-imports", "-c", STAFF).returncode == 0
        for number, version in enumerate(VERSIONS):
            metadata = json.dumps({"browser": f"Chrome {140 + number}"})
            post(server, model="UV-17R", app_version=version, message=f"No answer {number}", metadata_json=metadata)
        post(server, model="UV-5RM", message="Another model")

        person.driver.get(address(server, "/admin/"))
        person.sign_in("sam")
        person.follow(person.link("Failures"))
        person.click("#id_model").send_keys("UV-17R")
        person.choose("#id_window", "30d")
        person.follow(".filter-go button")
        person.follow(person.link("Export…"))
        assert f"{len(VERSIONS)} rows, about" in person.find(".export-size").text
        person.click("[data-untick]")
        columns = ["received_at", "occurred_at", "app_version", "message", "facet_browser"]
        for column in columns:
            person.click(f"input[value={column}]")
        person.follow(".export-columns ~ .form-foot button[value=update]")
        assert [cell.text for cell in person.driver.find_elements(By.CSS_SELECTOR, ".export-preview th")] == columns
        assert len(person.driver.find_elements(By.CSS_SELECTOR, ".export-preview tbody tr")) == 10
        person.click("button[value=download]")
        wait_until(lambda: "Done: 11 rows" in person.find(".export-progress").text, "the download never ended")
        assert person.clicks <= 15
        assert person.visitor.complaints() == []

    wait_until(lambda: list(tmp_path.glob("*.xlsx")), "no file was downloaded")
    (file,) = tmp_path.glob("failures-last-30d-*.xlsx")
    [[head, *rows]] = sheets(file.read_bytes())
    assert head == columns
    assert [row[2] for row in reversed(rows)] == VERSIONS
    assert [row[4] for row in reversed(rows)] == [f"Chrome {140 + number}" for number in range(len(VERSIONS))]
    today = time.time() / 86_400 + 25_569  # days since 1899-12-30
    assert all(abs(cell - today) < 1 for row in rows for cell in row[:2])


def test_an_alert_by_mail_becomes_an_issue(tmp_path: Path, make_browser: Callable[..., Browser]) -> None:
    person = Person(make_browser())
    driver = person.driver
    settings = {"ALERT_NEW_AFTER": "1", "ALERT_ALLOW_HOSTS": "127.0.0.1", "ISSUE_URL": ISSUE_URL}
    with (
        mail_server() as (port, box),
        Server(tmp_path / "data", EMAIL_URL=f"smtp://127.0.0.1:{port}", **settings) as server,
    ):
        server.env["SITE_URL"] = address(server, "")
        server.start()
        assert server.command("add_channel", "team", "mailto:team@example.org").returncode == 0
        post(server, message="No ACK for block 0x0020", model="UV-17R", error_name="ProtocolError")
        assert server.command("shell", "--no-imports", "-c", DELIVER).returncode == 0
        body = box.delivered[0].mail.get_body(("plain",))
        assert body is not None
        (link,) = re.findall(r"http\S+/failuregroup/\S+", body.get_content())

        driver.get(link)
        person.clicks += 1  # the link in the mail
        person.sign_in("admin")
        title = person.find("h1").text
        assert "No ACK for block" in title
        new_issue = person.link("New issue")
        query = parse_qs(urlsplit(str(new_issue.get_attribute("href"))).query)
        person.click(new_issue)  # opens the tracker's form in another tab
        assert "No ACK for block" in query["title"][0]
        assert link in query["body"][0]
        person.clicks += 1  # the button of the tracker, which nothing here can press
        issue = "https://tracker.example/issues/7"
        driver.switch_to.window(driver.window_handles[0])
        person.click("#id_issue_url").send_keys(issue)
        person.follow(".issue-panel form button[type=submit]")
        assert person.find(f".issue-panel a[href='{issue}']").is_displayed()
        assert person.clicks <= 5
