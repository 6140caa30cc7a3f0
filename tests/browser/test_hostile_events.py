"""What anyone can post shows as text on every page: it runs nowhere, turns nothing around and breaks no layout."""

import csv
import http.client
import io
import json
from collections.abc import Callable, Iterator

import pytest
from django.urls import reverse
from django.utils.http import urlencode
from selenium.common.exceptions import NoAlertPresentException

from events.grouping.reading.texts import masked, normalised
from events.models import Event
from events.reports.search.grammar import as_text
from tests.browser.admin_pages import NARROW, WIDE, Visitor, World, address, post
from tests.conftest import payload
from tests.servers import Server, served

pytestmark = pytest.mark.needs_chromium

OWN = "document.title='owned'"
MARKS = "".join(map(chr, range(0x300, 0x370)))
TEXTS = {
    "script": f"<script>{OWN}</script>",
    "template": "{{ 7*7 }}",
    "attribute": f'"><img src=x onerror="{OWN}">',
    "address": f"javascript:{OWN}",
    "right to left": "\u202egnihsalf si oidar ehT",
    "marks": "e" + (MARKS * 40)[:3_999],
    "formula": '=HYPERLINK("http://x")',
}
LIMITS = {"message": 500, "error_name": 200, "session_id": 128, "model": 64, "app_version": 64, "stack": 4_000}

GROUP = "admin:events_failuregroup_change"
PAGES: dict[str, Callable[[World, str], str]] = {
    "index": lambda *_: "/admin/?days=1",
    "events": lambda *_: reverse("admin:events_event_changelist"),
    "recent failures": lambda *_: reverse("admin:events_recentfailure_changelist"),
    "found": lambda _, text: found("admin:events_recentfailure_changelist", q=as_text(text[:200])),
    "filtered": lambda _, text: found("admin:events_event_changelist", model=text[:64], session=text[:128]),
    "event": lambda world, _: reverse("admin:events_event_change", args=[world.event]),
    "failure": lambda world, _: reverse("admin:events_recentfailure_change", args=[world.event]),
    "groups": lambda *_: reverse("admin:events_failuregroup_changelist"),
    "group": lambda world, _: reverse(GROUP, args=[world.groups["open"]]),
    "decide": lambda world, _: found("admin:events_failuregroup_decide", action="mute", id=world.groups["open"]),
    "merge": lambda world, _: reverse("admin:events_failuregroup_merge", args=[world.groups["open"]]),
    "history of a group": lambda world, _: reverse(GROUP, args=[world.groups["open"]]) + "?span=1",
    "old log": lambda *_: reverse("admin:legacy_clientlog_changelist"),
}
# Only the page of an event shows all of it.
WHOLE = ("event", "failure")
# These show only the title of a group, which leaves out values and invisible characters.
MASKED = ("index", "decide", "merge")

FAULTS = """
const faults = [];
const say = (what, part) => faults.push(`${what}: ${part.outerHTML.slice(0, 300)}`);
if (document.title.trim() === 'owned' || document.title !== title) faults.push(`title: ${document.title}`);
for (const part of document.body.querySelectorAll('*')) {
  if (part.localName === 'img' && part.getAttribute('src') === 'x') say('an image', part);
  if (part.localName === 'script' && !part.src) say('a script', part);
  for (const { name, value } of part.attributes) {
    if (name.startsWith('on')) say('a handler', part);
    if (/^\\s*javascript:/i.test(value) && ['href', 'src', 'action'].includes(name)) say('an address', part);
  }
  if (part.matches('.rows tr') && part.offsetHeight > 80) say(`${part.offsetHeight} high`, part);
}
// What turns around stays within itself, or stands in a block of its own.
const isolates = (part) => getComputedStyle(part).display !== 'inline'
  || /isolate|plaintext/.test(getComputedStyle(part).unicodeBidi);
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const node = texts.currentNode;
  let part = node.parentElement;
  if (!node.data.includes('\\u202e') || !part.checkVisibility() || part.localName === 'option') continue;
  while (!isolates(part)) part = part.parentElement;
  if (part.textContent.trim() !== node.data.trim() && !part.matches('pre')) say('turns its neighbours around', part);
}
return faults;
"""


def found(name: str, **query: str) -> str:
    return f"{reverse(name)}?{urlencode(query)}"


def fields(text: str) -> dict[str, str]:
    """Return every text field of an event with the text in it, cut to its limit."""
    named = {name: text[:limit] for name, limit in LIMITS.items()}
    lines = [text, f"between {text} and the rest"]
    return named | {
        "log_lines_json": json.dumps(lines, ensure_ascii=False),
        "metadata_json": json.dumps({text[:200]: text}, ensure_ascii=False),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("hostile") / "data", INGEST_RATE="off") as server:
        yield server


@pytest.fixture(scope="module")
def worlds(server: Server) -> dict[str, World]:
    """Return, for each text, the pages of its event. All events are on one site."""
    for text in TEXTS.values():
        old = payload(**fields(text), user_agent=text, page_url=text)
        assert server.post("/client-log", json.dumps(old, ensure_ascii=False).encode())[0] == 200
    worlds = {}
    for name, text in TEXTS.items():  # last, so that they are the newest on the overview
        event = post(server, **fields(text))
        world = World(server, event, {})
        world.groups["open"] = world.one(Event._meta.db_table, "fingerprint", f"id = '{event}'")
        worlds[name] = world
    return worlds


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", TEXTS)
def test_it_is_text_on_every_page(visitor: Visitor, worlds: dict[str, World], name: str, page: str, width: int) -> None:
    text, world = TEXTS[name], worlds[name]
    visitor.look(width=width)
    visitor.be(world.server, "admin")
    path = PAGES[page](world, text)
    visitor.driver.get(address(world.server, path))
    with pytest.raises(NoAlertPresentException):
        _ = visitor.driver.switch_to.alert.text
    path = visitor.driver.current_url.removeprefix(address(world.server, ""))  # a search for one event leads to it
    title = visitor.browser.run(
        "return new DOMParser().parseFromString(markup, 'text/html').title;", markup=visitor.source(world.server, path)
    )
    faults = visitor.browser.run(FAULTS, title=title)
    assert not faults, "\n".join(faults)
    assert not visitor.scrolls_sideways()
    shown = visitor.driver.execute_script("return document.body.textContent;")
    for name, limit in LIMITS.items() if page in WHOLE else []:
        assert text[:limit] in shown, name
    forms = [text, masked(normalised(text))] if page in MASKED else [text]
    assert any(form[:64] in shown for form in forms)


@pytest.mark.parametrize("route", ["events_event", "events_recentfailure", "events_failuregroup"])
def test_it_is_text_in_every_export(worlds: dict[str, World], server: Server, route: str) -> None:
    with server.connect() as connection:
        connection.request("GET", reverse(f"admin:{route}_export"), headers={"Cookie": server.sign_in()})
        answer: http.client.HTTPResponse = connection.getresponse()
        assert answer.status == 200
        [_, *rows] = csv.reader(io.StringIO(answer.read().decode("utf-8-sig")))
    assert len(rows) >= len(TEXTS)
    cells = [cell for row in rows for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    for text in TEXTS.values():
        expected = masked(normalised(text)) if route == "events_failuregroup" else text
        assert any(expected[:64] in cell for cell in cells)
