"""Every page that a person can open, derived from the site's routes, and a site that has something to show on each.

A route without arguments is a page as soon as it exists. One with arguments stands in ARGUMENTS, one that is no page in
NO_PAGES; `tests/browser/test_accessibility.py` fails for a route that is in neither.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.urls import URLPattern, URLResolver, get_resolver, reverse, reverse_lazy
from django.utils.http import urlencode
from rest_framework.viewsets import ViewSetMixin
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

from events.clock import now
from events.models import (
    AlertChannel,
    Correction,
    Event,
    FailureGroup,
    FormerGroup,
    IngestToken,
    NamedExport,
    Release,
    SavedView,
)
from events.reports.groups.places import OriginalPlace
from legacy.models import ParityRun
from tests.browser.pages import Browser
from tests.conftest import payload
from tests.fixtures.d1 import EXPORT
from tests.fixtures.uploaded_maps import source_map
from tests.servers import PATIENCE_SECONDS, Server
from tests.sourcemaps import maps

WIDE, NARROW = 1280, 390


class World(NamedTuple):
    """A site, and what its pages are about."""

    server: Server
    event: str
    groups: dict[str, str]  # a group by its status

    def one(self, table: str, column: str = "id", where: str = "1") -> Any:
        with closing(sqlite3.connect(self.server.data_dir / "telemetry.sqlite3", timeout=PATIENCE_SECONDS)) as database:
            return database.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()[0]


class Page(NamedTuple):
    """One page in one state."""

    name: str
    address: Callable[[World], str]
    status: int = 200
    person: str = "admin"  # or "newcomer", who may do nothing, or "" for nobody
    is_empty_site: bool = False
    fill: dict[str, str] | None = None  # what to type into which field, by its id, before the form is sent


# --- what the routes don't say ------------------------------------------------------------------------------------

NO_PAGES = {
    "home": "leads to the overview",
    "api-schema": "is YAML",
    "admin:logout": "is a POST; its page stands in MORE",
    "admin:autocomplete": "is JSON",
    "admin:jsi18n": "is a script",
    "admin:view_on_site": "leads elsewhere",
    "admin:events_failuregroup_decide": "asks about something; its pages stand in MORE",
    "admin:events_sourcemap_delete": "asks about a version; its page stands in MORE",
    "admin:events_failuregroup_note": "is a POST",
    "admin:events_failuregroup_dismiss_merge": "is a POST",
    "admin:events_failuregroup_split_place": "asks about a place; its page stands in MORE",
    "admin:events_failuregroup_change": "has a page for each status, in MORE",
    "admin:legacy_parityrun_check": "is a POST",
    "admin:events_jobstate_run": "is a POST",
    "admin:events_alert_retry": "is a POST",
    "admin:events_namedexport_progress": "is JSON",
    "admin:events_namedexport_export": "is a file",
    "admin:login": "stands in MORE, for nobody",
    "admin:saved_view": "leads to its list",
    "admin:saved_view_update": "is a POST",
    "admin:saved_view_save": "asks about a list; its page stands in MORE",
}

USER = [lambda world: world.one("auth_user")]
ROLE = [lambda world: world.one("auth_group")]
TOKEN = [lambda world: world.one(IngestToken._meta.db_table, where="revoked_at IS NULL")]
CHANNEL = [lambda world: world.one(AlertChannel._meta.db_table, where="person_id IS NULL")]
MANY_COLUMNS = "time,type,message,error,version,mode,connected,f.browser,f.os,f.step,session"


def _view(world: World) -> str:
    return str(world.one(SavedView._meta.db_table))


VIEW = [_view]
EXPORT_OF = [lambda world: world.one(NamedExport._meta.db_table)]
ARGUMENTS: dict[str, list[Callable[[World], Any]]] = {
    "admin:events_namedexport_of": [lambda _: "failures"],
    "admin:events_namedexport_change": EXPORT_OF,
    "admin:events_namedexport_delete": EXPORT_OF,
    "admin:events_namedexport_history": EXPORT_OF,
    "admin:events_alertchannel_change": CHANNEL,
    "admin:events_alertchannel_delete": CHANNEL,
    "admin:events_alertchannel_history": CHANNEL,
    "admin:events_event_change": [lambda world: world.event],
    "admin:events_recentfailure_change": [lambda world: world.event],
    "admin:events_ingesttoken_change": TOKEN,
    "admin:events_ingesttoken_history": TOKEN,
    "admin:events_failuregroup_history": [lambda world: world.groups["muted"]],
    "admin:events_failuregroup_advice": [
        lambda world: world.one(FailureGroup._meta.db_table, "fingerprint", where="advice_text <> ''")
    ],
    "admin:events_failuregroup_issue": [lambda world: world.groups["open"]],
    "admin:events_failuregroup_merge": [lambda world: world.groups["open"]],
    "admin:events_failuregroup_split": [lambda world: world.one(FormerGroup._meta.db_table, "fingerprint")],
    "admin:events_correction_undo": [lambda world: world.one(Correction._meta.db_table)],
    "admin:events_release_change": [lambda world: quote(_release(world, "DESC"))],
    "admin:legacy_parityrun_change": [lambda world: world.one(ParityRun._meta.db_table)],
    "admin:auth_group_history": ROLE,
    "admin:auth_group_delete": ROLE,
    "admin:auth_group_change": ROLE,
    "admin:auth_user_password_change": USER,
    "admin:auth_user_history": USER,
    "admin:auth_user_delete": USER,
    "admin:auth_user_change": USER,
    "admin:app_list": [lambda _: "events"],
    "admin:saved_view_rename": VIEW,
    "admin:saved_view_delete": VIEW,
}


def _release(world: World, order: str) -> str:
    """Return the newest (`DESC`) or the first (`ASC`) release."""
    return str(world.one(Release._meta.db_table, "app_version", f"is_release ORDER BY first_seen_ms {order}"))


def _release_page(order: str, against: str = "") -> Callable[[World], str]:
    def address(world: World) -> str:
        query = urlencode({"against": _release(world, "ASC") if against == "first" else against})
        return f"{reverse('admin:events_release_change', args=[quote(_release(world, order))])}?{query}"

    return address


# A list in other states than its first.
QUERIES: dict[str, list[dict[str, str]]] = {
    "admin:events_alert_changelist": [
        {},
        {"state": "given_up", "kind": "job", "channel": "ops-webhook"},
        {"channel": "nobody"},
        {"cursor": "0.1"},
    ],
    "admin:events_namedexport_of": [
        {},
        {"window": "30d", "model": "UV-5RM", "x.column": "message", "x.format": "csv", "x.gzip": "1"},
        {"q": "nothing says this"},
    ],
    "admin:index": [{"days": "1"}, {"days": "7"}, {"days": "30"}, {"days": "90"}],
    "admin:events_recentfailure_changelist": [
        {},
        {"type": "flash_error", "model": "UV-5RM", "mode": "1", "window": "30d", "session": "no-such-session"},
        {"window": "30d", "since": "2026-01-01", "q": "ACK"},
        {"q": "nothing says this"},
        {"q": '-version:no-such-version model:UV-5RM "ACK"'},
    ],
    "admin:events_auditentry_changelist": [
        {},
        {"kind": "triage", "who": "admin"},
        {"kind": "erasure", "who": "nobody"},
        {"cursor": "0.1"},
    ],
    "admin:events_failuregroup_advice": [{}, {"remove": "1"}],
    "admin:events_failuregroup_merge": [{}, {"q": "nothing says this"}],
    "admin:events_failuregroup_changelist": [
        {"status": "all"},
        {"status": "regression", "sort": "-count"},
        {"status": "mine"},
        {"status": "still_failing", "assigned": "admin"},
        {"status": "all", "type": "flash_error", "new": "30d", "q": "ACK"},
        {"q": "nothing says this"},
    ],
}


def _decide(action: str) -> Callable[[World], str]:
    status = "resolved" if action == "reopen" else "open"
    path = reverse_lazy("admin:events_failuregroup_decide")
    return lambda world: f"{path}?{urlencode({'action': action, 'id': world.groups[status]})}"


def _group(status: str) -> Callable[[World], str]:
    return lambda world: reverse("admin:events_failuregroup_change", args=[world.groups[status]])


def _address_of(world: World, column: str, page: str) -> str:
    """Return the address of a page about the merged group, or about the group that it joined."""
    return reverse(f"admin:events_failuregroup_{page}", args=[world.one(FormerGroup._meta.db_table, column)])


# A place of the group with two places.
PLACE = OriginalPlace("src/protocol.ts", "flash", 19, "await new Protocol(radio).write(radio.image);", 1, frozenset())


def _at(path: str) -> Callable[[World], str]:
    return lambda _: path


MORE = [
    *(
        Page(f"a group that is {status}", _group(status))
        for status in ("open", "resolved", "muted", "regression", "still failing")
    ),
    Page("a group of a day", lambda world: _group("open")(world) + "?span=1"),
    Page("a group that no filter matches", lambda world: _group("open")(world) + "?model=nobody"),
    Page("a filtered failure", lambda world: reverse("admin:events_event_change", args=[world.event]) + "?window=90d"),
    Page("a group with another group in it", lambda world: _address_of(world, "joined", "change")),
    Page("merge: confirm", lambda world: _address_of(world, "joined", "merge") + f"?into={world.groups['open']}"),
    *(Page(f"decide: {action}", _decide(action)) for action in ("resolve", "mute", "reopen", "assign")),
    Page("decide: in which of these versions", _decide("resolve"), fill={"id_fixed_in": "19afc81"}),
    Page("decide: mute until a day gone by", _decide("mute"), 400, fill={"id_until": "01012020"}),
    Page(
        "advice to confirm",
        lambda world: f"{_group('open')(world)}advice/",
        fill={"id_text": "Use another cable. <b>Then</b> restart.", "id_url": "https://example.org/cables"},
    ),
    Page(
        "advice that is refused", lambda world: f"{_group('open')(world)}advice/", 400, fill={"id_url": "https://a@b"}
    ),
    Page(
        "an issue that is refused",
        lambda world: f"{_group('open')(world)}issue/",
        400,
        fill={"id_issue_url": "https://a@b"},
    ),
    Page("filters that can't be used", _at("/admin/events/recentfailure/?type=nonsense&since=never"), 400),
    Page("a search that can't be read", _at("/admin/events/recentfailure/?q=since:never+type:nonsense"), 400),
    Page("an audit filter that can't be used", _at("/admin/events/auditentry/?kind=nonsense&cursor=x"), 400),
    Page("a group filter that can't be used", _at("/admin/events/failuregroup/?type=nonsense"), 400),
    Page(
        "a baseline to confirm",
        _at("/admin/events/counterbaseline/"),
        fill={"id_value": "500", "id_note": "what the old counter said"},
    ),
    Page(
        "a correction to confirm",
        _at("/admin/events/correction/"),
        fill={"id_since": "2020-01-01", "id_until": now().isoformat(), "id_reason": "forged"},
    ),
    Page(
        "a channel that is refused",
        _at("/admin/events/alertchannel/add/"),
        400,
        fill={"id_name": "ops", "id_url": "file:///etc/passwd"},
    ),
    Page("an export of daily figures", _at("/admin/events/namedexport/of/days/?days=7&by=model")),
    Page("an export that can't be made", _at("/admin/events/namedexport/of/events/?typ=x"), 400),
    Page("a token that is refused", _at("/admin/events/ingesttoken/add/"), 400, fill={"id_name": "web-v1"}),
    Page("the badge of a choice", _at("/admin/events/counterbaseline/badge/?label=radios+flashed&color=%23ffcc00")),
    Page("a badge that can't be drawn", _at("/admin/events/counterbaseline/badge/?color=red"), 400),
    Page("the public statistics", _at("/stats"), person=""),
    Page("thresholds to try", _at("/admin/events/alert/preview/?new_after=1&silence_hours=48")),
    Page("thresholds that can't be used", _at("/admin/events/alert/preview/?new_after=0"), 400),
    Page("an outbox filter that can't be used", _at("/admin/events/alert/?state=nonsense"), 400),
    Page("a group with two places in the code", lambda world: _group("two places")(world)),
    Page("a place to split off", lambda world: f"{_group('two places')(world)}split-place/?place={PLACE.key}"),
    Page("source maps to delete", _at("/admin/events/sourcemap/delete/?version=19afc18")),
    Page("a user with faults", _at("/admin/auth/user/add/"), fill={"id_username": "a b", "id_password1": "short"}),
    Page("the first release", _release_page("ASC")),
    Page("the newest release compared with the first one", _release_page("DESC", "first")),
    Page("a release compared with none", _release_page("DESC", "no-such-version"), 400),
    Page("a view to save", _at("/admin/views/save/?list=events_event&query=type=flash_error%26window=7d")),
    Page(
        "a view with a name that is taken",
        _at("/admin/views/save/?list=events_recentfailure"),
        400,
        fill={"id_name": "In Chrome"},
    ),
    Page("a view as it was saved", lambda world: reverse("admin:saved_view", args=[_view(world)])),
    Page("a view that was deleted", _at("/admin/views/nothing/"), 404),
    Page(
        "a changed view with many columns",
        lambda world: f"/admin/events/recentfailure/?columns={MANY_COLUMNS}&view={_view(world)}",
    ),
    Page("groups with chosen columns", _at("/admin/events/failuregroup/?status=all&columns=failure,f.os,status,note")),
    Page("a column that does not exist", _at("/admin/events/release/?columns=nothing"), 400),
    Page("login", _at("/admin/login/"), person=""),
    Page("login, refused", _at("/admin/login/"), person="", fill={"id_username": "admin", "id_password": "wrong"}),
    Page("no such page of the admin", _at("/admin/nothing/"), 404),
    Page("no such event", _at("/admin/events/event/nothing/"), 404),
    Page("not allowed", _at("/admin/events/event/"), 403, person="newcomer"),
    Page("an overview without rights", _at("/admin/"), person="newcomer"),
]


# --- all of them ------------------------------------------------------------------------------------------------------


class Route(NamedTuple):
    name: str
    takes_arguments: bool


def routes() -> Iterator[Route]:
    """Yield the routes of the site that have a name, those of the JSON API aside."""
    yield from _routes(get_resolver().url_patterns, "", False)


def _routes(patterns: list[Any], namespace: str, takes_arguments: bool) -> Iterator[Route]:
    for pattern in patterns:
        takes = takes_arguments or bool(pattern.pattern.regex.groups)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _routes(pattern.url_patterns, inner, takes)
        elif isinstance(pattern, URLPattern) and pattern.name and not _is_api(pattern):
            yield Route(namespace + pattern.name, takes)


def _is_api(pattern: URLPattern) -> bool:
    return issubclass(getattr(pattern.callback, "cls", object), ViewSetMixin)


def unlisted() -> list[str]:
    """Return the routes that take arguments and of which nobody has said which."""
    return [name for name, takes_arguments in routes() if takes_arguments and name not in {*ARGUMENTS, *NO_PAGES}]


def pages() -> list[Page]:
    """Return every page in every state that is worth a look."""
    found = []
    for name, takes_arguments in routes():
        is_file = name.endswith(("_export", "_export_xlsx"))
        if name in NO_PAGES or is_file or (takes_arguments and name not in ARGUMENTS):
            continue
        for query in QUERIES.get(name, [{}]):
            words = f"{name}?{urlencode(query)}" if query else name
            found.append(Page(words, _address(name, query)))
        if not takes_arguments and name.startswith(("admin:index", "admin:events_", "admin:legacy_")):
            found.append(Page(f"{name} of an empty site", _address(name, {}), is_empty_site=True))
    return found + MORE


def _address(name: str, query: dict[str, str]) -> Callable[[World], str]:
    def address(world: World) -> str:
        path = reverse(name, args=[argument(world) for argument in ARGUMENTS.get(name, [])])
        return f"{path}?{urlencode(query)}" if query else path

    return address


# --- a site that has something on each ------------------------------------------------------------------------------


_PREPARE = """
from django.contrib.auth.models import User
from django.db.models import F
from django.utils.timezone import now
from events.grouping import advice, issues, merges, triage
from events.models import FailureGroup
User.objects.create_user("newcomer", password="a password for tests", is_staff=True)
root = User.objects.get(username="admin")
keys = list(FailureGroup.objects.order_by("-accepted").values_list("pk", flat=True)[:4])
triage.annotate(keys[0], "Seen with two cables: https://example.org/cables.", user=root, at=now())
issues.link(keys[0], "https://git.example/radio/flasher/issues/7", replaces=None, user=root, at=now())
advice.give(keys[0], "Use another cable.", "https://example.org/cables", user=root, at=now())
advice.count({(keys[0], now().toordinal() - 719_163 - day): 3 + day for day in range(9)})
triage.resolve(keys[1:2], user=root, at=now(), fixed_in=None)
triage.mute(keys[2:3], user=root, at=now(), until_ms=None)
triage.assign(keys[:4], user=root, at=now(), person=root)
triage.resolve(keys[3:4], user=root, at=now(), fixed_in="19afc81")
FailureGroup.objects.filter(pk=keys[3]).update(unfixed_at_ms=F("decided_at_ms"))
open_ = FailureGroup.objects.filter(status="open").order_by("-accepted")
target = open_[0]
part = open_.filter(event_type=target.event_type).exclude(pk=target.pk)[0]
triage.annotate(part.pk, "The same fault in the words of an older version.", user=root, at=now())
merges.merge(part.pk, target.pk, user=root, at=now())
from events.admin.saved_views import store
view = {"title": "Recent failures", "user": root, "at": now()}
query = "columns=time,type,message,model,f.browser&type=flash_error&window=30d"
store.save(of_list="events_recentfailure", name="In Chrome", query=query, is_shared=False, **view)
from events.models import NamedExport
for name, column in (("weekly failures", "message"), ("with a facet", "facet_gone")):
    stored = {"list_key": "failures", "filters": "window=7d", "columns": [column], "format": "csv"}
    NamedExport.objects.create(name=name, created_at_ms=1, created_by_name="admin", **stored)
from events.alerts.channels import roster
from events.alerts.channels.roster import MailChoice
from events.models import Alert, AlertDelivery
hook = roster.add("ops-webhook", "json://example.org/hook", ["new", "job"], who="admin", at=now())
team = roster.add("team", "mailto:team@example.org", ["new", "regression", "summary"], who="admin", at=now())
roster.note_problem(hook, "The service answered 403 (Forbidden).")
roster.subscribe(root, MailChoice.DIGEST, at=now())
ms = int(now().timestamp() * 1000)
roster.note_sent(team, ms)
for number, (kind, subject) in enumerate([("new", target.pk), ("job", ""), ("regression", keys[0])]):
    at_ms = ms - number * 60_000
    facts = {"heading": "The job “Check the counts” failed", "lines": [], "path": "/admin/events/jobstate/"}
    times = {"happened_at_ms": at_ms, "planned_at_ms": ms}
    alert = Alert.objects.create(kind=kind, key=f"{number}", subject=subject, facts=facts, **times)
    if kind != "job":
        AlertDelivery.objects.create(alert=alert, channel=team, state="sent", due_ms=ms, attempts=1, ended_at_ms=ms)
    given_up = {"state": "given_up", "ended_at_ms": ms, "problem": "The service answered 403 (Forbidden)."}
    later = {"due_ms": ms + 86_400_000, "attempts": 2 + number}  # no job of the site sends it
    AlertDelivery.objects.create(alert=alert, channel=hook, **later, **given_up if number else {})
"""


def prepare(server: Server) -> World:
    """Fill a fresh site with some of everything that a page can show."""

    def run(*command: str, code: int = 0) -> None:
        done = server.command(*command)
        assert done.returncode == code, done.stderr

    run("demo_data", "--events", "400", "--days", "30", "--seed", "4")
    run("import_d1", str(EXPORT))
    run("check_parity", code=2)  # imported rows prove nothing
    run("set_baseline", "412", "--note", "what the old counter said")
    void = ("void_flashes", "--since", "2020-01-01", "--until", now().isoformat(), "--source", "import")
    run(*void, "--reason", "sent by one address")
    run("issue_token", "web-v2", "--expires", "90d")
    run("issue_token", "web-v1", "--expires", "never")
    with TemporaryDirectory() as build:
        for name in ("index-DSJGr6wX", "a-chunk-with-the-long-name-of-a-route-that-nobody-shortened-Bq1T_x9z"):
            Path(build, f"{name}.js.map").write_bytes(source_map())
        Path(build, f"{maps.BUNDLE}.map").write_text(json.dumps(maps.source_map()))
        run("upload_sourcemaps", "19afc18", build)
    run("backup")
    event = post(
        server,
        message="The radio went silent while the second bank of its memory was written, which takes the longest of all",
        model="DM-32UV",
        error_name="TimeoutError",
        session_id="session-4711",
        stack="\n".join(f"    at write (https://flasher.example/assets/radio.js:{line}:7)" for line in range(40)),
        log_lines_json=json.dumps([f"18:00:{second:02} → 0x{second:04x}" for second in range(60)]),
        metadata_json=json.dumps({"os": "Linux", "cable": {"vendor": "0x1a86"}}),
    )
    for column in (101, 205):
        frame = f"    at Ht (https://flasher.example/assets/{maps.BUNDLE}:1:{column})"
        two_places = post(server, message="Out of memory", session_id=f"at {column}", stack=f"Error\n{frame}")
    regressing = payload(message="The radio said nothing to this", app_version="before-the-fix")
    again = post(server, **regressing)
    world = World(server, event, {})
    table = FailureGroup._meta.db_table

    def group_of(event_id: str) -> str:
        return world.one(Event._meta.db_table, "fingerprint", f"id = '{event_id}'")

    regressed = group_of(again)
    code = f"{_PREPARE}triage.resolve([{regressed!r}], user=root, at=now(), fixed_in=None)\n"
    run("shell", "--no-imports", "-c", code)
    post(server, **regressing | {"app_version": "with-the-fix"})
    for status in ("resolved", "muted"):
        world.groups[status] = world.one(table, "fingerprint", f"status = '{status}' AND unfixed_at_ms IS NULL")
    world.groups["still failing"] = world.one(table, "fingerprint", "unfixed_at_ms IS NOT NULL")
    world.groups.update({"open": group_of(event), "regression": regressed, "two places": group_of(two_places)})
    return world


def post(server: Server, **changes: Any) -> str:
    """Post an event that occurred now; return its id."""
    event = payload(occurred_at=now().isoformat()) | changes
    status, body = server.post("/event", json.dumps(event, ensure_ascii=False).encode())
    assert status in (200, 201), body
    return str(json.loads(body)["id"])


# --- a browser on them ------------------------------------------------------------------------------------------------


class Visitor:
    """A Chromium that opens pages as a person, at a width, in the light or in the dark."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.driver = browser.driver
        self._cookies: dict[tuple[Server, str], list[tuple[str, str]]] = {}

    def be(self, server: Server, person: str) -> None:
        """Sign in, once a site and person; "" is nobody."""
        if person and (server, person) not in self._cookies:
            cookies = server.sign_in(person).split("; ")
            self._cookies[server, person] = [tuple(cookie.split("=", 1)) for cookie in cookies]  # type: ignore[misc]
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        for name, value in self._cookies.get((server, person), []):
            cookie = {"name": name, "value": value, "url": address(server, "/")}
            self.driver.execute_cdp_cmd("Network.setCookie", cookie)

    def look(self, *, width: int = WIDE, is_dark: bool = False) -> None:
        """Change the window's width and what the system says of colours, for this page and the next ones."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def at_start(self, script: str) -> None:
        """Run a script at the start of every page from now on, whatever the page's policy says."""
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})

    def open(self, world: World, page: Page) -> str:
        """Open a page, and send its form where that makes the state; return its address."""
        self.be(world.server, page.person)
        url = address(world.server, page.address(world))
        self.driver.get(url)
        if page.fill:
            for field, words in page.fill.items():
                self.driver.find_element(By.ID, field).send_keys(words)
            form = self.driver.find_element(By.ID, next(iter(page.fill)))
            self.driver.execute_script("const { form } = arguments[0]; form.noValidate = true;", form)
            with self.leaving():
                form.find_element(By.XPATH, "ancestor::form//*[@type='submit']").click()
        if page.name == "api":  # drawn by its script
            drawn = "document.querySelector('.opblock')"
            self.browser.run(f"while (!{drawn}) await new Promise((go) => setTimeout(go, 20));")
        return url

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Wait for the next page behind what is done here.

        A click and a key may be answered before their page comes: what is looked for then is found in the old one, and
        gone when it is used.
        """
        old = self.driver.find_element(By.TAG_NAME, "html")
        yield
        # The driver has two errors for a part of the page before, and `staleness_of` knows one.
        waiting = WebDriverWait(self.driver, PATIENCE_SECONDS, ignored_exceptions=[WebDriverException])
        waiting.until(staleness_of(old))

    def source(self, server: Server, path: str, person: str = "admin") -> str:
        """Return a page's markup as it comes, before any script."""
        cookies = "; ".join(f"{name}={value}" for name, value in self._cookies.get((server, person), []))
        return server.get(path, Cookie=cookies)[1].decode()

    def complaints(self) -> list[str]:
        """Return the errors and warnings of the console since the last look, not its hints."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]

    def scrolls_sideways(self) -> bool:
        script = "const { scrollWidth, clientWidth } = document.scrollingElement; return scrollWidth > clientWidth;"
        return bool(self.driver.execute_script(script))


def address(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"
