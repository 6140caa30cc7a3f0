"""Every page keeps to a strict policy, asks no other host, brings no complaint and does not scroll sideways."""

import pytest

from tests.browser.admin_pages import NARROW, WIDE, Page, Visitor, World, pages

pytestmark = pytest.mark.needs_chromium

WATCH = """
window.violations = [];
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
  window.violations.push(`${violatedDirective}: ${blockedURI} ${sample}`));
"""
# A script of another type is data.
INLINE = """
const runs = ['', 'text/javascript', 'module', 'importmap'];
const found = [];
for (const part of new DOMParser().parseFromString(markup, 'text/html').querySelectorAll('*')) {
  const { localName, attributes } = part;
  if (localName === 'style') found.push(part.outerHTML);
  if (localName === 'script' && !part.hasAttribute('src') && runs.includes(part.type)) found.push(part.outerHTML);
  for (const { name, value } of attributes) {
    if (name === 'style' || name.startsWith('on') || /^\\s*javascript:/i.test(value)) found.push(`${name}="${value}"`);
  }
}
return found;
"""


@pytest.fixture(scope="module")
def watcher(visitor: Visitor) -> Visitor:
    visitor.at_start(WATCH)
    return visitor


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_keeps_to_its_policy(watcher: Visitor, world: World, empty_world: World, page: Page) -> None:
    shown = empty_world if page.is_empty_site else world
    watcher.look(width=NARROW)
    watcher.be(shown.server, page.person)
    watcher.complaints()
    watcher.browser.answers()
    url = watcher.open(shown, page)

    assert not watcher.scrolls_sideways(), f"at {NARROW} px"
    watcher.look(width=WIDE)
    assert not watcher.scrolls_sideways(), f"at {WIDE} px"

    assert watcher.driver.execute_script("return window.violations;") == []
    # Chromium logs a page with the status 400. Its form may post to the page's path without the query.
    path = url.partition("?")[0]
    complaints = [line for line in watcher.complaints() if page.status < 400 or not line.startswith(path)]
    assert complaints == []
    origin = f"http://127.0.0.1:{shown.server.port}/"
    answers = watcher.browser.answers()
    assert {asked for _, asked, _, _ in answers if not asked.startswith((origin, "data:image/"))} == set()
    [*_, (status, policy)] = [
        (status, headers.get("content-security-policy", ""))
        for _, _, status, headers in answers
        if headers.get("content-type", "").startswith("text/html")
    ]
    assert status == page.status
    assert "default-src 'none'" in policy
    assert "unsafe-" not in policy
    markup = watcher.source(shown.server, page.address(shown), page.person)
    assert watcher.browser.run(INLINE, markup=markup) == []
