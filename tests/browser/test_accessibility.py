"""What axe-core finds on every page: no serious or critical fault, in the light, in the dark and on a phone."""

import pytest
from selenium.webdriver.common.by import By

from tests import npm
from tests.browser.admin_pages import NARROW, WIDE, Page, Visitor, World, pages, unlisted

pytestmark = [pytest.mark.needs_chromium, pytest.mark.needs_npm]

LOOKS = {
    "light": {"width": WIDE, "is_dark": False},
    "dark": {"width": WIDE, "is_dark": True},
    "narrow": {"width": NARROW, "is_dark": False},
}
# What is folded is looked at too, but for the menu, which would lie over the page.
UNFOLD = "document.querySelectorAll('details:not(.more)').forEach((part) => { part.open = true; });"
FIND = """
await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));  // the page hears of a new look
document.getAnimations().forEach((change) => change.finish());  // colours move from the light to the dark
const { violations } = await axe.run(document, { resultTypes: ['violations'], elementRef: false });
return violations.filter(({ impact }) => ['serious', 'critical'].includes(impact)).flatMap(({ id, nodes }) =>
  nodes.map(({ target, html, failureSummary }) => `${id}: ${target} ${html} ${failureSummary}`));
"""


@pytest.fixture(scope="module")
def examiner(visitor: Visitor, tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    folder = tmp_path_factory.mktemp("axe")
    npm.install(folder, npm.AXE)
    visitor.at_start((folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8"))
    return visitor


def test_no_route_is_forgotten() -> None:
    assert unlisted() == [], "say in tests/browser/admin_pages.py what these pages are opened with"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_has_no_fault(examiner: Visitor, world: World, empty_world: World, page: Page) -> None:
    examiner.look()
    examiner.open(empty_world if page.is_empty_site else world, page)
    for name, look in LOOKS.items():
        examiner.look(**look)
        examiner.browser.run(UNFOLD)
        faults = examiner.browser.run(FIND)
        assert not faults, "\n".join([f"{name}:", *faults])


@pytest.mark.parametrize("name", LOOKS)
def test_the_menus_and_the_help_have_no_fault(examiner: Visitor, world: World, name: str) -> None:
    examiner.look(**LOOKS[name])
    examiner.open(world, next(page for page in pages() if page.name == "admin:events_ingesttoken_changelist"))
    for menu in examiner.driver.find_elements(By.CSS_SELECTOR, ".more"):
        menu.find_element(By.TAG_NAME, "summary").click()
        assert menu.find_element(By.TAG_NAME, "a").is_displayed()
        faults = examiner.browser.run(FIND)
        assert not faults, "\n".join(faults)
    examiner.driver.find_element(By.CSS_SELECTOR, "[data-opens=shortcuts]").click()
    assert examiner.driver.find_element(By.ID, "shortcuts").is_displayed()
    faults = examiner.browser.run(FIND)
    assert not faults, "\n".join(faults)
