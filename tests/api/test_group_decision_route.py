"""`POST /groups/{key}/decision`: what a script may decide, how often, and under which name."""

import json
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from events import clock
from events.grouping import merges, triage
from events.models import AuditEntry, ExpectedRollup, FailureGroup
from events.reports.groups import items
from tests.conftest import make_event, sign_in
from tests.fixtures.flashes import NOW, NOW_MS
from tests.refusals import expect_answer
from tests.storage import away_database
from tests.threads import in_threads

pytestmark = pytest.mark.django_db

BEARER = {"authorization": "Bearer for-tests"}
UNAUTHORIZED = {"ok": False, "error": "Unauthorized"}


@pytest.fixture(autouse=True)
def _at_a_fixed_time(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ADMIN_TOKEN = "for-tests"
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def key() -> str:
    return make_event(received_at_ms=NOW_MS - 1).fingerprint or ""


def decide(client: Client, key: str, body: Any, headers: dict[str, str] = BEARER, **options: Any) -> Any:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    options = {"content_type": "application/json"} | options
    return client.post(f"/groups/{key}/decision", data, headers=headers, **options)


def history() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.exclude(kind="token").order_by("pk").values_list("who", "what"))


def decision(key: str) -> tuple[Any, ...]:
    return FailureGroup.objects.values_list("status", "fixed_in", "muted_until_ms", "note").get(pk=key)


DEC_31_MS = 1_798_675_200_000
DECISIONS = [
    ({"status": "resolved", "fixed_in": "2c87cac"}, ("resolved", "2c87cac", None), "Resolved in 2c87cac."),
    ({"status": "resolved", "fixed_in": " 2c87cac\n"}, ("resolved", "2c87cac", None), "Resolved in 2c87cac."),
    ({"status": "resolved", "fixed_in": "x" * 64}, ("resolved", "x" * 64, None), f"Resolved in {'x' * 64}."),
    ({"status": "resolved", "fixed_in": None}, ("resolved", None, None), "Resolved in the next version."),
    ({"status": "resolved", "until": None}, ("resolved", None, None), "Resolved in the next version."),
    ({"status": "muted", "until": "2026-12-31"}, ("muted", None, DEC_31_MS), "Muted until 2026-12-31."),
    ({"status": "muted", "until": "9999-12-31"}, ("muted", None, 253_402_214_400_000), "Muted until 9999-12-31."),
    ({"status": "muted"}, ("muted", None, None), "Muted for good."),
    ({"status": "expected"}, ("expected", None, None), "Marked as expected."),
]


@pytest.mark.parametrize(("body", "stored", "words"), DECISIONS)
def test_each_decision_is_stored_and_audited_once(
    client: Client, key: str, body: dict[str, Any], stored: tuple[Any, ...], words: str
) -> None:
    first = decide(client, key, body)
    again = decide(client, key, body)
    assert decision(key) == (*stored, "")
    assert history() == [("ADMIN_TOKEN", words)]
    item = client.get(f"/groups?status={body['status']}", headers=BEARER).json()["results"][0]
    expect_answer(first, 200, {"ok": True, "changed": True, **item})
    expect_answer(again, 200, {"ok": True, "changed": False, **item})
    assert (item["status"], item["decided_by"]) == (body["status"], "ADMIN_TOKEN")
    assert item["fixed_in_seen"] is (False if stored[1] else None)
    opened = decide(client, key, {"status": "open"}).json()
    assert (opened["status"], opened["changed"], decision(key)) == ("open", True, ("open", None, None, ""))
    assert decide(client, key, {"status": "open"}).json()["changed"] is False
    assert history() == [("ADMIN_TOKEN", words), ("ADMIN_TOKEN", "Opened again.")]


def test_a_version_that_an_event_has_reported_is_seen(client: Client, key: str) -> None:
    assert decide(client, key, {"status": "resolved", "fixed_in": "19afc18"}).json()["fixed_in_seen"] is True


def test_an_open_group_is_not_opened_again(client: Client, key: str) -> None:
    assert decide(client, key, {"status": "open", "fixed_in": None, "until": None}).json()["changed"] is False
    assert history() == []


def test_a_regression_ends_a_decision(client: Client, key: str) -> None:
    FailureGroup.objects.filter(pk=key).update(fixed_in="2c87cac", regressed_at_ms=NOW_MS, regressed_by="x")
    body = decide(client, key, {"status": "open"}).json()
    assert (body["status"], body["regressed_at"], body["changed"]) == ("open", None, True)


def test_an_expected_group_is_no_failure_from_then_on(client: Client, key: str) -> None:
    decide(client, key, {"status": "expected"})
    assert ExpectedRollup.objects.get().accepted == 1
    decide(client, key, {"status": "open"})
    assert not ExpectedRollup.objects.exists()


@pytest.mark.parametrize(
    ("note", "stored", "words"),
    [
        ("Ask Robin.", "Ask Robin.", ["Noted: Ask Robin."]),
        ("  a\r\nb\n", "a\nb", ["Noted: a\nb"]),
        ("é" * 2000, "é" * 2000, [f"Noted: {'é' * 2000}"]),
        ("\0", "�", ["Noted: �"]),
        ("as before", "as before", []),
        (None, "as before", []),
        ("", "", ["Took the note away."]),
    ],
)
def test_a_note_is_optional(client: Client, key: str, note: Any, stored: str, words: list[str]) -> None:
    FailureGroup.objects.update(note="as before")
    for changed in (True, False):
        answer = decide(client, key, {"status": "muted", "note": note}).json()
        assert (answer["note"], answer["changed"]) == (stored, changed)
    assert [what for _, what in history()] == ["Muted for good.", *words]


ONE_OF = "Must be one of 'resolved', 'muted', 'expected' or 'open'."
NOT_FUTURE, NOT_DATE = "This day is not in the future.", "Must be a date such as 2026-12-31, or null."
FOR_RESOLVED, FOR_MUTED = "Only for the status resolved.", "Only for the status muted."
NO_RELEASE = "Must not be dev: no version follows it, because it is not a release."
STRING = "Must be a string."


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"status": ["This field is required."]}),
        ({"status": "closed"}, {"status": [ONE_OF]}),
        ({"status": "Open"}, {"status": [ONE_OF]}),
        ({"status": "regression"}, {"status": [ONE_OF]}),
        ({"status": None}, {"status": [ONE_OF]}),
        ({"status": ["open"]}, {"status": [ONE_OF]}),
        ({"status": {}}, {"status": [ONE_OF]}),
        ({"status": "muted", "fixed_in": "a"}, {"fixed_in": [FOR_RESOLVED]}),
        ({"status": "expected", "until": "2027-01-01"}, {"until": [FOR_MUTED]}),
        (
            {"status": "open", "until": "2020-01-01", "fixed_in": ""},
            {
                "fixed_in": ["Must be a version, or null for the next one.", FOR_RESOLVED],
                "until": [FOR_MUTED, NOT_FUTURE],
            },
        ),
        ({"status": "resolved", "fixed_in": 7}, {"fixed_in": [STRING]}),
        ({"status": "resolved", "fixed_in": False}, {"fixed_in": [STRING]}),
        ({"status": "resolved", "fixed_in": "x" * 65}, {"fixed_in": ["At most 64 characters."]}),
        ({"status": "resolved", "fixed_in": "dev"}, {"fixed_in": [NO_RELEASE]}),
        ({"status": "muted", "until": "2026-02-12"}, {"until": [NOT_FUTURE]}),
        ({"status": "muted", "until": "1970-01-01"}, {"until": [NOT_FUTURE]}),
        ({"status": "muted", "until": "2026-02-30"}, {"until": ["There is no such date."]}),
        ({"status": "muted", "until": "2027-01-01T00:00:00Z"}, {"until": [NOT_DATE]}),
        ({"status": "muted", "until": "20270101"}, {"until": [NOT_DATE]}),
        ({"status": "muted", "until": "٢٠٢٧-٠١-٠١"}, {"until": [NOT_DATE]}),
        ({"status": "muted", "until": ""}, {"until": [NOT_DATE]}),
        ({"status": "muted", "until": 1_798_675_200_000}, {"until": [STRING]}),
        ({"status": "open", "note": "x" * 2001}, {"note": ["At most 2000 characters."]}),
        ({"status": "open", "note": 1}, {"note": [STRING]}),
        ({"status": "resolved", "fixedIn": "a"}, {"fixedIn": ["There is no such field."]}),
        (
            {"status": "x", "fixed_in": 1, "until": "x", "note": [], "why": ""},
            {"status": [ONE_OF], "fixed_in": [STRING], "until": [NOT_DATE], "note": [STRING],
             "why": ["There is no such field."]},
        ),
    ],
)  # fmt: skip
def test_every_wrong_field_is_listed_and_nothing_changes(
    client: Client, key: str, body: Any, fields: dict[str, list[str]]
) -> None:
    answer = decide(client, key, body)
    expect_answer(answer, 400, {"ok": False, "error": "Invalid payload fields", "fields": fields})
    assert decision(key) == ("open", None, None, "")
    assert history() == []


@pytest.mark.parametrize("body", [" ", "[]", "7", "null", '"open"', "{", b"\xff", '{"status": NaN}', "[" * 100_000])
def test_a_body_that_is_no_object_is_refused(client: Client, key: str, body: Any) -> None:
    expect_answer(decide(client, key, body), 400, {"ok": False, "error": "Invalid JSON"})


def test_the_media_type_and_the_size_are_checked(client: Client, key: str) -> None:
    body = '{"status": "open"}'
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/html"):
        answer = decide(client, key, body, content_type=content_type)
        expect_answer(answer, 415, {"ok": False, "error": "Unsupported media type"})
    zipped = decide(client, key, body, BEARER | {"content-encoding": "gzip"})
    expect_answer(zipped, 415, {"ok": False, "error": "Unsupported media type"})
    expect_answer(decide(client, key, " " * 131_073), 413, {"ok": False, "error": "Payload too large"})
    assert decide(client, key, body, content_type="text/plain; charset=utf-8").status_code == 200


def test_the_overflow_group_cannot_be_expected(client: Client, key: str) -> None:
    FailureGroup.objects.update(fingerprint="overflow-flash_error")
    answer = decide(client, "overflow-flash_error", {"status": "expected"})
    fields = {"status": [triage.NOT_EXPECTED]}
    expect_answer(answer, 400, {"ok": False, "error": "Invalid payload fields", "fields": fields})
    assert decide(client, "overflow-flash_error", {"status": "muted"}).status_code == 200


# --- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["ffffffff", "x", "a%00b", "decision"])
def test_an_unknown_key_is_not_found(client: Client, key: str, unknown: str) -> None:
    expect_answer(decide(client, unknown, {"status": "open"}), 404, {"ok": False, "error": "No such group"})


def test_a_former_or_abbreviated_key_decides_about_the_group_that_has_the_failures(client: Client, key: str) -> None:
    whole = make_event(message="whole").fingerprint or ""
    merges.merge(key, whole, user=User(username="olga"), at=NOW)
    for number, name in enumerate((key, key[:8], whole[:8], whole)):
        answer = decide(client, name, {"status": "resolved", "fixed_in": f"v{number}"}).json()
        assert (answer["key"], answer["fixed_in"]) == (whole, f"v{number}")


def test_a_group_that_is_merged_meanwhile_is_looked_up_again(
    client: Client, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_event(message="whole").fingerprint or ""
    find, found = items.current_key, []

    def find_and_merge(name: str) -> str | None:
        found.append(find(name))
        if len(found) == 1:
            merges.merge(key, whole, user=User(username="olga"), at=NOW)
        return found[-1]

    monkeypatch.setattr(items, "current_key", find_and_merge)
    answer = decide(client, key, {"status": "muted"})
    assert (answer.status_code, answer.json()["key"], found[:2]) == (200, whole, [key, whole])


@pytest.mark.django_db(transaction=True)
def test_decisions_at_once_are_one_after_the_other(key: str) -> None:
    bodies = [{"status": "resolved", "fixed_in": f"v{number % 2}", "note": "n"} for number in range(6)]
    bodies += [{"status": "expected"}, {"status": "open"}]
    answers = in_threads([lambda body=body: decide(Client(), key, body) for body in bodies])
    assert {answer.status_code for answer in answers} == {200}
    changes = sum(answer.json()["changed"] for answer in answers)
    entries = [what for _, what in history() if not what.startswith("Noted")]
    assert 1 <= len(entries) <= changes <= len(bodies)
    assert all(one != other for one, other in pairwise(entries))


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_a_503(client: Client, key: str) -> None:
    with away_database():
        answer = decide(client, key, {"status": "open"})
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
        assert "Retry-After" in answer.headers


# --- who may decide ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "status"), [("triage", 200), ("read,triage", 200), ("read", 401), ("sourcemaps", 401), ("ingest", 401)]
)
def test_a_token_needs_the_scope_triage(
    client: Client, key: str, scope: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("issue_token", "deploy bot", "--scope", scope, "--expires", "never")
    token = capsys.readouterr().out.strip()
    answer = decide(client, key, {"status": "muted", "note": "n"}, {"authorization": f"Bearer {token}"})
    assert answer.status_code == status
    who = "token deploy bot"
    assert history() == ([(who, "Muted for good."), (who, "Noted: n")] if status == 200 else [])
    assert (answer.json().get("decided_by") == who) is (status == 200)


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("Staff", 401), ("Maintainers", 200)])
def test_an_account_needs_the_permission(client: Client, key: str, role: str | None, status: int) -> None:
    user = sign_in(client, role)
    answer = decide(client, key, {"status": "muted"}, {})
    assert answer.status_code == status
    assert history() == ([(user.get_username(), "Muted for good.")] if status == 200 else [])


def test_a_session_needs_the_token_against_forgery(key: str) -> None:
    client = Client(enforce_csrf_checks=True)
    sign_in(client, "Maintainers")
    refused = decide(client, key, {"status": "muted"}, {})
    expect_answer(refused, 403, {"ok": False, "error": "CSRF Failed: CSRF cookie not set."})
    page = client.get("/admin/events/failuregroup/")
    sent = {"x-csrftoken": page.context["csrf_token"].__str__()}
    assert decide(client, key, {"status": "muted"}, sent).status_code == 200
    assert decide(client, key, {"status": "open"}, BEARER).status_code == 200  # a token needs none


@pytest.mark.parametrize("path", ["/groups/{key}/decision", "/groups/{key}/decision/"])
def test_only_post_is_allowed(client: Client, key: str, path: str) -> None:
    path = path.format(key=key)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = client.generic(method, path, headers=BEARER)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    expect_answer(client.post(path, "{}", content_type="application/json"), 401, UNAUTHORIZED)
    assert client.options(path, headers=BEARER).headers["Allow"] == "POST, OPTIONS"
    assert client.options(path).status_code == 401
    assert client.post(path, '{"status":"open"}', content_type="application/json", headers=BEARER).status_code == 200
