"""The differences from the responses of the old Workers, and their list in docs/legacy-migration.md."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from legacy.models import Mode, ModeInForce
from tests.conftest import payload, success
from tests.fixtures.deployed_clients import (
    DUAL_WRITING,
    FOR_EVENT,
    FOR_THE_LOG,
    NEWEST,
    OLDEST,
    as_body,
    full_of,
    stringify,
)
from tests.fixtures.old_answers import (
    COMPARED_HEADERS,
    DEPLOYED,
    ID,
    KINDS,
    ORIGIN,
    ROWS,
    TIME,
    TOKEN,
    Answer,
    AnswerRow,
    changes,
)
from tests.refusals import expect_answer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "legacy-migration.md"


# --- the answers --------------------------------------------------------------------------------------------------


def ask(client: Client, method: str, path: str, body: str, headers: dict[str, str]) -> Any:
    media_type = headers.get("content-type", "application/json")
    others = {name: value for name, value in headers.items() if name != "content-type"}
    return client.generic(method, path, body.encode(), content_type=media_type, headers=others)


def with_placeholders(value: Any) -> Any:
    """Return a body with placeholders for ids and times received."""
    if isinstance(value, list):
        return [with_placeholders(item) for item in value]
    if isinstance(value, dict):
        new = {name: with_placeholders(item) for name, item in value.items()}
        if re.fullmatch("[0-9a-f]{32}", str(value.get("id"))):
            new["id"] = ID
        if isinstance(value.get("receivedAtMs"), int):
            new["receivedAtMs"] = TIME
        return new
    return value


@pytest.mark.django_db
@pytest.mark.parametrize("mode", [Mode.ALIAS, Mode.SEPARATE])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_each_request_is_answered_as_the_table_says(client: Client, settings: Any, row: AnswerRow, mode: Mode) -> None:
    settings.ADMIN_TOKEN = TOKEN
    if mode == Mode.SEPARATE:
        ModeInForce.objects.create(id=1, mode=mode)  # as a switch leaves an empty site
    for earlier in row.before:
        assert ask(client, earlier.method, earlier.path, earlier.body or "", {}).status_code < 300
    answer = ask(client, row.method, row.path, row.body, row.headers)
    is_json = answer.headers.get("Content-Type") == "application/json"
    body = with_placeholders(answer.json()) if is_json else None
    assert Answer(answer.status_code, body) == (row.new if mode == Mode.ALIAS else row.in_separate)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert {name: headers[name] for name in COMPARED_HEADERS & headers.keys()} == row.new_headers


# --- the kinds of difference --------------------------------------------------------------------------------------


def all_changes(row: AnswerRow) -> set[str]:
    """Return the differences between the old and the new response of a row, in both modes."""
    return changes(row.old, row.new, row.new_headers) | changes(row.old, row.in_separate, row.new_headers)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_the_kinds_of_a_row_explain_all_its_changes_and_no_other(row: AnswerRow) -> None:
    found = all_changes(row)
    assert found <= set().union(*(KINDS[kind] for kind in row.kinds))
    assert [kind for kind in row.kinds if KINDS[kind] and not KINDS[kind] & found] == []


def test_every_kind_and_every_change_of_it_occurs() -> None:
    found: dict[str, set[str]] = {kind: set() for row in ROWS for kind in row.kinds}
    for row in ROWS:
        for kind in row.kinds:
            found[kind] |= all_changes(row) & KINDS[kind]
    assert found == KINDS


def test_each_request_is_in_the_table_once() -> None:
    assert len({row.case for row in ROWS}) == len(ROWS)


# --- the deployed clients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", DEPLOYED, ids=lambda row: row.case)
def test_no_deployed_client_can_notice_a_difference(row: AnswerRow) -> None:
    """A client uses `response.ok` and the keys that it knows, and needs CORS headers to read the response."""
    assert row.old
    for new in (row.new, row.in_separate):
        assert new.status // 100 == 2
        assert new.body
        if row.old.status != 413:
            types = {key: type(value) for key, value in (row.old.body or {}).items()}
            assert types == {key: type(new.body.get(key)) for key in types}
    assert row.new_headers.get("access-control-allow-origin") == row.headers.get("origin")


# Bytes of the largest body that the newest client sends to /event, if all its texts consist of one character.
LARGEST = {'"': 80_615, "\\": 80_615, "\n": 61_495, "\u2028": 63_112, "漢": 63_112, "é": 42_375, "📻": 42_787}


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/client-log", "/event"])
@pytest.mark.parametrize("revision", [OLDEST, NEWEST])
@pytest.mark.parametrize("character", LARGEST)
def test_the_largest_body_of_a_deployed_client_is_accepted(
    client: Client, character: str, revision: str, path: str
) -> None:
    body = stringify(as_body(full_of(character), revision, 0) | (FOR_EVENT if path == "/event" else FOR_THE_LOG))
    if (revision, path) == (NEWEST, "/event"):
        assert len(body.encode()) == LARGEST[character]
    assert len(body.encode()) <= max(LARGEST.values())
    assert ask(client, "POST", path, body, {}).status_code == (201 if path == "/event" else 200)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/client-log", "/event"])
@pytest.mark.parametrize("character", ["\x01", "\ud83d"])
def test_a_body_within_the_old_limit_is_accepted_with_any_characters(client: Client, character: str, path: str) -> None:
    """JSON escapes each such character with six bytes, and with seven in a log line."""
    largest = largest_within_the_old_limit(character)
    assert len(largest) > 60_000
    assert ask(client, "POST", path, largest, {}).status_code == (201 if path == "/event" else 200)


@cache
def largest_within_the_old_limit(character: str) -> str:
    bodies = (stringify(as_body(full_of(character, lines), NEWEST, 0) | FOR_EVENT) for lines in range(80, 0, -1))
    return next(body for body in bodies if len(body) <= 65_536)


BODIES = {"/event": success(), "/client-log": payload(), "/increment": {"sessionId": "a"}}


@pytest.mark.django_db
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json;charset=UTF-8"},
        {"content-type": 'application/json; charset="utf-8"'},
        {"content-type": "Application/JSON ; Charset=utf-8"},
        {"content-type": "text/plain;charset=UTF-8"},
        {"accept": "text/html"},
        {"cache-control": "no-cache", "pragma": "no-cache"},
        {"if-none-match": "*"},
        {"if-match": '"x"'},
        {"cookie": "sessionid=x; csrftoken=y"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "priority": "u=4"},
    ],
    ids=str,
)
def test_a_post_is_accepted_with_any_headers_of_a_browser(
    client: Client, path: str, slash: str, headers: dict[str, str]
) -> None:
    answer = ask(client, "POST", path + slash, json.dumps(BODIES[path]), headers | {"origin": ORIGIN})
    assert (answer.status_code // 100, answer.json()["ok"]) == (2, True)
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/count", "/count/", "/metrics/flash-count", "/metrics/flash-count/"])
@pytest.mark.parametrize(
    "headers",
    [
        {"if-none-match": "*"},
        {"if-modified-since": "Thu, 12 Feb 2099 18:00:00 GMT"},
        {"range": "bytes=0-3"},
        {"cache-control": "max-age=0"},
        {"accept": "text/html"},
    ],
    ids=str,
)
def test_a_count_is_never_cached(client: Client, path: str, headers: dict[str, str]) -> None:
    for total in (0, 1):
        answer = ask(client, "GET", path, "", headers | {"origin": ORIGIN})
        expect_answer(answer, 200, {"ok": True, "total": total})
        ask(client, "POST", "/event", json.dumps(success()), {})


# --- the documentation --------------------------------------------------------------------------------------------


@pytest.fixture
def section() -> str:
    return PAGE.read_text(encoding="utf-8").partition("## Differences from the old Workers\n")[2].partition("\n## ")[0]


@pytest.fixture
def documented(section: str) -> dict[str, list[str]]:
    """Return the cells of each documented kind: old response, new response, who can notice, why."""
    lines = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0]] == ["difference", "old answer", "new answer", "who can notice", "why"]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


def test_the_documentation_has_each_kind_of_difference_and_no_other(documented: dict[str, list[str]]) -> None:
    assert list(documented) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_documented_answers_name_each_change(documented: dict[str, list[str]], kind: str) -> None:
    old, new, who, why = documented[kind]
    for change in KINDS[kind]:
        verb, _, rest = change.partition(" ")
        name = rest.removeprefix("rows.")
        before, _, after = name.partition(" to ") if verb == "status" else (name, "", name)
        assert verb not in ("status", "drops") or before in old
        assert verb == "drops" or after in new
    assert re.match(r"(Nobody|A script)\b", who)
    assert not re.search(f"{OLDEST}|{DUAL_WRITING}|{NEWEST}|revision|deployed", who)
    assert why


def test_the_documentation_has_the_numbers_of_the_table(section: str) -> None:
    known = [row for row in ROWS if row.old]
    words = " ".join(section.split())
    assert f"A test sends {len(ROWS)} requests to this site" in words
    assert (
        f"The old answer to {len(known)} of them is known: {sum(not row.kinds for row in known)} are the same" in words
    )
