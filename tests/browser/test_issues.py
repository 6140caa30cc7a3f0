"""The text of a group in the clipboard, with a confirmation that screen readers announce, and without a clipboard."""

import pytest
from django.urls import reverse
from selenium.webdriver.common.by import By

from tests.browser.admin_pages import Page, Visitor, World
from tests.servers import wait_until

pytestmark = pytest.mark.needs_chromium

GROUP = Page("a group", lambda world: reverse("admin:events_failuregroup_change", args=[world.groups["open"]]))
COPY, STATUS = "[data-copy='group-markdown']", ".announcement[role='status'][aria-live='polite']"
READ = "return await navigator.clipboard.readText();"


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_a_group_is_copied_as_markdown(visitor: Visitor, world: World, has_clipboard: bool) -> None:
    driver, setting = visitor.driver, "granted" if has_clipboard else "denied"
    for name in ("clipboard-read", "clipboard-write"):
        driver.execute_cdp_cmd("Browser.setPermission", {"permission": {"name": name}, "setting": setting})
    visitor.look()
    visitor.open(world, GROUP)
    try:
        text = driver.find_element(By.ID, "group-markdown").get_property("value")
        status = driver.find_element(By.CSS_SELECTOR, STATUS)
        assert status.text == ""
        driver.find_element(By.CSS_SELECTOR, COPY).click()
        wait_until(lambda: status.text != "", "nothing was announced")
        if has_clipboard:
            assert status.text == "Copied."
            assert visitor.browser.run(READ) == text
        else:
            assert "The text is selected" in status.text
            assert visitor.browser.run("return getSelection().toString();") == text
        assert str(text).startswith("### `")
    finally:
        driver.execute_cdp_cmd("Browser.resetPermissions", {})
