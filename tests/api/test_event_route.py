"""`POST /event`: every rule of every field, and every row of the answer table."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from events import clock
from events.grouping import advice, triage
from events.ingest import contract
from events.ingest.refusals import RefusalReason
from events.models import Event, LifetimeTotal
from tests.conftest import make_event, payload, success
from tests.refusals import counted, expect_answer, expect_refusal
from tests.storage import away_database, locked_events, read_only_database

pytestmark = pytest.mark.django_db

REQUIRED = ["This field is required."]
BIT = ["Must be the integer 0 or 1."]
TEXT = ["Must be a string."]
EMPTY = ["Must not be empty."]
TYPES = ["Must be one of 'flash_success', 'flash_error', 'connect_error', 'window_error' or 'unhandled_rejection'."]
ISO = ["Expected an ISO 8601 date-time such as 2026-02-12T18:00:00.000Z."]
JSON_TEXT = ["Must be JSON text, nested at most 8 deep."]
JSON_ROOT = ["Must be a JSON array or object."]


def up_to(characters: int) -> list[str]:
    return [f"At most {characters} characters."]


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


# --- stored --------------------------------------------------------------------------------------------------


def test_a_new_event_is_created_and_every_column_is_stored(post: Callable[..., Any]) -> None:
    answer = post(
        "/event",
        success(
            session_id="session-a",
            occurred_at="2026-02-12T19:00:00+01:00",
            error_name="ProtocolError",
            stack="at flash",
            log_lines_json='[ "open" ]',
            metadata_json='{ "source": "web" }',
        ),
    )
    event = Event.objects.get()
    expect_answer(answer, 201, {"ok": True, "deduped": False, "id": event.id})
    assert event.received_at_ms > 0
    assert {
        "occurred_at": event.occurred_at,
        "event_type": event.event_type,
        "session_id": event.session_id,
        "model": event.model,
        "write_mode": event.write_mode,
        "connected": event.connected,
        "app_version": event.app_version,
        "message": event.message,
        "error_name": event.error_name,
        "stack": event.stack,
        "log_lines_json": event.log_lines_json,
        "metadata_json": event.metadata_json,
        "source": event.source,
    } == {
        "occurred_at": "2026-02-12T18:00:00.000Z",
        "event_type": "flash_success",
        "session_id": "session-a",
        "model": "UV-5RM",
        "write_mode": 1,
        "connected": 1,
        "app_version": "19afc18",
        "message": "Flash complete",
        "error_name": "ProtocolError",
        "stack": "at flash",
        "log_lines_json": '["open"]',
        "metadata_json": '{"source":"web"}',
        "source": "event",
    }


def test_what_is_left_out_has_its_default(post: Callable[..., Any]) -> None:
    assert post("/event", payload()).status_code == 201
    event = Event.objects.get()
    assert (event.session_id, event.error_name, event.stack) == (None, None, None)
    assert (event.log_lines_json, event.metadata_json) == ("[]", "{}")


def test_the_same_session_is_counted_once(client: Client, post: Callable[..., Any]) -> None:
    assert post("/event", success(session_id="session-a")).status_code == 201
    again = post("/event", success(session_id="session-a", message="Sent again", occurred_at="2026-03-01"))
    expect_answer(again, 200, {"ok": True, "deduped": True})
    assert Event.objects.get().message == "Flash complete"
    assert client.get("/metrics/flash-count").json()["total"] == 1
    assert counted() == {"duplicate": 1}


def test_a_session_may_have_one_event_of_each_type(post: Callable[..., Any]) -> None:
    assert post("/event", success(session_id="session-a")).status_code == 201
    assert post("/event", payload(session_id="session-a")).status_code == 201
    assert post("/event", payload(session_id="session-a", message="Later")).json() == {"ok": True, "deduped": True}
    assert Event.objects.count() == 2


def test_an_event_without_a_session_is_known_by_its_content(post: Callable[..., Any]) -> None:
    assert post("/event", payload()).status_code == 201
    expect_answer(post("/event", payload(metadata_json='{"try":2}')), 200, {"ok": True, "deduped": True})
    assert post("/event", payload(message="Another")).status_code == 201
    assert Event.objects.count() == 2


def test_unknown_fields_are_ignored_and_never_stored(post: Callable[..., Any]) -> None:
    secrets = {"user_agent": "Agent-7", "page_url": "https://a.example/?q=7", "ip": "192.0.2.7", "id": "mine-7"}
    body = payload(**secrets, received_at_ms=7, source="import", deep=[[[[[[[[[[{}]]]]]]]]]])
    assert post("/event", body, user_agent="Agent-7", referer="https://a.example/7").status_code == 201
    stored = Event.objects.values().get()
    assert stored["source"] == "event"
    assert stored["received_at_ms"] != 7
    assert not {value for value in stored.values() for secret in secrets.values() if secret in str(value)}


@pytest.mark.parametrize("path", ["/event", "/event/", "/event?token=unasked"])
def test_it_answers_in_place_with_and_without_a_slash(post: Callable[..., Any], path: str) -> None:
    assert post(path, payload()).status_code == 201


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON ;charset=UTF-8",
        "text/plain",
        "text/plain;charset=UTF-8",
    ],
)
def test_json_is_taken_as_json_and_as_a_beacon_s_text(post: Callable[..., Any], media_type: str) -> None:
    assert post("/event", payload(), content_type=media_type).status_code == 201


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*", "*/*", "nonsense", ""])
def test_any_accept_gets_json(post: Callable[..., Any], accept: str) -> None:
    answer = post("/event", payload(), accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")


# --- every field --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [
        *[
            ("event_type", name, name)
            for name in ("flash_error", "connect_error", "window_error", "unhandled_rejection")
        ],
        ("occurred_at", "2026-02-12", "2026-02-12T00:00:00.000Z"),
        ("occurred_at", "2026-02-12T18:00:00.5-01:30", "2026-02-12T19:30:00.500Z"),
        ("session_id", None, None),
        ("session_id", "s", "s"),
        ("session_id", "s" * 128, "s" * 128),
        ("session_id", "📻" * 128, "📻" * 128),
        ("session_id", "baseline", "baseline"),
        ("session_id", "a-baseline-1", "a-baseline-1"),
        ("message", "m", "m"),
        ("message", " m ", " m "),
        ("message", "m" * 299 + "...", "m" * 299 + "..."),
        ("message", "m" * 500, "m" * 500),
        ("message", "📻" * 500, "📻" * 500),
        ("message", "📻\ud83d...", "📻\ufffd..."),
        ("message", "a\x00b", "a\ufffdb"),
        ("message", "\x00", "\ufffd"),
        ("message", "'; DROP TABLE telemetry_events; --", "'; DROP TABLE telemetry_events; --"),
        ("message", '%s {} \\ " \n\t\x07\x7f\u2028', '%s {} \\ " \n\t\x07\x7f\u2028'),
        ("model", "m" * 64, "m" * 64),
        ("model", "(other)", "(other)"),
        ("app_version", "v" * 64, "v" * 64),
        ("write_mode", 0, 0),
        ("write_mode", 1, 1),
        ("connected", 0, 0),
        ("connected", 1, 1),
        ("error_name", None, None),
        ("error_name", "", ""),
        ("error_name", "E" * 119 + "...", "E" * 119 + "..."),
        ("error_name", "E" * 200, "E" * 200),
        ("stack", None, None),
        ("stack", "", ""),
        ("stack", "s" * 1_199 + "...", "s" * 1_199 + "..."),
        ("stack", "s" * 4_000, "s" * 4_000),
        ("log_lines_json", "[]", "[]"),
        ("log_lines_json", '{"a": 1}', '{"a":1}'),
        ("log_lines_json", compact(["l" * 239 + "..."] * 200), compact(["l" * 239 + "..."] * 200)),
        ("log_lines_json", json.dumps(["l" * 65_532]), json.dumps(["l" * 65_532])),
        ("log_lines_json", '["cut \\ud83d"]', '["cut \ufffd"]'),
        ("log_lines_json", '["cut \ud83d"]', '["cut \ufffd"]'),
        ("log_lines_json", '["nul \\u0000"]', '["nul \ufffd"]'),
        ("log_lines_json", '["nul \x00"]', '["nul \ufffd"]'),
        ("log_lines_json", "[[[[[[[[]]]]]]]]", "[[[[[[[[]]]]]]]]"),
        ("metadata_json", "[1]", "[1]"),
        ("metadata_json", '{"a": 1, "a": 2}', '{"a":2}'),
        ("metadata_json", json.dumps(["m" * 16_380]), json.dumps(["m" * 16_380])),
        ("metadata_json", json.dumps([0] * 100), compact([0] * 100)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_good_value_is_stored(post: Callable[..., Any], field: str, sent: Any, stored: Any) -> None:
    assert post("/event", payload(**{field: sent})).status_code == 201
    assert Event.objects.values_list(field, flat=True).get() == stored


@pytest.mark.parametrize(
    ("field", "sent", "words"),
    [
        ("event_type", ..., REQUIRED),
        ("event_type", None, TYPES),
        ("event_type", "", TYPES),
        ("event_type", "flash_fail", TYPES),
        ("event_type", "Flash_Error", TYPES),
        ("event_type", "flash_error ", TYPES),
        ("event_type", 1, TYPES),
        ("event_type", ["flash_error"], TYPES),
        ("event_type", {"flash_error": 1}, TYPES),
        ("occurred_at", ..., REQUIRED),
        ("occurred_at", None, TEXT),
        ("occurred_at", 1_770_919_200_000, TEXT),
        ("occurred_at", "", ISO),
        ("occurred_at", "yesterday", ISO),
        ("occurred_at", "2026-W07-4T18:00:00Z", ISO),
        ("occurred_at", "20260212T180000Z", ISO),
        ("occurred_at", "2026-02-12T24:00:00Z", ["There is no such date or time."]),
        ("occurred_at", "2016-12-31T23:59:60Z", ["There is no such date or time."]),
        ("occurred_at", "0000-01-01T00:00:00Z", ["There is no such date or time."]),
        ("occurred_at", "0001-01-01T00:00:00+10:00", ["There is no such date or time."]),
        ("session_id", 1, TEXT),
        ("session_id", True, TEXT),
        ("session_id", ["s"], TEXT),
        ("session_id", "", EMPTY),
        ("session_id", "s" * 129, up_to(128)),
        ("session_id", "baseline-1", ["Must not begin with baseline-."]),
        ("session_id", "baseline-", ["Must not begin with baseline-."]),
        ("message", ..., REQUIRED),
        ("message", None, TEXT),
        ("message", 1, TEXT),
        ("message", ["m"], TEXT),
        ("message", "", EMPTY),
        ("message", " \n\t\u2003", ["Must not be blank."]),
        ("message", "m" * 501, up_to(500)),
        ("message", "📻" * 501, up_to(500)),
        *[
            (field, sent, words)
            for field in ("model", "app_version")
            for sent, words in ((..., REQUIRED), (None, TEXT), (5, TEXT), ("", EMPTY), ("n" * 65, up_to(64)))
        ],
        *[
            (field, sent, words)
            for field in ("write_mode", "connected")
            for sent, words in (
                (..., REQUIRED),
                (None, BIT),
                (True, BIT),
                (False, BIT),
                (1.0, BIT),
                (0.5, BIT),
                ("1", BIT),
                ("", BIT),
                (2, BIT),
                (-1, BIT),
                (2**63, BIT),
                (2**70, BIT),
                (-(2**70), BIT),
                ([1], BIT),
                ({}, BIT),
            )
        ],
        ("error_name", 1, TEXT),
        ("error_name", {}, TEXT),
        ("error_name", "E" * 201, up_to(200)),
        ("stack", False, TEXT),
        ("stack", ["at flash"], TEXT),
        ("stack", "s" * 4_001, up_to(4_000)),
        *[
            (field, sent, words)
            for field in ("log_lines_json", "metadata_json")
            for sent, words in (
                (None, TEXT),
                ([], TEXT),
                ({}, TEXT),
                ("", JSON_TEXT),
                ("{", JSON_TEXT),
                ("[] x", JSON_TEXT),
                ("[NaN]", JSON_TEXT),
                ("[Infinity]", JSON_TEXT),
                ("[1e999]", JSON_TEXT),
                (f"[{'9' * 5_000}]", JSON_TEXT),
                ("[[[[[[[[[]]]]]]]]]", JSON_TEXT),
                ("[" * 10_000, JSON_TEXT),
                ("1", JSON_ROOT),
                ("null", JSON_ROOT),
                ('"text"', JSON_ROOT),
            )
        ],
        ("log_lines_json", json.dumps([0] * 201), ["At most 200 items."]),
        ("log_lines_json", json.dumps(["l" * 65_533]), up_to(65_536)),
        ("metadata_json", json.dumps([0] * 101), ["At most 100 items."]),
        ("metadata_json", json.dumps({str(n): n for n in range(101)}), ["At most 100 items."]),
        ("metadata_json", json.dumps(["m" * 16_381]), up_to(16_384)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_value_is_named_in_words_and_nothing_is_stored(
    post: Callable[..., Any], field: str, sent: Any, words: list[str]
) -> None:
    answer = post("/event", payload(**{field: sent}))
    expect_refusal(answer, 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, {field: words})


@pytest.mark.parametrize("sent", [..., None])
def test_a_success_needs_a_session(post: Callable[..., Any], sent: Any) -> None:
    answer = post("/event", success(session_id=sent))
    words = {"session_id": ["Required for flash_success."]}
    expect_refusal(answer, 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, words)


def test_every_wrong_field_is_named_at_once(post: Callable[..., Any]) -> None:
    answer = post(
        "/event",
        {
            "event_type": "flash_success",
            "occurred_at": "then",
            "message": "",
            "model": 5,
            "write_mode": True,
            "error_name": "E" * 201,
            "stack": 0,
            "log_lines_json": "[",
            "metadata_json": [],
        },
    )
    fields = {
        "occurred_at": ISO,
        "message": EMPTY,
        "model": TEXT,
        "write_mode": BIT,
        "connected": REQUIRED,
        "app_version": REQUIRED,
        "error_name": up_to(200),
        "stack": TEXT,
        "log_lines_json": JSON_TEXT,
        "metadata_json": TEXT,
        "session_id": ["Required for flash_success."],
    }
    expect_refusal(answer, 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, fields)


def test_an_empty_object_lacks_every_required_field(post: Callable[..., Any]) -> None:
    names = ("event_type", "occurred_at", "message", "model", "write_mode", "connected", "app_version")
    fields = dict.fromkeys(names, REQUIRED)
    expect_refusal(post("/event", {}), 400, "Invalid payload fields", RefusalReason.INVALID_FIELDS, fields)


# --- no JSON --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'"x"',
        b"null",
        b'{"a":',
        b"\xef\xbb\xbf" + json.dumps(payload()).encode(),
        json.dumps(payload()).encode("utf-16"),
        json.dumps(payload(message="é"), ensure_ascii=False).encode("latin-1"),
        json.dumps(payload())[:-1].encode() + b', "more": 1e999}',
        json.dumps(payload())[:-1].encode() + b', "more": NaN}',
        json.dumps(payload())[:-1].encode() + b', "more": ' + b"9" * 5_000 + b"}",
        json.dumps(payload()).encode() + b"{}",
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b"event_type=flash_error",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_object_is_refused(post: Callable[..., Any], body: bytes) -> None:
    expect_refusal(post("/event", body), 400, "Invalid JSON", RefusalReason.INVALID_JSON)


# --- how it is sent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonp",
        "application/json-patch+json",
        "text/html",
        "text/plain, application/json",
        "json",
    ],
)
def test_another_media_type_is_refused(post: Callable[..., Any], media_type: str) -> None:
    answer = post("/event", json.dumps(payload()), content_type=media_type)
    expect_refusal(answer, 415, "Unsupported media type", RefusalReason.MEDIA_TYPE)


@pytest.mark.parametrize("coding", ["gzip", "br", "identity", "x"])
def test_an_encoded_body_is_refused(post: Callable[..., Any], coding: str) -> None:
    answer = post("/event", payload(), **{"content-encoding": coding})
    expect_refusal(answer, 415, "Unsupported media type", RefusalReason.MEDIA_TYPE)


def padded(size: int) -> str:
    """Return a valid body of exactly `size` bytes."""
    bare = json.dumps(payload(padding=""))
    return json.dumps(payload(padding="x" * (size - len(bare))))


def test_a_body_of_the_most_bytes_is_taken(post: Callable[..., Any]) -> None:
    assert post("/event", padded(131_072)).status_code == 201


@pytest.mark.parametrize("size", [131_073, 200 * 1024])
def test_a_larger_body_is_refused(post: Callable[..., Any], size: int) -> None:
    expect_refusal(post("/event", padded(size)), 413, "Payload too large", RefusalReason.TOO_LARGE)


@override_settings(MAX_BODY_BYTES=2_048)
def test_the_limit_is_a_setting(post: Callable[..., Any]) -> None:
    assert post("/event", padded(2_048)).status_code == 201
    assert post("/event", padded(2_049)).status_code == 413


class CountedBody(BytesIO):
    """A body that knows how much of it was taken."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def hand_over(client: Client, stream: BytesIO, content_length: str, **environ: Any) -> Any:
    """Post a stream as a server hands it on, whatever it is said to be."""
    given: dict[str, Any] = {"wsgi.input": stream, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": content_length}
    return client.generic("POST", "/event", **(given | environ))


def test_an_empty_body_is_no_json(client: Client) -> None:
    expect_refusal(hand_over(client, BytesIO(), "0"), 400, "Invalid JSON", RefusalReason.INVALID_JSON)


def test_a_body_without_content_length_is_taken(client: Client) -> None:
    body = BytesIO(json.dumps(payload()).encode())
    assert hand_over(client, body, "", **{"wsgi.input_terminated": True}).status_code == 201


def test_a_body_without_content_length_is_read_no_further_than_the_limit(client: Client) -> None:
    body = CountedBody(b"x" * 1_000_000)
    answer = hand_over(client, body, "", **{"wsgi.input_terminated": True})
    expect_refusal(answer, 413, "Payload too large", RefusalReason.TOO_LARGE)
    assert body.taken == 131_073


def test_a_declared_body_over_the_limit_is_not_read_at_all(client: Client) -> None:
    body = CountedBody(b"x" * 1_000_000)
    expect_refusal(hand_over(client, body, "1000000"), 413, "Payload too large", RefusalReason.TOO_LARGE)
    assert body.taken == 0


def test_a_body_cut_off_on_its_way_is_no_json(client: Client) -> None:
    cut = BytesIO(json.dumps(payload()).encode()[:-9])
    expect_refusal(hand_over(client, cut, "400"), 400, "Invalid JSON", RefusalReason.INVALID_JSON)


@pytest.mark.parametrize(
    ("length", "status"), [("9" * 5_000, 413), ("0" * 5_000, 413), ("-1", 400), ("1e3", 400), ("²", 400)]
)
def test_a_nonsensical_content_length_is_no_server_error(client: Client, length: str, status: int) -> None:
    assert hand_over(client, BytesIO(b"{}"), length).status_code == status


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
def test_another_method_is_refused(client: Client, method: str) -> None:
    answer = client.generic(method, "/event", json.dumps(payload()), content_type="application/json")
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    if method != "HEAD":
        expect_refusal(answer, 405, "Method not allowed", None)


@pytest.mark.parametrize("path", ["/event//", "/events", "/Event", "/event/x", "/event/batch/x", "/event.json"])
def test_an_unknown_path_is_refused_and_redirects_nowhere(post: Callable[..., Any], path: str) -> None:
    expect_refusal(post(path, payload()), 404, "Not found", None)


# --- cookies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", ["forged", "", "x" * 4_000, "a;b"])
def test_a_bad_session_cookie_is_ignored(client: Client, post: Callable[..., Any], settings: Any, session: str) -> None:
    client.cookies[settings.SESSION_COOKIE_NAME] = session
    client.cookies[settings.CSRF_COOKIE_NAME] = "forged"
    answer = post("/event", payload())
    assert (answer.status_code, dict(answer.cookies)) == (201, {})
    assert "Cookie" not in answer.headers.get("Vary", "")


def test_a_signed_in_maintainer_needs_no_csrf_token_and_gets_no_cookie(django_user_model: type[User]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(django_user_model.objects.create_superuser("admin"))
    answer = browser.post("/event", json.dumps(payload()), content_type="application/json")
    assert (answer.status_code, dict(answer.cookies)) == (201, {})


# --- the host -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", "localhost:99999x"])
def test_a_wrong_host_gets_the_contract_s_shape(post: Callable[..., Any], host: str) -> None:
    expect_refusal(post("/event", payload(), host=host), 400, "Host not allowed", RefusalReason.HOST)


# --- storage --------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("trouble", [locked_events, read_only_database, away_database])
def test_no_event_is_accepted_that_cannot_be_stored(post: Callable[..., Any], trouble: Any) -> None:
    kept = make_event(message="From before")
    with trouble():
        answer = post("/event", payload(), origin="http://localhost:5173")
        expect_answer(answer, 503, {"ok": False, "error": "Storage unavailable"})
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert Event.objects.get() == kept
    assert LifetimeTotal.objects.get().accepted == 1
    assert counted() == {"storage": 1}
    assert post("/event", payload()).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_is_not_confirmed_by_a_database_that_takes_no_writes(post: Callable[..., Any]) -> None:
    make_event()
    with locked_events():
        assert post("/event", payload()).status_code == 503


def test_the_largest_event_of_the_contract_fits_the_largest_body() -> None:
    largest = success(
        session_id="s" * 128,
        message="m" * 500,
        error_name="E" * 200,
        stack="s" * 4_000,
        log_lines_json=json.dumps(["l" * 65_532]),
        metadata_json=json.dumps(["m" * 16_380]),
    )
    body = json.dumps(largest).encode()
    assert len(body) <= 131_072
    contract.parse(contract.read_object(body), received_at_ms=1)


# --- advice to users -------------------------------------------------------------------------------------------------


def test_a_failure_is_answered_with_the_advice_of_its_group(post: Callable[..., Any]) -> None:
    key = make_event(session_id="first").fingerprint or ""
    user = User(username="olga")
    given = {"text": 'Use <b>another</b> "cable".', "url": "https://example.org/cables"}
    advice.give(key, **given, user=user, at=clock.now())
    triage.mute([key], until_ms=None, user=user, at=clock.now())
    new = post("/event", payload(session_id="second"))
    expect_answer(
        new, 201, {"ok": True, "deduped": False, "id": Event.objects.get(session_id="second").id, "advice": given}
    )
    expect_answer(post("/event", payload(session_id="first")), 200, {"ok": True, "deduped": True, "advice": given})
    assert "advice" not in post("/event", payload(message="Another fault")).json()
    assert "advice" not in post("/event", success()).json()
    advice.give(key, "Wait.", None, user=user, at=clock.now())
    assert post("/event", payload()).json()["advice"] == {"text": "Wait.", "url": None}
    advice.withdraw(key, user=user, at=clock.now())
    assert "advice" not in post("/event", payload()).json()
