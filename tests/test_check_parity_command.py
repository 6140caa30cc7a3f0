"""`manage.py check_parity`: old and new compared by day, what only one side has, and the verdict."""

import io
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from events import clock, ingest, rollups
from events.buckets import DAY_MS
from events.models import Event
from legacy import modes, old_tables, parity, translate
from legacy.models import ImportRun, LegacyCount, ParityRun
from tests.conftest import make_event, payload, success
from tests.fixtures.d1 import export, success_row

pytestmark = pytest.mark.django_db
_names = itertools.count()


def success_on(days_ago: int, *, sides: str) -> str:
    """Count a success on the `old`, `new` or `both` sides, so many days ago; return its session."""
    session_id, at_ms = f"attempt-{next(_names)}", clock.now_ms() - days_ago * DAY_MS
    if sides in ("old", "both"):
        old_tables.keep(LegacyCount(session_id=session_id, counted_at_ms=at_ms, in_stream=sides == "both"))
    if sides in ("new", "both"):
        make_event(received_at_ms=at_ms, **success(session_id=session_id))
    return session_id


def failure_on(days_ago: int, *, sides: str, old_name: str = "flash_error", session_id: str | None = None) -> str:
    """Log a failure on the `old`, `new` or `both` sides; return its message."""
    body = payload(message=f"failure {next(_names)}")
    at_ms = clock.now_ms() - days_ago * DAY_MS
    if sides in ("old", "both"):
        event = translate.event_from_client_log(body | {"event_type": old_name}, at_ms)
        old_tables.keep(translate.client_log_row(event, old_name, in_stream=sides == "both"))
    if sides in ("new", "both"):
        make_event(received_at_ms=at_ms, **body, session_id=session_id)
    return str(body["message"])


def check(*options: str) -> tuple[int, str]:
    """Return the command's exit code and what it said."""
    said = io.StringIO()
    try:
        call_command("check_parity", *options, stdout=said, stderr=io.StringIO())
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    return 0, said.getvalue()


def day(days_ago: int) -> str:
    return datetime.fromtimestamp(clock.now_ms() / 1000 - days_ago * 86_400, UTC).date().isoformat()


def test_equal_sides_hold() -> None:
    for days_ago in (0, 1, 1, 3):
        success_on(days_ago, sides="both")
    failure_on(1, sides="both", old_name="flash_fail")
    failure_on(1, sides="both", session_id="of a session")
    code, said = check()
    assert code == 0
    assert said.splitlines()[2:] == [
        f"{day(3)}        1       1       0       0        0       0       0       0",
        f"{day(1)}        2       2       0       0        2       2       0       0",
        f"{day(0)}        1       1       0       0        0       0       0       0",
        "in all            4       4       0       0        2       2       0       0",
        "Refused at ingest: 0.0% (none).",
        "Public count: 4 by the old tables, 4 by the unified stream.",
        "Parity holds (tolerance 0.5%); 2 of 7 days with traffic in a row have held.",
    ]


def test_what_the_new_side_lost_is_drift_and_is_named() -> None:
    success_on(2, sides="both")
    lost_session, lost_message = success_on(2, sides="old"), failure_on(1, sides="old")
    code, said = check()
    assert code == 1
    assert f"{day(2)}        2       1       1       0        0       0       0       0   drifts" in said
    assert f"{day(1)}        0       0       0       0        1       0       1       0   drifts" in said
    assert [line.split(" ", 7)[-1] for line in said.splitlines() if line.startswith("Only in the old tables")] == [
        f"flash_success {lost_session} ",
        f"flash_error {translate_id(lost_message)} {lost_message}",
    ]
    assert "Parity drifts (tolerance 0.5%); 0 of 7 days" in said


def translate_id(message: str) -> str:
    return translate.event_from_client_log(payload(message=message), 0).id


def test_a_session_lost_in_a_crowd_is_within_the_tolerance() -> None:
    for _ in range(10):
        success_on(1, sides="both")
    success_on(1, sides="old")
    assert check()[0] == 1
    assert check("--tolerance", "0.1")[0] == 0


def test_a_crowd_of_failures_hides_no_lost_success() -> None:
    for _ in range(10):
        failure_on(1, sides="both")
    success_on(1, sides="old")
    assert check("--tolerance", "0.1")[0] == 1


def test_what_only_the_new_side_has_is_no_drift_and_is_named() -> None:
    session, message = success_on(1, sides="new"), failure_on(1, sides="new")
    code, said = check()
    assert code == 0
    ids = [Event.objects.get(session_id=session).id, Event.objects.get(message=message).id]
    named = [line for line in said.splitlines() if line.startswith("Only in the unified stream")]
    assert len(named) == 2
    assert all(event_id in line for event_id, line in zip(ids, named, strict=True))


def test_json_tells_the_whole_finding() -> None:
    success_on(1, sides="both")
    lost = success_on(1, sides="old")
    code, said = check("--json", "--days", "3")
    finding = json.loads(said)
    assert (code, finding["holds"], finding["days_held"]) == (1, False, 0)
    assert [day["day"] for day in finding["days"]] == [day(2), day(1), day(0)]
    sides = {"successes": {"old": 2, "new": 1, "only_old": 1, "only_new": 0}}
    none = {"failures": {"old": 0, "new": 0, "only_old": 0, "only_new": 0}}
    assert finding["days"][1] == {"day": day(1)} | sides | none
    assert finding["total"] == {"day": "in all"} | sides | none
    assert (finding["old_count"], finding["new_count"], finding["tolerance"]) == (2, 1, 0.005)
    assert [(row["type"], row["id"]) for row in finding["examples_only_old"]] == [("flash_success", lost)]
    assert (finding["refused"], finding["refused_share"], finding["examples_only_new"]) == ({}, 0, [])


def test_a_repair_copies_and_then_it_holds() -> None:
    success_on(1, sides="old")
    failure_on(1, sides="old")
    success_on(1, sides="new")
    assert check()[0] == 1
    complaints = io.StringIO()
    call_command("check_parity", "--repair", stdout=io.StringIO(), stderr=complaints)
    assert complaints.getvalue() == "Copied 2 events to the unified stream.\n"
    assert check()[0] == 0
    assert Event.objects.count() == 3


def test_examples_are_bounded() -> None:
    for _ in range(14):
        success_on(1, sides="old")
    finding = parity.check(3, clock.today())
    assert (finding.total.successes.only_old, len(finding.examples_only_old)) == (14, 10)


def test_lost_successes_leave_room_for_the_lost_failures() -> None:
    for _ in range(14):
        success_on(1, sides="old")
    failure_on(1, sides="old")
    types = [row["type"] for row in parity.check(3, clock.today()).examples_only_old]
    assert types == ["flash_success"] * 10 + ["flash_error"]


@override_settings(PARITY_DAYS=14)
def test_a_check_reaches_back_as_far_as_the_window_asks() -> None:
    assert parity.days_to_compare() == 28


def test_twins_of_one_content_are_one_failure() -> None:
    body = payload()
    event = translate.event_from_client_log(body, clock.now_ms() - DAY_MS)
    for number in range(3):
        row = translate.client_log_row(event, "flash_error", in_stream=True)
        row.id = f"sent {number}"
        old_tables.keep(row)
    make_event(received_at_ms=clock.now_ms() - DAY_MS, **body)
    code, said = check()
    assert code == 0
    assert f"{day(1)}        0       0       0       0        1       1       0       0" in said


def test_a_twin_that_came_after_midnight_is_a_twin() -> None:
    midnight_ms = clock.now_ms() // DAY_MS * DAY_MS - DAY_MS
    body = payload(session_id=None)
    event = translate.event_from_client_log(body, midnight_ms - 5)
    old_tables.keep(translate.client_log_row(event, "flash_error", in_stream=True))
    make_event(received_at_ms=midnight_ms + 5, **body)
    code, _ = check("--days", "3")
    assert code == 0
    assert check("--days", "2")[0] == 0


# --- the window ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "drifted", "days_held"),
    [
        ([], [], 0),
        ([1], [], 1),
        ([1, 2, 3], [], 3),
        ([1, 3, 9], [], 3),  # a quiet day doesn't break the row
        ([0], [], 0),  # today isn't over
        ([1, 2, 4], [3], 2),
        ([2, 3], [1], 0),
        ([1, 2], [0], 2),
    ],
)
def test_the_days_that_held_in_a_row(held: list[int], drifted: list[int], days_held: int) -> None:
    for days_ago in held:
        success_on(days_ago, sides="both")
    for days_ago in drifted:
        success_on(days_ago, sides="old")
    finding = parity.check(14, clock.today())
    assert parity.days_held(finding.days, clock.today(), finding.tolerance) == days_held
    assert f"Parity has held for {days_held} of 7 days" in parity.missing_from_window(clock.today())


def test_a_day_of_new_clients_alone_is_no_day_of_the_window() -> None:
    success_on(1, sides="new")
    assert parity.missing_from_window(clock.today()).startswith("Parity has held for 0 of 7")


def test_the_window_is_over_after_so_many_days_of_traffic() -> None:
    for days_ago in range(1, 15, 2):
        success_on(days_ago, sides="both")
    assert parity.missing_from_window(clock.today()) == ""
    with override_settings(PARITY_DAYS=14):
        assert "7 of 14" in parity.missing_from_window(clock.today())


def test_the_days_that_an_import_filled_are_none_of_the_window(tmp_path: Path) -> None:
    at_ms = [clock.now_ms() - days_ago * DAY_MS for days_ago in range(1, 9)]
    file = tmp_path / "export.sql"
    file.write_text(export(events=[success_row(f"a{ms}", received_at_ms=ms) for ms in at_ms]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    assert parity.missing_from_window(clock.today()).startswith("Parity has held for 0 of 7")

    ImportRun.objects.update(finished_at=clock.now() - timedelta(days=3))
    assert "2 of 7" in parity.missing_from_window(clock.today())
    call_command("import_d1", str(file), stdout=io.StringIO())  # adds nothing, and begins nothing anew
    assert "2 of 7" in parity.missing_from_window(clock.today())


def test_each_run_is_kept() -> None:
    success_on(1, sides="both")
    check()
    success_on(1, sides="old")
    check("--json")
    assert list(ParityRun.objects.values_list("holds", "days_held")) == [(False, 0), (True, 1)]
    assert ParityRun.objects.latest("id").finding["total"]["successes"]["only_old"] == 1


def test_the_share_of_refused_requests_is_told(post: Callable[..., Any]) -> None:
    for _ in range(6):
        assert post("/event", success()).status_code == 201
    assert post("/event", b"no json").status_code == 400
    assert post("/event", payload(model="")).status_code == 400
    post("/event", payload())
    post("/event", payload())  # a duplicate is no refusal
    ingest.flush_refusals()
    _, said = check("--json")
    finding = json.loads(said)
    assert finding["refused"] == {"invalid_fields": 1, "invalid_json": 1}
    assert finding["refused_share"] == pytest.approx(2 / 9)
    assert "Refused at ingest: 22.2% (1 invalid_fields, 1 invalid_json)." in check()[1]


def test_a_prune_makes_no_more_of_the_requests_refused() -> None:
    for days_ago in (1, 8):
        make_event(**success(), received_at_ms=clock.now_ms() - days_ago * DAY_MS)
        rollups.add_tallies({(clock.today() - timedelta(days=days_ago), "invalid_json"): 1})
    call_command("prune_events", "--older-than-days", "7", stdout=io.StringIO())
    assert parity.check(14, clock.today()).refused_share == 0.5


@pytest.mark.parametrize("options", [("--days", "0"), ("--days", "401"), ("--tolerance", "-1"), ("--tolerance", "nan")])
def test_what_makes_no_sense_is_refused(options: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="--days is 1 to 400, --tolerance 0 to 1"):
        check(*options)


def test_a_dual_writing_client_is_in_parity_in_separate_and_in_alias(post: Callable[..., Any]) -> None:
    for mode in ("separate", "alias"):
        modes.forget()
        call_command("legacy_mode", mode, stdout=io.StringIO())
        body = payload(message=f"in {mode}")
        assert post("/client-log", body | {"event_type": "flash_error"}).status_code == 200
        assert post("/event", body).status_code == 201 if mode == "separate" else 200
        post("/increment", {"sessionId": mode})
        post("/event", success(session_id=mode))
    modes.forget()
    code, said = check()
    assert code == 0
    assert f"{day(0)}        2       2       0       0        2       2       0       0" in said
