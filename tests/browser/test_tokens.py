"""The page that shows a new token: it can be copied, and neither a reload nor a step back shows it again."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.admin_pages import Visitor, World, address
from tests.servers import PATIENCE_SECONDS

pytestmark = pytest.mark.needs_chromium
ADD, LIST = "/admin/events/ingesttoken/add/", "/admin/events/ingesttoken/"


def test_a_new_token_is_shown_once(visitor: Visitor, world: World) -> None:
    driver = visitor.driver
    visitor.be(world.server, "admin")
    driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    driver.get(address(world.server, ADD))
    driver.find_element(By.NAME, "name").send_keys("to-be-copied")
    driver.find_element(By.CSS_SELECTOR, "[name=scopes][value=read]").click()
    with visitor.leaving():
        driver.find_element(By.CSS_SELECTOR, "form.plain-form [type=submit]").click()
    token = driver.find_element(By.ID, "token").text
    assert token.startswith("to-be-copied:")
    assert token not in driver.current_url
    driver.find_element(By.CSS_SELECTOR, "[data-copy=token]").click()
    waiting = WebDriverWait(driver, PATIENCE_SECONDS)
    waiting.until(lambda _: driver.find_element(By.CSS_SELECTOR, "[data-copy=token]").text == "Copied")
    assert visitor.browser.run("return await navigator.clipboard.readText();") == token

    with visitor.leaving():
        driver.get(address(world.server, LIST))
    assert "to-be-copied" in driver.page_source
    driver.back()
    assert token not in driver.page_source
    driver.get(address(world.server, LIST))
    assert token.rpartition(":")[2] not in driver.page_source
