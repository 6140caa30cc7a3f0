"""The old routes with any body. They coerce most fields, and store nothing from a refused body."""

from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import oracle
from tests.fuzz.judge import ask, check, share, take_events, take_old_rows
from tests.fuzz.strategies import ANYTHING, BODIES, MOMENTS, TEXT, payloads, texts_around, written

pytestmark = pytest.mark.django_db

TODAYS = {
    "flash_fail": "flash_error",
    "connect_fail": "connect_error",
    "unhandledrejection": "unhandled_rejection",
    "flash_error": "flash_error",
    "connect_error": "connect_error",
    "unhandled_rejection": "unhandled_rejection",
}
DATES = [
    "2026-02-12 18:00:00", "Thu, 12 Feb 2026 18:00:00 +0100", "2026-02-12T18:00:00.000Z", "2026",
    "Thu Feb 12 2026 18:00:00 GMT+0100 (CET)",
]  # fmt: skip
NO_DATES = ["", "soon", "2026-02-30", "Thu, 99 Feb 2026 18:00:00 GMT"]
OLD = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from([*TODAYS, "client_error", "flash_success", ""]) | TEXT | ANYTHING,
        "message": TEXT | texts_around(500, 4_000) | ANYTHING,
        "occurred_at": st.sampled_from([*DATES, *DATES, *NO_DATES]) | ANYTHING,
    },
    optional={
        "model": TEXT | texts_around(64) | ANYTHING,
        "app_version": TEXT | texts_around(64) | ANYTHING,
        "write_mode": st.sampled_from([0, 1, 2, True, "1", None]) | ANYTHING,
        "connected": st.sampled_from([0, 1, 2, False, "0", None]) | ANYTHING,
        "error_name": TEXT | texts_around(200) | ANYTHING,
        "stack": TEXT | texts_around(4_000) | ANYTHING,
        "log_lines_json": st.sampled_from(["[]", "{", '["a"]', "[" * 5_000, "null"]) | TEXT | ANYTHING,
        "page_url": TEXT,
    },
)


def read(body: bytes) -> dict[str, Any] | None:
    try:
        return oracle.parsed(body)
    except oracle._Wrong:
        return None


def is_accepted(payload: dict[str, Any] | None) -> bool | None:
    """Return whether `/client-log` must accept a payload; None if only a browser could parse its date."""
    if payload is None or not all(isinstance(payload.get(name), str) for name in ("event_type", "message")):
        return False
    date = payload.get("occurred_at")
    if date in DATES:
        return True
    return None if isinstance(date, str) and date not in NO_DATES else False


@pytest.mark.fault("bodies of the old log")
@share(8)
@given(body=written(OLD) | written(payloads()) | BODIES | written(st.builds(dict, OLD, occurred_at=MOMENTS)))
def test_client_log(body: bytes) -> None:
    answer, rows, (logged, counted) = ask("/client-log", body), take_events(), take_old_rows()
    payload = read(body)
    expected = is_accepted(payload) if len(body) <= oracle.MAX_BODY else False
    stored = answer.status_code == 200
    if expected is not None:
        check("refused" if expected else "else", stored is expected, answer.status_code, body)
    check("stored", len(rows) == len(logged) == stored and not counted, rows, logged, body)
    if not stored or payload is None:
        check("else", answer.status_code in (400, 413), answer.status_code, body)
        return
    row, message = rows[0], payload["message"][:500]
    check("else", row["message"] == (message if message.strip() else "(no message)"), row, body)
    check("else", row["event_type"] == TODAYS.get(payload["event_type"], "window_error"), row, body)
    for name in ("write_mode", "connected"):
        value = payload.get(name)
        # The old Worker was written in JavaScript, where 1.0 is 1.
        check("else", row[name] == (type(value) is not bool and value == 1), row, body)
    for name, most in (("model", 64), ("app_version", 64)):
        value = payload.get(name)
        check("else", row[name] == ((value[:most] if isinstance(value, str) else "") or "unknown"), row, body)
    check("else", row["session_id"] is None, row, body)


@pytest.mark.fault("bodies of the old counter")
@share(4)
@given(
    body=written(
        st.fixed_dictionaries({"sessionId": TEXT | texts_around(128) | ANYTHING | st.just("baseline-1")}) | ANYTHING
    )
    | BODIES
)
def test_increment(body: bytes) -> None:
    answer, rows, (logged, counted) = ask("/increment", body), take_events(), take_old_rows()
    payload = read(body)
    session = (payload or {}).get("sessionId")
    expected = isinstance(session, str) and 1 <= len(session) <= 128 and not session.startswith("baseline-")
    if len(body) > oracle.MAX_BODY:
        expected = False
    check("refused" if expected else "else", (answer.status_code == 200) is expected, answer.status_code, body)
    check("stored", len(rows) == len(counted) == expected and not logged, rows, counted, body)
    if expected:
        check("else", answer.json()["deduped"] is False and rows[0]["session_id"] == session, answer.content, rows)


@pytest.mark.fault("queries and tokens of reads")
@override_settings(ADMIN_TOKEN="for-tests")
@share(3)
@given(
    limit=TEXT | st.integers().map(str) | st.floats().map(str) | st.sampled_from(["1e3", "٣", "--1", "1_0", "0x10"]),
    route=st.sampled_from(["/recent", "/count", "/metrics/flash-count", "/event", "/nowhere"]),
    header=TEXT,
)
def test_reads_under_any_query(limit: str, route: str, header: str) -> None:
    shown = header.encode("utf-8", "replace").decode("latin-1").replace("\r", "").replace("\n", "")
    query = "".join(f"%{byte:02x}" for byte in limit.encode("utf-8", "surrogatepass"))
    caches["default"].clear()  # otherwise the wrong tokens of all cases reach the limit
    for bearer in ("Bearer for-tests", f"Bearer {shown}", shown):
        answer = ask(f"{route}?limit={query}", b"", method="GET", authorization=bearer)
        check("else", answer.status_code in (200, 401, 404, 405), answer.status_code, limit, header)
        if route == "/recent":
            check("else", (answer.status_code == 200) is (bearer == "Bearer for-tests" or "for-tests" in shown), header)
