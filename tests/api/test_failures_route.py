"""`GET /failures`: recent failures for staff, filtered as in the admin, page by page."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, override_settings

from events import clock
from events.grouping import triage
from tests.conftest import make_event, success
from tests.refusals import expect_answer
from tests.sourcemaps.maps import BUNDLE, PROTOCOL, V8, store_map
from tests.storage import away_database

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}
READS = ["/failures", "/metrics/summary", "/metrics/timeseries"]


@pytest.fixture(autouse=True)
def _admin_token(settings: Any) -> None:
    settings.ADMIN_TOKEN = "for-tests"


def ask(client: Client, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/failures?{urlencode(query)}", headers=BEARER)
    assert answer.status_code == 200, answer.json()
    return answer.json()  # type: ignore[no-any-return]


# --- who may read ---------------------------------------------------------------------------------------------

UNAUTHORIZED = {"ok": False, "error": "Unauthorized"}


@pytest.mark.parametrize("path", [*READS, *[f"{path}/" for path in READS]])
@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Bearer for-test", "Basic Zm9yOnRlc3Rz", "for-tests", "Bearer é"]
)
def test_a_stranger_gets_401_and_no_redirect(client: Client, path: str, authorization: str) -> None:
    answer = client.get(path, headers={"authorization": authorization, "accept": "text/html"})
    expect_answer(answer, 401, UNAUTHORIZED)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", READS)
def test_a_token_in_the_query_or_a_cookie_is_none(client: Client, settings: Any, path: str) -> None:
    client.cookies[settings.SESSION_COOKIE_NAME] = "for-tests"
    answer = client.get(f"{path}?token=for-tests&access_token=for-tests")
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("path", READS)
@override_settings(ADMIN_TOKEN="")
def test_no_token_opens_what_has_none(client: Client, path: str) -> None:
    for authorization in ("", "Bearer", "Bearer "):
        assert client.get(path, headers={"authorization": authorization}).status_code == 401


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/csv", "*/*"])
def test_the_token_opens_and_any_accept_gets_json(client: Client, path: str, accept: str) -> None:
    answer = client.get(f"{path}?format=xml", headers=BEARER | {"accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("role", ["Staff", "Maintainers"])
def test_a_role_opens(client: Client, path: str, role: str) -> None:
    user = User.objects.create_user("reader", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("lacks", ["the right", "is_staff", "is_active"])
def test_a_session_without_the_right_opens_nothing(client: Client, path: str, lacks: str) -> None:
    user = User.objects.create_user("reader", is_staff=lacks != "is_staff")
    if lacks != "the right":
        user.user_permissions.add(Permission.objects.get(codename="view_event"))
    client.force_login(user)
    if lacks == "is_active":
        User.objects.update(is_active=False)
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("path", READS)
def test_it_is_only_read(client: Client, path: str) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = client.generic(method, path, headers=BEARER)
        expect_answer(answer, 405, {"ok": False, "error": "Method not allowed"})


@pytest.mark.parametrize("path", READS)
def test_a_wrong_host_gets_the_contract_s_shape(client: Client, path: str) -> None:
    answer = client.get(path, headers=BEARER | {"host": "evil.example"})
    expect_answer(answer, 400, {"ok": False, "error": "Host not allowed"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", [*READS, "/metrics/flash-count", "/count", "/recent"])
def test_a_read_of_a_database_that_is_away_is_a_503(client: Client, path: str) -> None:
    with away_database():
        answer = client.get(path, headers=BEARER)
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
        assert "Retry-After" in answer.headers
    assert client.get(path, headers=BEARER).status_code == 200


@pytest.mark.parametrize("path", READS)
def test_options_shows_a_stranger_nothing(client: Client, path: str) -> None:
    assert client.options(path).status_code == 401
    answer = client.options(path, headers=BEARER)
    expect_answer(answer, 200, {"ok": True})
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


# --- the response ---------------------------------------------------------------------------------------------


def test_a_failure_has_its_columns_by_name_and_its_json_parsed(client: Client) -> None:
    make_event(**success())
    event = make_event(
        received_at_ms=1_770_919_200_000,
        session_id="session-a",
        error_name="ProtocolError",
        stack="at flash",
        log_lines_json='["open", "📻"]',
        metadata_json='{"source": "web"}',
    )
    assert ask(client) == {
        "ok": True,
        "results": [
            {
                "id": event.id,
                "received_at_ms": 1_770_919_200_000,
                "occurred_at": "2026-02-12T18:00:00.000Z",
                "event_type": "flash_error",
                "session_id": "session-a",
                "model": "UV-5RM",
                "write_mode": 1,
                "connected": 1,
                "app_version": "19afc18",
                "message": "No ACK for block 0x001f (got 0x15)",
                "error_name": "ProtocolError",
                "stack": "at flash",
                "log_lines_json": ["open", "📻"],
                "metadata_json": {"source": "web"},
            }
        ],
        "next": None,
    }


def test_an_empty_site_has_no_failures(client: Client) -> None:
    assert ask(client) == {"ok": True, "results": [], "next": None}


HOUR_MS = 3_600_000


@pytest.fixture
def various() -> int:
    """Store failures that differ from the first in one thing each; return the time of the last."""
    now_ms = clock.now_ms()
    different: list[dict[str, Any]] = [
        {"message": "plain"},
        {"message": "type", "event_type": "connect_error"},
        {"message": "model", "model": "DM-32UV"},
        {"message": "version", "app_version": "web-dev"},
        {"message": "mode", "write_mode": 0},
        {"message": "connected", "connected": 0},
        {"message": "session", "session_id": "session-a"},
        {"message": "100% of 'text' \\ _x_"},
    ]
    for age, changes in enumerate(reversed(different)):
        make_event(received_at_ms=now_ms - age * HOUR_MS, **changes)
    return now_ms


@pytest.mark.parametrize(
    ("query", "messages"),
    [
        ({"type": "connect_error"}, ["type"]),
        ({"model": "DM-32UV"}, ["model"]),
        ({"version": "web-dev"}, ["version"]),
        ({"mode": "0"}, ["mode"]),
        ({"connected": "0"}, ["connected"]),
        ({"session": "session-a"}, ["session"]),
        ({"session": "session"}, []),
        ({"q": "session-a"}, ["session"]),
        ({"q": "PLAIN"}, ["plain"]),
        ({"q": "%"}, ["100% of 'text' \\ _x_"]),
        ({"q": "_x_"}, ["100% of 'text' \\ _x_"]),
        ({"q": "l_in"}, []),
        ({"q": "'text' \\"}, ["100% of 'text' \\ _x_"]),
        ({"model": "DM-32UV", "connected": "0"}, []),
        ({"model": "UV-5RM", "mode": "1", "connected": "1", "type": "flash_error", "q": "pla"}, ["plain"]),
        ({"model": "nobody's"}, []),
        ({"limit": "2"}, ["100% of 'text' \\ _x_", "session"]),
        ({"window": "1h"}, ["100% of 'text' \\ _x_"]),
        ({"unknown": "parameter", "q": "plain"}, ["plain"]),
    ],
    ids=str,
)
def test_filters_are_those_of_the_admin_and_combine(
    client: Client, various: int, query: dict[str, str], messages: list[str]
) -> None:
    assert [failure["message"] for failure in ask(client, **query)["results"]] == messages


@pytest.mark.parametrize("millisecond", [0, 1, 29, 357, 999])
def test_a_time_window_begins_at_since_and_ends_before_until(client: Client, millisecond: int) -> None:
    noon = 1_770_919_200_000 + millisecond
    for offset in (-1, 0, 1, 2):
        make_event(received_at_ms=noon + offset, message=f"{offset} ms")
    found = ask(client, since=clock.iso(noon), until=clock.iso(noon + 2))["results"]
    assert [failure["message"] for failure in found] == ["1 ms", "0 ms"]


def test_a_failure_is_found_by_its_id(client: Client, various: int) -> None:
    wanted = ask(client)["results"][3]
    assert ask(client, q=wanted["id"])["results"] == [wanted]


def walk(client: Client, path: str) -> list[list[str]]:
    """Follow `next` to the end and return the messages of each page."""
    pages = []
    following: str | None = path
    while following:
        assert following.startswith("/failures?")
        answer = client.get(following, headers=BEARER).json()
        pages.append([failure["message"] for failure in answer["results"]])
        following = answer["next"]
    return pages


def test_pages_visit_each_failure_once_also_within_one_millisecond(client: Client) -> None:
    for number in range(23):
        make_event(received_at_ms=1_770_919_200_000 + number // 10, message=f"Failure {number}")
    pages = walk(client, "/failures?limit=4")
    visited = [message for page in pages for message in page]
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 3]
    assert sorted(visited) == sorted(f"Failure {number}" for number in range(23))


def test_a_page_that_ends_with_the_list_has_no_next(client: Client) -> None:
    for number in range(4):
        make_event(message=f"Failure {number}")
    assert [len(page) for page in walk(client, "/failures?limit=2")] == [2, 2]


def test_next_keeps_the_filters(client: Client) -> None:
    for number in range(6):
        model = "é & ü" if number % 2 else "UV-5RM"
        make_event(received_at_ms=1_770_919_200_000 + number, message=f"Failure {number}", model=model)
    pages = walk(client, f"/failures?{urlencode({'limit': 2, 'model': 'é & ü'})}")
    assert pages == [["Failure 5", "Failure 3"], ["Failure 1"]]


def test_new_failures_do_not_move_the_pages(client: Client) -> None:
    for number in range(4):
        make_event(received_at_ms=1_770_919_200_000 + number, message=f"Failure {number}")
    first = ask(client, limit=2)
    make_event(message="Newer")
    second = client.get(first["next"], headers=BEARER).json()
    assert [failure["message"] for failure in second["results"]] == ["Failure 1", "Failure 0"]


def test_a_page_has_fifty_results_by_default_and_at_most_two_hundred(client: Client) -> None:
    for number in range(201):
        make_event(message=f"Failure {number}")
    assert len(ask(client)["results"]) == 50
    assert len(ask(client, limit=200)["results"]) == 200


NUMBER = ["Enter a whole number."]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=0", {"limit": ["Ensure this value is greater than or equal to 1."]}),
        ("limit=201", {"limit": ["Ensure this value is less than or equal to 200."]}),
        ("limit=many", {"limit": NUMBER}),
        ("limit=1e2", {"limit": NUMBER}),
        (f"limit={'9' * 5_000}", {"limit": NUMBER}),
        ("cursor=5", {"cursor": ["Not a cursor of this list. Start again without a cursor."]}),
        ("cursor=.x", {"cursor": ["Not a cursor of this list. Start again without a cursor."]}),
        ("cursor=-1.x", {"cursor": ["Not a cursor of this list. Start again without a cursor."]}),
        ("cursor=9999999999999999999999.x", {"cursor": ["Not a cursor of this list. Start again without a cursor."]}),
        ("cursor=²5.x", {"cursor": ["Not a cursor of this list. Start again without a cursor."]}),
        ("cursor=5.%00", {"cursor": ["Null characters are not allowed."]}),
        ("q=%00", {"q": ["Null characters are not allowed."]}),
        ("model=%00", {"model": ["Null characters are not allowed."]}),
        ("session=%00", {"session": ["Null characters are not allowed."]}),
        (f"model={'m' * 65}", {"model": ["Ensure this value has at most 64 characters (it has 65)."]}),
        (
            "type=flash_success",
            {"type": ["Select a valid choice. flash_success is not one of the available choices."]},
        ),
        ("mode=2", {"mode": ["Select a valid choice. 2 is not one of the available choices."]}),
        ("window=2h", {"window": ["Select a valid choice. 2h is not one of the available choices."]}),
        ("since=then", {"since": ["Enter a valid date/time."]}),
        ("until=2026-02-30T00:00:00Z", {"until": ["Enter a valid date/time."]}),
        (
            "mode=x&limit=x",
            {"mode": ["Select a valid choice. x is not one of the available choices."], "limit": NUMBER},
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_parameter_is_named_in_words(client: Client, query: str, fields: dict[str, list[str]]) -> None:
    answer = client.get(f"/failures?{query}", headers=BEARER)
    expect_answer(answer, 400, {"ok": False, "error": "Invalid parameters", "fields": fields})


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01T00:00:00%2B10:00",
        "until=9999-12-31T23:59:59-10:00",
        "since=9999-12-31T23:59:59Z&until=0001-01-01T00:00:00Z",
        "cursor=0.x",
        "cursor=999999999999999.%F0%9F%93%BB",
        "q=%ff",
        "q=" + "'" * 200,
        "q=%ED%A0%BD",
    ],
)
def test_an_odd_parameter_is_no_server_error(client: Client, query: str) -> None:
    make_event()
    assert client.get(f"/failures?{query}", headers=BEARER).status_code == 200


def test_too_many_parameters_are_refused(client: Client) -> None:
    answer = client.get("/failures?" + "&".join(["q=x"] * 2_000), headers=BEARER)
    assert (answer.status_code, answer.json()["ok"]) == (400, False)


# --- expected events ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["b", "a"]),
        ({"expected": "1"}, ["picker"]),
        ({"expected": "any"}, ["b", "picker", "a"]),
        ({"limit": 1}, ["b"]),
    ],
)
def test_events_of_expected_groups_are_left_out_by_default(
    client: Client, query: dict[str, Any], found: list[str]
) -> None:
    for number, message in enumerate(["a", "picker", "b"]):
        event = make_event(message=message, received_at_ms=1_770_919_200_000 + number)
        if message == "picker":
            triage.expect([str(event.fingerprint)], user=User.objects.create_user("olga"), at=clock.now())
    answer = ask(client, **query)
    assert [item["message"] for item in answer["results"]] == found
    assert (answer["next"] is None) == ("limit" not in query)


@pytest.mark.parametrize("value", ["2", "yes", "ANY"])
def test_another_value_of_expected_is_refused(client: Client, value: str) -> None:
    answer = client.get("/failures", {"expected": value}, headers=BEARER)
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["expected"])


# --- frames ---------------------------------------------------------------------------------------------------


def test_frames_of_a_stack_have_their_original_places(client: Client) -> None:
    store_map()
    make_event(stack=V8)
    make_event(message="no stack", received_at_ms=1_000)
    make_event(message="a stack without frames", stack="Error: no", received_at_ms=2_000)
    with_frames, *others = ask(client)["results"]
    assert ["frames" in item for item in others] == [False, False]
    assert with_frames["stack"] == V8
    first, *_, last = with_frames["frames"]
    assert first == {
        "function": "writeBlock",
        "file": "src/protocol.ts",
        "line": 8,
        "column": 32,
        "context": [[number, text] for number, text in enumerate(PROTOCOL.split("\n"), 1) if 5 <= number <= 11],
        "in_app": True,
        "raw": f"at Ht.writeBlock (https://flash.example.org/assets/{BUNDLE}:1:101)",
        "unresolved": None,
    }
    assert last == {
        "function": "x",
        "file": "other-A1b2C3d4.js",
        "line": 1,
        "column": 9,
        "context": None,
        "in_app": True,
        "raw": "at x (https://flash.example.org/assets/other-A1b2C3d4.js:1:9)",
        "unresolved": "no map for other-A1b2C3d4.js of 19afc18",
    }


@pytest.mark.parametrize("text", ["writeBlock", "writeblock", "src/protocol.ts", "protocol.ts"])
def test_text_search_finds_resolved_frames(client: Client, text: str) -> None:
    store_map()
    stack = f"Error: no\n    at Ht (https://flash.example.org/assets/{BUNDLE}?v=1:1:101)"
    found = make_event(stack=stack)
    make_event(stack=stack.replace(":101", ":1011"), message="another place")
    make_event(stack=stack, app_version="other", message="another version")
    assert ask(client, q=text)["results"] == []  # nobody has read a frame yet
    ask(client, version="19afc18")
    store_map("other", file="other.js")
    assert [item["id"] for item in ask(client, q=text)["results"]] == [found.id]
