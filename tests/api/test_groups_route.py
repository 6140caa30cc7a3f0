"""`GET /groups`: the failure groups for scripts, with the filters and orders of the admin, page by page."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.grouping import advice, triage
from events.models import FailureGroup
from events.reports.groups import ranking
from tests.conftest import make_event, sign_in, success
from tests.fixtures.flashes import NOW, NOW_MS
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}
HOUR_MS = 3_600_000
SORTS = [*ranking.COLUMNS, *(f"-{name}" for name in ranking.COLUMNS)]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    return lambda later: monkeypatch.setattr(clock, "now", lambda: NOW + later)


@pytest.fixture(autouse=True)
def _at_a_fixed_time(settings: Any, set_clock: Callable[[timedelta], None]) -> None:
    settings.ADMIN_TOKEN = "for-tests"
    set_clock(timedelta())


@pytest.fixture
def kim() -> User:
    user = User.objects.create_user("kim", is_staff=True)
    user.groups.add(Group.objects.get(name="Staff"))
    return user


def fail(message: str, *, hours_ago: int = 0, **changes: Any) -> str:
    return make_event(message=message, received_at_ms=NOW_MS - hours_ago * HOUR_MS, **changes).fingerprint or ""


def ask(client: Client, url: str = "", **query: Any) -> dict[str, Any]:
    answer = client.get(url or f"/groups?{urlencode(query)}", headers=BEARER)
    assert answer.status_code == 200, answer.json()
    return answer.json()  # type: ignore[no-any-return]


def titles(client: Client, **query: Any) -> list[str]:
    return [item["title"] for item in ask(client, **query)["results"]]


# --- the items --------------------------------------------------------------------------------------------------


def test_an_item_has_what_the_admin_shows(client: Client, kim: User) -> None:
    key = fail(
        "No ACK for block 0x001f", hours_ago=30, error_name="TimeoutError", stack="at flash (https://x/src/a.js:1:2)"
    )
    fail("No ACK for block 0x002f", error_name="TimeoutError", stack="at flash (https://x/src/a.js:1:2)", model="DM-32")
    triage.resolve([key], fixed_in="7c1d2e3", user=kim, at=NOW - timedelta(minutes=1))
    triage.annotate(key, "Ask Robin.", user=kim, at=NOW)
    triage.assign([key], person=kim, user=kim, at=NOW)
    advice.give(key, "Use another cable.", "https://example.org/cable", user=kim, at=NOW)
    item = {
        "key": key,
        "title": "No ACK for block …",
        "event_type": "flash_error",
        "error_name": "TimeoutError",
        "frame": FailureGroup.objects.get().frame or None,
        "noise": None,
        "status": "resolved",
        "fixed_in": "7c1d2e3",
        "fixed_in_seen": False,
        "still_failing": False,
        "muted_until": None,
        "decided_at": "2026-02-12T14:59:00.000Z",
        "decided_by": "kim",
        "assigned_to": "kim",
        "issue_url": None,
        "events": 2,
        "last_24_hours": 1,
        "first_seen": "2026-02-11T09:00:00.000Z",
        "last_seen": "2026-02-12T15:00:00.000Z",
        "models": 2,
        "versions": 1,
        "common_models": ["DM-32", "UV-5RM"],
        "common_versions": ["19afc18"],
        "regressed_at": None,
        "note": "Ask Robin.",
        "advice": {"text": "Use another cable.", "url": "https://example.org/cable"},
        "url": f"http://127.0.0.1:8000/admin/events/failuregroup/{key}/",
    }
    for path in ("/groups?status=resolved", "/groups/?status=all&limit=1"):
        expect_answer(client.get(path, headers=BEARER), 200, {"ok": True, "results": [item], "next": None})


def test_a_site_without_failures_has_an_empty_list(client: Client) -> None:
    make_event(**success())
    assert ask(client) == {"ok": True, "results": [], "next": None}


def test_no_time_is_in_the_future(client: Client, kim: User) -> None:
    key = fail("after a wrong clock", hours_ago=-50)
    triage.mute([key], until_ms=None, user=kim, at=NOW + timedelta(days=2))
    (item,) = ask(client, status="muted")["results"]
    assert {item["first_seen"], item["last_seen"], item["decided_at"]} == {"2026-02-12T15:00:00.000Z"}


# --- filters ----------------------------------------------------------------------------------------------------


@pytest.fixture
def one_of_each(kim: User) -> None:
    keys = {
        name: fail(name, hours_ago=48 if name == "old" else 1)
        for name in ("open", "mended", "muted", "mute over", "chosen", "back", "failing", "old")
    }
    keys["away"] = fail(
        "away", event_type="connect_error", model="DM-32", app_version="2c87cac",
        metadata_json='{"browser":"Chrome 139"}',
    )  # fmt: skip
    noise = "Failed to execute 'write' on 'X': at chrome-extension://abcdefghijklmnop/content.js:1:1"
    keys["noise"] = fail(noise, stack="at f (chrome-extension://abcdefghijklmnop/content.js:1:1)")
    triage.resolve([keys["mended"], keys["failing"]], fixed_in="next", user=kim, at=NOW)
    FailureGroup.objects.filter(pk=keys["failing"]).update(unfixed_at_ms=NOW_MS)
    triage.mute([keys["muted"]], until_ms=NOW_MS + 1, user=kim, at=NOW)
    triage.mute([keys["mute over"]], until_ms=NOW_MS, user=kim, at=NOW)
    triage.expect([keys["chosen"]], user=kim, at=NOW)
    FailureGroup.objects.filter(pk=keys["back"]).update(regressed_at_ms=NOW_MS)
    triage.assign([keys["open"], keys["muted"], keys["failing"]], person=kim, user=kim, at=NOW)
    FailureGroup.objects.filter(pk=keys["noise"]).update(title="noise")


OPEN = {"open", "mute over", "back", "old", "away", "noise"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, OPEN),
        ({"status": ""}, OPEN),
        ({"status": "open", "noise": "hidden"}, OPEN - {"noise"}),
        ({"noise": "only"}, {"noise"}),
        ({"status": "regression"}, {"back"}),
        ({"status": "still_failing"}, {"failing"}),
        ({"status": "resolved"}, {"mended", "failing"}),
        ({"status": "muted"}, {"muted"}),
        ({"status": "expected"}, {"chosen"}),
        ({"status": "all"}, OPEN | {"failing", "mended", "muted", "chosen"}),
        ({"status": "all", "assigned": "kim"}, {"open", "muted", "failing"}),
        ({"assigned": "(nobody)"}, OPEN - {"open"}),
        ({"assigned": "somebody"}, set()),
        ({"type": "connect_error"}, {"away"}),
        ({"model": "DM-32"}, {"away"}),
        ({"version": "2c87cac"}, {"away"}),
        ({"f.browser": "Chrome 139"}, {"away"}),
        ({"f.browser": "Chrome 140"}, set()),
        ({"new": "24h", "noise": "hidden"}, OPEN - {"noise", "old"}),
        ({"q": "AWA"}, {"away"}),
        ({"q": "away", "type": "flash_error"}, set()),
    ],
)
@pytest.mark.usefixtures("one_of_each")
def test_the_filters_are_those_of_the_admin(
    client: Client, query: dict[str, str], expected: set[str], django_user_model: Any
) -> None:
    assert set(titles(client, **query)) == expected
    client.force_login(django_user_model.objects.get(username="kim"))
    page = client.get("/admin/events/failuregroup/", query)
    assert {row.group.title for row, _ in page.context["rows"]} == expected


@pytest.mark.usefixtures("one_of_each")
def test_a_search_has_filters(client: Client, kim: User) -> None:
    def titles(q: str) -> set[str]:
        answer = client.get("/groups", {"q": q}, headers=BEARER)
        assert answer.status_code == 200, answer.json()
        return {item["title"] for item in answer.json()["results"]}

    everything = titles("is:all")
    for status in ("muted", "resolved", "expected"):
        assert titles(f"is:all -is:{status}") == everything - titles(f"status:{status}")
    for q, field in (("is:mine", "status"), ("-is:mine", "q"), ("since:never", "q"), ('"', "q")):
        answer = client.get("/groups", {"q": q}, headers=BEARER)
        assert (answer.status_code, list(answer.json()["fields"])) == (400, [field])


@pytest.mark.usefixtures("one_of_each")
def test_mine_is_for_people(client: Client, kim: User) -> None:
    expect_answer(
        client.get("/groups?status=mine", headers=BEARER),
        400,
        {
            "ok": False,
            "error": "Invalid parameters",
            "fields": {"status": ["A token has no groups of its own. Use assigned=NAME."]},
        },
    )
    client.force_login(kim)
    assert {item["title"] for item in client.get("/groups?status=mine").json()["results"]} == {"open", "failing"}


NO_CHOICE = "Select a valid choice. {} is not one of the available choices."


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        (
            {"status": "closed", "sort": "--count", "type": "flash_success", "limit": "0", "page": "2"},
            {
                "status": [NO_CHOICE.format("closed")],
                "type": [NO_CHOICE.format("flash_success")],
                "sort": [NO_CHOICE.format("--count")],
                "limit": ["Ensure this value is greater than or equal to 1."],
                "page": ["This list has no such filter."],
            },
        ),
        ({"new": "2h", "noise": "1"}, {"new": [NO_CHOICE.format("2h")], "noise": [NO_CHOICE.format("1")]}),
        ({"limit": "201"}, {"limit": ["Ensure this value is less than or equal to 200."]}),
        ({"limit": "ten"}, {"limit": ["Enter a whole number."]}),
        ({"f.colour": "red"}, {"f.colour": ["FACETS has no such name."]}),
        ({"model": "x" * 65}, {"model": ["Ensure this value has at most 64 characters (it has 65)."]}),
        ({"q": "a\0"}, {"q": ["Null characters are not allowed."]}),
        ({"cursor": "x"}, {"cursor": ["Not a cursor of this list. Start again without a cursor."]}),
    ],
)
def test_all_wrong_parameters_are_listed(client: Client, query: dict[str, str], fields: dict[str, list[str]]) -> None:
    answer = client.get(f"/groups?{urlencode(query)}", headers=BEARER)
    expect_answer(answer, 400, {"ok": False, "error": "Invalid parameters", "fields": fields})


# --- orders and pages -------------------------------------------------------------------------------------------


@pytest.fixture
def many(set_clock: Callable[[timedelta], None]) -> None:
    """Make nine groups, some of which are equal in each column. Their titles have dots, spaces and line ends."""
    for number, message in enumerate(("i. e", "h", "g.", ".f", "e é", "d\nd", "c%2E", "b&a=b", "a+a")):
        for times in range(1 + number % 3):
            fail(
                f"fault {message}",
                hours_ago=number * 7,
                event_type="flash_error" if number % 2 else "connect_error",
                occurred_at=f"2026-02-12T18:00:{times:02}Z",
                model=f"model {times}",
                app_version=f"version {times % 2}",
            )
    keys = list(FailureGroup.objects.order_by("pk").values_list("pk", flat=True))
    triage.mute(keys[::3], until_ms=None, user=User(username="olga"), at=NOW)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.usefixtures("many")
def test_pages_of_every_order_have_each_unchanged_group_once(
    client: Client, sort: str, set_clock: Callable[[timedelta], None]
) -> None:
    """While the pages are read, two groups fail, a new one appears, and two hours pass."""
    whole = [item["key"] for item in ask(client, status="all", sort=sort)["results"]]
    changed = {whole[0], whole[7]}
    url, keys = f"/groups?{urlencode({'status': 'all', 'sort': sort, 'limit': 2})}", []
    for number in range(10):
        body = ask(client, url)
        keys += [item["key"] for item in body["results"]]
        if body["next"] is None:
            break
        url = body["next"]
        assert url.startswith("/groups?status=all&sort=")
        if number == 0:
            set_clock(timedelta(hours=2))
            for title in FailureGroup.objects.filter(pk__in=changed).values_list("title", "event_type"):
                fail(title[0], event_type=title[1], hours_ago=-1, write_mode=0)
            fail("fault e2", hours_ago=-1)
    assert [key for key in keys if key in set(whole) - changed] == [key for key in whole if key not in changed]
    if sort.lstrip("-") in ("first", "last"):  # a failed group keeps its place there
        assert [key for key in keys if key in whole] == whole


@pytest.mark.usefixtures("many")
def test_a_group_that_leaves_a_window_is_not_skipped(client: Client, set_clock: Callable[[timedelta], None]) -> None:
    whole = titles(client, status="all", new="24h")
    first = ask(client, status="all", new="24h", limit=1)
    set_clock(timedelta(hours=40))
    assert [first["results"][0]["title"], *(one["title"] for one in _walk(client, first["next"]))] == whole
    assert len(whole) == 4


def _walk(client: Client, url: str | None) -> list[dict[str, Any]]:
    found = []
    while url is not None:
        body = ask(client, url)
        found += body["results"]
        url = body["next"]
    return found


@pytest.mark.usefixtures("many")
def test_the_size_of_the_next_page_can_differ(client: Client) -> None:
    first = ask(client, status="all", limit=2)
    rest = ask(client, first["next"].replace("limit=2", "limit=200"))
    assert (len(first["results"]), len(rest["results"]), rest["next"]) == (2, 7, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda query: query | {"sort": "count"},
        lambda query: query | {"sort": "-last"},
        lambda query: query | {"status": "open"},
        lambda query: query | {"q": "fault"},
        lambda query: query | {"f.browser": "x"},
        lambda query: query | {"cursor": query["cursor"] + "0"},
        lambda query: query | {"cursor": query["cursor"][:-1]},
        lambda query: query | {"cursor": "9" + query["cursor"][1:]},
        lambda query: query | {"cursor": query["cursor"].upper()},
        lambda query: query | {"cursor": query["cursor"].replace(".3.", ".2.")},
        lambda query: query | {"cursor": f" {query['cursor'][5:]}"},
        lambda query: query | {"cursor": f"{NOW_MS}." + "0" * 16 + "." + "9" * 300 + ".x"},
        lambda query: query | {"cursor": "." * 400},
        lambda query: query | {"cursor": "é" * 100},
    ],
)
@pytest.mark.usefixtures("many")
def test_a_cursor_of_another_list_or_a_mangled_one_is_refused(client: Client, change: Any) -> None:
    query = {"status": "all", "sort": "-count"}
    url = ask(client, limit=2, **query)["next"]
    assert ask(client, url)["results"]
    changed = change(query | {"cursor": url.partition("cursor=")[2].replace("%2E", ".")})
    answer = client.get(f"/groups?{urlencode(changed)}", headers=BEARER)
    expect_answer(
        answer,
        400,
        {
            "ok": False,
            "error": "Invalid parameters",
            "fields": {"cursor": ["Not a cursor of this list. Start again without a cursor."]},
        },
    )


def test_the_number_of_queries_depends_on_nothing(client: Client) -> None:
    call_command("demo_data", events=400, days=3, seed=7, verbosity=0)
    for path in ("/groups?limit=2&status=all", "/groups?status=all", "/groups?status=all&sort=-day&limit=200"):
        with CaptureQueriesContext(connection) as queries:
            assert len(ask(client, path)["results"]) > 1
        assert len(queries) <= 5 + 2  # two read the past days of groups, once in a process
        assert not [query for query in queries if "COUNT(" in query["sql"]]


# --- who may read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/groups", "/groups/{key}"])
@pytest.mark.parametrize(
    ("scope", "status"), [("read", 200), ("read,triage", 200), ("triage", 401), ("sourcemaps", 401)]
)
def test_a_token_needs_the_scope_read(
    client: Client, path: str, scope: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("issue_token", "ci", "--scope", scope, "--expires", "never")
    token = capsys.readouterr().out.strip()
    answer = client.get(path.format(key=fail("x")), headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["ok"]) == (status, status == 200)


@pytest.mark.parametrize("path", ["/groups", "/groups/", "/groups/{key}", "/groups/{key}/"])
def test_the_method_and_the_reader_are_checked(client: Client, path: str) -> None:
    path = path.format(key=fail("x"))
    expect_answer(client.get(path), 401, {"ok": False, "error": "Unauthorized"})
    expect_answer(client.post(path, headers=BEARER), 405, {"ok": False, "error": "Method not allowed"})
    head = client.head(path, headers=BEARER)
    assert (head.status_code, head.content, head.headers["Cache-Control"]) == (200, b"", "no-store")
    assert client.options(path, headers=BEARER).headers["Allow"] == "GET, HEAD, OPTIONS"
    sign_in(client)
    assert client.get(path).status_code == 401
    with_origin = client.get(path, headers=BEARER | {"origin": "https://xoniblue.github.io"})
    assert not [name for name in with_origin.headers if name.startswith("Access-Control")]
