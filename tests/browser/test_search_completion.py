"""The completion of the search field: a combobox for the keyboard, the pointer and a screen reader."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.admin_pages import Visitor, World, address, post
from tests.servers import wait_until

pytestmark = pytest.mark.needs_chromium
HOSTILE = '"><b onclick=alert(1)> x'


def test_the_search_completes_names_and_values_by_the_keyboard(visitor: Visitor, world: World) -> None:
    post(world.server, model=HOSTILE, message="A hostile model")
    driver = visitor.driver
    visitor.look()
    visitor.be(world.server, "admin")
    driver.get(address(world.server, "/admin/events/recentfailure/"))
    field = driver.find_element(By.ID, "id_q")
    visitor.complaints()

    def suggestions() -> list[str]:
        return [option.text for option in driver.find_elements(By.CSS_SELECTOR, "[role=option]")]

    def state() -> tuple[str | None, str | None]:
        """Return what a screen reader is told: whether the list is open, and the text of the active option."""
        active = field.get_attribute("aria-activedescendant")
        text = driver.find_element(By.ID, active).text if active else None
        return field.get_attribute("aria-expanded"), text

    assert (field.get_attribute("role"), field.get_attribute("aria-controls")) == ("combobox", "search-suggestions")
    assert driver.find_element(By.ID, "search-suggestions").get_attribute("role") == "listbox"

    # An ordinary word opens nothing, and Enter would send the form.
    field.send_keys("ACK ")
    assert (suggestions(), state()) == ([], ("false", None))
    # The beginning of a name offers the filter, without choosing it.
    field.send_keys("mod")
    assert (suggestions(), state()) == (["model:", "mode:"], ("true", None))
    field.send_keys(Keys.ARROW_DOWN)
    assert state() == ("true", "model:")
    field.send_keys(Keys.ENTER)
    assert field.get_attribute("value") == "ACK model:"
    # Then its values, each as text; Escape closes the list, and the arrow opens it again.
    field.send_keys('"b on')
    assert suggestions() == ['model:"\\"><b onclick=alert(1)> x"']
    field.send_keys(Keys.ESCAPE)
    assert (suggestions(), state()) == ([], ("false", None))
    assert field.get_attribute("value") == 'ACK model:"b on'
    field.send_keys(Keys.BACKSPACE * 6, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert state()[0] == "true"
    field.send_keys(Keys.BACKSPACE * 20)

    # A pointer chooses too, and the focus stays in the field.
    field.send_keys("A hostile model:")
    option = next(one for one in driver.find_elements(By.CSS_SELECTOR, "[role=option]") if "onclick" in one.text)
    option.click()
    assert field == driver.switch_to.active_element
    field.send_keys("-expec", Keys.ARROW_DOWN, Keys.ENTER)
    assert field.get_attribute("value") == 'A hostile model:"\\"><b onclick=alert(1)> x" -expected '
    with visitor.leaving():
        field.send_keys(Keys.ENTER)
    wait_until(lambda: driver.find_elements(By.CSS_SELECTOR, "table.rows"), "the list never appears")
    assert driver.find_element(By.ID, "id_model").get_attribute("value") == HOSTILE
    assert driver.find_element(By.ID, "id_q").get_attribute("value") == "A hostile"
    assert visitor.complaints() == []


def test_without_the_script_the_search_is_a_plain_field(visitor: Visitor, world: World) -> None:
    source = visitor.source(world.server, "/admin/events/failuregroup/?q=is:all")
    assert '<input type="search" name="q"' in source
    assert "combobox" not in source
    assert '<option value="model" data-values="models"' in source
