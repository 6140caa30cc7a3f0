"""The conversion of old payloads to events: names, dates, coercions and cut texts."""

from typing import Any

import pytest

from events.ingest import contract
from legacy import translate

OLD: dict[str, Any] = {
    "event_type": "flash_error",
    "message": "No ACK",
    "occurred_at": "2026-02-12T18:00:00.000Z",
}


def translated(**changes: Any) -> Any:
    """Return the event of an old payload with `changes`; a change to `...` leaves the field out."""
    sent = {name: value for name, value in (OLD | changes).items() if value is not ...}
    return translate.event_from_client_log(sent, 1_770_919_200_000)


# The results of Date.parse in a browser with the time zone UTC, which the old Worker had.
@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("2026-02-12T18:00:00.000Z", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12", "2026-02-12T00:00:00.000Z"),
        ("2026-02-12T18:00:00+01:00", "2026-02-12T17:00:00.000Z"),
        ("2026-02-12 18:00:00", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12 18:00", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12 18:00:00.250", "2026-02-12T18:00:00.250Z"),
        ("2026-02-12 18:00:00Z", "2026-02-12T18:00:00.000Z"),
        ("2026-02-12 18:00:00+0100", "2026-02-12T17:00:00.000Z"),
        ("2026-02-12 18:00:00 +0100", "2026-02-12T17:00:00.000Z"),
        ("2026-02-12 18:00:00 -03:30", "2026-02-12T21:30:00.000Z"),
        ("2026-02", "2026-02-01T00:00:00.000Z"),
        ("2026", "2026-01-01T00:00:00.000Z"),
        (" 2026-02-12T18:00:00Z ", "2026-02-12T18:00:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 GMT", "2026-02-12T18:00:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 +0000", "2026-02-12T18:00:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 +0100", "2026-02-12T17:00:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 -0330", "2026-02-12T21:30:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 EST", "2026-02-12T23:00:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 PDT", "2026-02-13T01:00:00.000Z"),
        *(
            (f"12 Feb 2026 18:00 {zone}", f"{stored}:00:00.000Z")
            for zone, stored in (
                ("EDT", "2026-02-12T22"),
                ("CDT", "2026-02-12T23"),
                ("CST", "2026-02-13T00"),
                ("MDT", "2026-02-13T00"),
                ("MST", "2026-02-13T01"),
                ("PST", "2026-02-13T02"),
            )
        ),
        ("12 Feb 2026 18:00 UT", "2026-02-12T18:00:00.000Z"),
        ("12 February 2026 18:00:00", "2026-02-12T18:00:00.000Z"),
        ("thu, 2 feb 2026 8:00:00 gmt", "2026-02-02T08:00:00.000Z"),
        ("Thu Feb 12 2026 18:00:00 GMT+0100 (CET)", "2026-02-12T17:00:00.000Z"),
        ("Thu Feb 12 2026 18:00:00 GMT+0100 (Central European Standard Time)", "2026-02-12T17:00:00.000Z"),
        ("Thu Feb 12 2026 18:00:00 GMT+0530", "2026-02-12T12:30:00.000Z"),
        ("Thu Feb 12 2026 18:00:00 GMT-0800 (PST)", "2026-02-13T02:00:00.000Z"),
        ("Thu Feb 12 2026", "2026-02-12T00:00:00.000Z"),
        ("Feb 12, 2026 18:00:00", "2026-02-12T18:00:00.000Z"),
    ],
)
def test_a_date_that_a_browser_accepts_is_parsed(raw: str, stored: str) -> None:
    assert translate.parse_date(raw) == stored


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "yesterday",
        "not a date",
        "2026-02-30",
        "2026-02-30 18:00:00",
        "Thu, 31 Feb 2026 18:00:00 GMT",
        "Thu, 12 Xyz 2026 18:00:00 GMT",
        "Thu, 12 Feb 2026 25:00:00 GMT",
        "Thu, 12 Feb 2026 18:60:00 GMT",
        "Thu, 12 Feb 2026 18:00:00 +9900",
        "Fri, 31 Dec 9999 23:59:59 -0100",
        "Mon, 01 Jan 0001 00:00:00 +0100",
        "Thu, 12 Feb 0000 18:00:00 GMT",
        "1770919200000",
        "12 Feb 2026 18:00:00 (nested (comment))",
        "12 Feb 2026 18:00:00" + " " * 100 + "GMT",
        "12 Feb 2026" + " " * 100_000 + "x",
        "Thu" + " " * 100_000 + "x",
        "12 Feb 2026 18:00:00 " + "(" * 100_000,
        "9" * 100_000,
    ],
    ids=lambda raw: raw[:40],
)
def test_an_invalid_date_is_refused(raw: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the response has its own message)
        translate.parse_date(raw)


@pytest.mark.parametrize(
    ("sent", "stored", "metadata"),
    [
        ("flash_error", "flash_error", "{}"),
        ("connect_error", "connect_error", "{}"),
        ("window_error", "window_error", "{}"),
        ("unhandled_rejection", "unhandled_rejection", "{}"),
        ("flash_fail", "flash_error", '{"legacy_event_type":"flash_fail"}'),
        ("connect_fail", "connect_error", '{"legacy_event_type":"connect_fail"}'),
        ("unhandledrejection", "unhandled_rejection", '{"legacy_event_type":"unhandledrejection"}'),
        ("client_error", "window_error", '{"legacy_event_type":"client_error"}'),
        ("nobody_knows", "window_error", '{"legacy_event_type":"nobody_knows"}'),
        ("flash_success", "window_error", '{"legacy_event_type":"flash_success"}'),
        ("", "window_error", '{"legacy_event_type":""}'),
        ('"é\n', "window_error", '{"legacy_event_type":"\\"é\\n"}'),
        ("n" * 70, "window_error", '{"legacy_event_type":"%s"}' % ("n" * 64)),
    ],
)
def test_an_old_type_name_is_replaced_and_stored_in_the_metadata(sent: str, stored: str, metadata: str) -> None:
    event = translated(event_type=sent)
    assert (event.event_type, event.metadata_json) == (stored, metadata)


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [
        *[
            (field, sent, stored)
            for field in ("model", "app_version")
            for sent, stored in (
                (..., "unknown"),
                (None, "unknown"),
                ("", "unknown"),
                (5, "unknown"),
                (["m"], "unknown"),
                ("UV-5RM", "UV-5RM"),
                ("m" * 65, "m" * 64),
            )
        ],
        *[
            (field, sent, stored)
            for field in ("write_mode", "connected")
            for sent, stored in (
                (..., 0),
                (None, 0),
                (0, 0),
                (1, 1),
                (1.0, 1),
                (True, 0),
                (False, 0),
                ("1", 0),
                (2, 0),
                (-1, 0),
                (0.5, 0),
                (2**70, 0),
                ([1], 0),
            )
        ],
        ("message", "m" * 302, "m" * 302),
        ("message", "m" * 501, "m" * 500),
        ("message", "📻" * 501, "📻" * 500),
        ("message", "", "(no message)"),
        ("message", " \n\t", "(no message)"),
        ("message", " " * 500 + "m", "(no message)"),
        ("error_name", ..., None),
        ("error_name", 5, None),
        ("error_name", "", ""),
        ("error_name", "E" * 201, "E" * 200),
        ("stack", ..., None),
        ("stack", {}, None),
        ("stack", "s" * 4_001, "s" * 4_000),
        ("log_lines_json", ..., "[]"),
        ("log_lines_json", None, "[]"),
        ("log_lines_json", ["line"], "[]"),
        ("log_lines_json", "not json", "[]"),
        ("log_lines_json", '["cut off', "[]"),
        ("log_lines_json", '"text"', "[]"),
        ("log_lines_json", "[NaN]", "[]"),
        ("log_lines_json", "[1e999]", "[]"),
        ("log_lines_json", "[" * 10_000, "[]"),
        ("log_lines_json", f"[{'0,' * 200}0]", "[]"),
        ("log_lines_json", '["%s"]' % ("l" * 65_533), "[]"),
        ("log_lines_json", '[ "line" ]', '["line"]'),
        ("log_lines_json", '{"0": "line"}', '{"0":"line"}'),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_other_fields_are_coerced(field: str, sent: Any, stored: Any) -> None:
    assert getattr(translated(**{field: sent}), field) == stored


def test_a_text_that_is_too_long_for_event_is_cut_at_its_limit() -> None:
    longest = {"message": contract.MAX_MESSAGE, "error_name": contract.MAX_ERROR_NAME, "stack": contract.MAX_STACK}
    event = translated(**dict.fromkeys(longest, "x" * 10_000))
    assert {field: len(getattr(event, field)) for field in longest} == longest


@pytest.mark.parametrize("wrong", [..., None, 5, True, ["text"], {}])
def test_the_three_texts_are_required_and_every_invalid_one_is_named(wrong: Any) -> None:
    with pytest.raises(contract.InvalidFields) as caught:
        translated(event_type=wrong, message=wrong, occurred_at=wrong)
    assert caught.value.fields == {name: ["Must be a string."] for name in ("event_type", "message", "occurred_at")}


@pytest.mark.parametrize(
    ("raw", "limit"),
    [
        ("", 50),
        ("nonsense", 50),
        ("nan", 50),
        ("Infinity", 50),
        ("-inf", 50),
        ("1e999", 50),
        ("1", 1),
        ("200", 200),
        ("201", 200),
        ("1e300", 200),
        ("9" * 5_000, 50),
        ("0", 1),
        ("-5", 1),
        ("2.9", 2),
        ("0.5", 1),
        (" 7 ", 7),
    ],
)
def test_the_limit_of_recent_is_rounded_down_and_clamped(raw: str, limit: int) -> None:
    assert translate.recent_limit(raw) == limit
