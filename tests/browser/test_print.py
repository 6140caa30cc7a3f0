"""The pages of a group and of a failure on paper: expanded, without buttons, dark text on white."""

import pytest
from django.urls import reverse

from tests.browser.admin_pages import Page, Visitor, World

pytestmark = pytest.mark.needs_chromium

PAGES = [
    Page("a group", lambda world: reverse("admin:events_failuregroup_change", args=[world.groups["open"]])),
    Page("a failure", lambda world: reverse("admin:events_event_change", args=[world.event])),
]
FIND = """
const isSeen = (part) => part.checkVisibility({ contentVisibilityProperty: true, visibilityProperty: true });
const seen = (selector) => [...document.querySelectorAll(selector)].filter(isSeen);
const folded = [
  ...document.querySelectorAll('details:not(.more, .copies details, .unfold, .on-screen) > :not(summary)'),
];
return {
  // The line of a frame stays: it is the frame itself.
  pressed: seen('button, a.button, nav, form, textarea, summary:not(.frames summary)')
    .map((part) => part.outerHTML.slice(0, 80)),
  hidden: folded.filter((part) => !isSeen(part)).map((part) => part.outerHTML.slice(0, 80)),
  clipped: seen('.terminal').filter((part) => part.scrollHeight > part.clientHeight + 1).map((part) => part.id),
  folded: folded.length,
  scheme: getComputedStyle(document.documentElement).colorScheme,
};
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_on_paper_everything_is_open_and_nothing_can_be_pressed(visitor: Visitor, world: World, page: Page) -> None:
    visitor.look(is_dark=True)
    visitor.open(world, page)
    driver = visitor.driver
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        found = visitor.browser.run(FIND)
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (found["pressed"], found["hidden"], found["clipped"]) == ([], [], [])
    assert found["scheme"] == "light"
    assert page.name != "a group" or found["folded"], "the table below the chart is folded on screen"
