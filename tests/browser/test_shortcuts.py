"""The keyboard shortcuts and a saved view, with real keys: nothing decides by itself, and a text field stays one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

from tests.browser.admin_pages import Visitor, address
from tests.browser.pages import Browser
from tests.servers import Server, served

pytestmark = pytest.mark.needs_chromium
GROUPS = "/admin/events/failuregroup/?status=open&sort=-count"
FAILURES = "/admin/events/recentfailure/"
COLLEAGUE = """
from django.contrib.auth.models import User
User.objects.create_superuser("colleague", password="a password for tests")
"""


class Keyboard:
    """Presses keys wherever the focus is, and says where it is then."""

    def __init__(self, visitor: Visitor, server: Server) -> None:
        self.visitor, self.driver, self.server = visitor, visitor.driver, server

    def open(self, path: str) -> None:
        self.driver.get(address(self.server, path))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def leave_by(self, *keys: str) -> None:
        with self.visitor.leaving():
            self.press(*keys)

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def row(self) -> int:
        """Return the number of the row that has the focus, -1 if none has."""
        script = "return [...document.querySelectorAll('tbody tr')].indexOf(document.activeElement.closest('tr'))"
        return int(self.driver.execute_script(script))

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def said(self) -> str:
        return self.driver.find_element(By.ID, "shortcut-status").text


@pytest.fixture
def keyboard(tmp_path: Path, make_browser: Callable[..., Browser]) -> Iterator[Keyboard]:
    with served(tmp_path / "data", INGEST_RATE="off") as server:
        assert server.command("demo_data", "--events", "300", "--days", "7", "--seed", "4").returncode == 0
        assert server.command("shell", "--no-imports", "-c", COLLEAGUE).returncode == 0
        visitor = Visitor(make_browser())
        visitor.be(server, "admin")
        yield Keyboard(visitor, server)
        assert visitor.complaints() == []


def test_keys_walk_the_lists_and_open_forms_and_decide_nothing(keyboard: Keyboard) -> None:
    # Rows take the real focus; both ends say so.
    keyboard.open(GROUPS)
    titles = [link.text for link in keyboard.all(".message > a")]
    keyboard.press("j", "j", "k")
    assert (keyboard.row(), keyboard.focused.text) == (0, titles[0])
    keyboard.press("k")
    assert (keyboard.row(), keyboard.said()) == (0, "This is the first row.")
    keyboard.press("j")
    assert (keyboard.row(), keyboard.said()) == (1, "")

    # The form of a decision is for the row with the focus, and the focus is in its first field.
    keyboard.leave_by("r")
    assert "Resolve 1 group?" in keyboard.driver.title
    assert keyboard.focused.get_attribute("id") == "id_fixed_in"
    assert titles[1] in keyboard.all(".newest")[0].text
    keyboard.press("j", "?", "x", "e")  # a text field
    assert keyboard.focused.get_attribute("value") == "j?xe"
    keyboard.driver.back()

    # Selected rows go first. Without a row nothing happens.
    keyboard.open(GROUPS)
    keyboard.press("m")
    assert keyboard.said() == "Choose a row with j or k, or select rows with x."
    keyboard.press("j", "x", "j", "j", "x", "j")
    assert keyboard.said() == ""
    assert [box.is_selected() for box in keyboard.all(".tick input")][:4] == [True, False, True, False]
    keyboard.press("x", "x")
    assert keyboard.said() == "Not selected. 2 rows selected."
    keyboard.leave_by("e")
    assert "Mark 2 groups as expected?" in keyboard.driver.title
    assert keyboard.focused.text == "Mark as expected"

    # From a row to its group, to the next one, and to the form of its group.
    keyboard.open(GROUPS)
    keyboard.press("j")
    keyboard.leave_by(Keys.ENTER)
    assert keyboard.driver.find_element(By.TAG_NAME, "h1").text == titles[0]
    keyboard.leave_by("j")
    assert keyboard.driver.find_element(By.TAG_NAME, "h1").text == titles[1]
    keyboard.leave_by("k")
    keyboard.leave_by("m")
    assert keyboard.focused.get_attribute("id") == "id_until"

    # Older and newer failures.
    keyboard.open(FAILURES)
    keyboard.press("/")
    assert keyboard.focused.get_attribute("id") == "id_q"
    keyboard.open(FAILURES)
    keyboard.press("j", "j")
    keyboard.leave_by(Keys.ENTER)
    second = keyboard.driver.current_url
    keyboard.leave_by("k")
    keyboard.press("k")
    assert keyboard.said() == "This is the first one."
    keyboard.leave_by("j")
    assert keyboard.driver.current_url == second

    # Django's own lists.
    keyboard.open("/admin/auth/user/")
    keyboard.press("j", "x")
    assert keyboard.focused.text == "admin"
    assert keyboard.all("input.action-select")[0].is_selected()

    # Nothing was decided.
    keyboard.open("/admin/events/auditentry/?kind=triage&who=admin")
    assert keyboard.all(".empty")


def test_shortcuts_leave_other_keys_alone_and_can_be_switched_off(keyboard: Keyboard) -> None:
    keyboard.open(GROUPS)
    assert keyboard.all("[data-key=r]")[0].get_attribute("aria-keyshortcuts") == "r"
    keyboard.press(Keys.CONTROL + "j", Keys.ALT + "j", Keys.META + "j", "J", Keys.CONTROL + "/")
    assert keyboard.row() == -1
    composing = "new KeyboardEvent('keydown', { key: 'j', bubbles: true, cancelable: true, isComposing: true })"
    keyboard.driver.execute_script(f"document.body.dispatchEvent({composing})")
    assert keyboard.row() == -1
    for field in ("select", ".tick input"):
        keyboard.driver.execute_script("document.querySelector(arguments[0]).focus()", f"#content {field}")
        keyboard.press("j")
        assert keyboard.row() in (-1, 0)
        assert keyboard.focused.tag_name == field.split()[-1]
    heading = keyboard.driver.find_element(By.TAG_NAME, "h1")
    keyboard.driver.execute_script("arguments[0].contentEditable = 'true'; arguments[0].focus()", heading)
    keyboard.press("j")
    assert heading.text.count("j") == 1

    # The help gives the focus back, and keys below it do nothing.
    keyboard.open(GROUPS)
    keyboard.press("j", "?")
    assert keyboard.driver.find_element(By.ID, "shortcuts").is_displayed()
    keyboard.driver.find_element(By.CSS_SELECTOR, "#shortcuts button").send_keys("j")
    keyboard.press(Keys.ESCAPE)
    assert keyboard.row() == 0

    # The switch is off on every page, until it is on again.
    keyboard.driver.find_element(By.CSS_SELECTOR, "[data-opens=shortcuts]").click()
    keyboard.driver.find_element(By.ID, "shortcuts-on").click()
    keyboard.driver.find_element(By.CSS_SELECTOR, "#shortcuts button").click()
    keyboard.open(GROUPS)
    keyboard.press("j", "?", "/")
    assert keyboard.row() == -1
    assert not keyboard.driver.find_element(By.ID, "shortcuts").is_displayed()
    assert keyboard.all("[data-key=r]")[0].get_attribute("aria-keyshortcuts") is None
    keyboard.driver.find_element(By.CSS_SELECTOR, "[data-opens=shortcuts]").click()
    assert not keyboard.driver.find_element(By.ID, "shortcuts-on").is_selected()
    keyboard.driver.find_element(By.ID, "shortcuts-on").click()
    keyboard.press(Keys.ESCAPE)
    keyboard.driver.execute_script("document.activeElement.blur()")
    keyboard.press("j")
    assert keyboard.row() == 0


def test_a_view_is_saved_opened_by_a_colleague_changed_and_deleted(keyboard: Keyboard) -> None:
    driver = keyboard.driver

    def click(selector: str) -> None:
        with keyboard.visitor.leaving():
            driver.find_element(By.CSS_SELECTOR, selector).click()

    def columns() -> list[str]:
        return [heading.text for heading in keyboard.all(".rows thead th")][1:]

    keyboard.open(f"{FAILURES}?window=7d")
    driver.find_element(By.XPATH, "//summary[starts-with(., 'Columns')]").click()
    for name in ("error", "version", "mode", "connected", "f.browser"):
        driver.find_element(By.CSS_SELECTOR, f"input[name=columns][value='{name}']").click()
    click(".view-form fieldset + button")
    assert columns() == ["Time", "Type", "Message", "Model", "Browser"]
    driver.find_element(By.XPATH, "//summary[.='Save view']").click()
    driver.find_element(By.ID, "id_view_name").send_keys("This week, by browser")
    with keyboard.visitor.leaving():
        keyboard.press(Keys.ENTER)
    address_of_view = driver.current_url
    assert [link.text for link in keyboard.all(".views a[aria-current=page]")] == ["This week, by browser"]
    link = driver.find_element(By.ID, "view-link").get_attribute("textContent") or ""

    # Both links show a colleague the same list.
    keyboard.visitor.be(keyboard.server, "colleague")
    for url in (link, address_of_view):
        driver.get(url)
        assert (driver.current_url, columns()) == (address_of_view, ["Time", "Type", "Message", "Model", "Browser"])
        assert driver.find_element(By.ID, "id_window").get_attribute("value") == "7d"
        assert keyboard.all(".views") == []

    # From another page, by the menu; then changed, and deleted.
    keyboard.visitor.be(keyboard.server, "admin")
    keyboard.open("/admin/auth/user/")
    driver.find_element(By.CSS_SELECTOR, ".more > summary").click()
    click(".views-menu a")
    assert driver.current_url == address_of_view
    Select(driver.find_element(By.ID, "id_type")).select_by_value("flash_error")
    click(".filter-go button")
    assert driver.find_element(By.CSS_SELECTOR, ".views a").get_attribute("aria-current") == "true"
    click(".views-bar form[action$='/update/'] button")
    driver.get(link)
    assert "type=flash_error" in driver.current_url
    driver.find_element(By.XPATH, "//summary[.='Link, rename, delete']").click()
    click(".view-form a[href$='/delete/']")
    click("button.danger")
    driver.get(link)
    assert driver.find_element(By.TAG_NAME, "h1").text == "This saved view does not exist"
    assert [words for words in keyboard.visitor.complaints() if "404" not in words] == []
