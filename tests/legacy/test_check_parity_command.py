"""`manage.py check_parity`: the figures and the state of each day, the examples, the window and the exit status."""

import io
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client, override_settings

from events import clock
from events.counting import rollups, site_days
from events.counting.buckets import DAY_MS
from events.ingest import writer
from events.maintenance.jobs.registry import JobFailed
from events.models import Event
from legacy import old_tables, translate
from legacy.cutover import modes, old_counts, parity, switch
from legacy.models import Mode, ModeInForce, ParityRun
from tests.conftest import make_event, payload, success
from tests.fixtures.arrivals import failure_arrived, success_arrived
from tests.fixtures.d1 import export, success_row

pytestmark = pytest.mark.django_db
_names = itertools.count()


def check(*options: str) -> tuple[int, list[str]]:
    """Return the command's exit status and its output lines."""
    output = io.StringIO()
    code = 0
    try:
        call_command("check_parity", *options, stdout=output, stderr=io.StringIO())
    except SystemExit as end:
        code = int(end.code or 0)
    return code, output.getvalue().splitlines()


def verdict(*options: str) -> tuple[int, str]:
    code, lines = check(*options)
    return code, lines[-1]


def day(days_ago: int) -> str:
    return datetime.fromtimestamp(clock.now_ms() / 1000 - days_ago * 86_400, UTC).date().isoformat()


def at(days_ago: int) -> int:
    return clock.now_ms() - days_ago * DAY_MS


NO_EVIDENCE = (2, "Parity: no evidence: no arrival by an old route is expected at /event (tolerance 0.5%).")


def test_each_day_is_printed_with_its_state_and_figures() -> None:
    success_arrived(3, by_event=True)
    success_arrived(2, sent_to_event=True)
    success_arrived(1)
    for days_ago in (0, 1):
        make_event(received_at_ms=at(days_ago), **success())
    failure_arrived(3, by_event=True, app_version="19afc18")
    lost = failure_arrived(3, app_version="19afc18")
    failure_arrived(3, app_version="4778589")
    failure_arrived(1, message=" ", occurred_at="12 Feb 2026 18:00:00")
    code, lines = check("--days", "5")
    examples = [line for line in lines if line.startswith(("Missing", "Arrived"))]
    assert [line for line in lines if line not in examples] == [
        "                           successes                                      failures",
        "day         state          arrived expected  missing old only new only"
        "    arrived expected  missing old only new only",
        f"{day(3)}  drift                1        1        0        0        0"
        "          3        2        1        1        0",
        f"{day(2)}  drift                1        1        1        0        0"
        "          0        0        0        0        0",
        f"{day(1)}  no evidence          1        0        0        1        1"
        "          1        0        0        0        0",
        f"{day(0)}  no evidence          0        0        0        0        1"
        "          0        0        0        0        0",
        "in all                           3        2        1        1        2"
        "          4        2        1        1        0",
        "Refused by the contract of /event, so not drift and not repaired: 1 failure (1 message, 1 occurred_at).",
        "1 session in the last 7 days would be cut off by `gone`, and 1 failure:"
        " their clients know only the old routes.",
        "Refused at ingest: 0.0% (none).",
        "Responses with 410 in the last 7 days: none.",
        "Public count: 3 by the old tables, 3 by the unified stream.",
        "Window: 0 of 7 proven days in a row.",
        "Parity: drift on 2 of 5 days (tolerance 0.5%).",
    ]
    assert (code, len(examples)) == (1, 4)
    assert examples[1].endswith(f"flash_error {lost.pk} {lost.message}")


@pytest.mark.parametrize("mode", ["separate", "alias"])
def test_old_routes_without_any_event_prove_nothing(post: Callable[..., Any], mode: str) -> None:
    switch.to_mode(modes.Mode(mode), reason="a test", user=None, user_name="someone", at=clock.now())
    for number in range(20):
        post("/increment", {"sessionId": f"old-{number}"})
        post("/client-log", payload(message=f"old {number}", app_version="4778589"))
    assert verdict() == NO_EVIDENCE
    for change in ("--repair", *(mode for mode in ("alias", "separate"))):
        if change == "--repair":
            assert verdict("--repair") == NO_EVIDENCE
        else:
            switch.to_mode(modes.Mode(change), reason="a test", user=None, user_name="someone", at=clock.now())
            assert verdict() == NO_EVIDENCE
    assert Event.objects.count() == 40
    assert "20 sessions in the last 7 days would be cut off by `gone`, and 20 failures" in "\n".join(check()[1])


@pytest.mark.parametrize("mode", ["separate", "alias"])
@pytest.mark.parametrize("marker", [{}, {"sentToEvent": True}], ids=["deployed", "new"])
def test_a_dual_writing_client_proves_the_day(post: Callable[..., Any], mode: str, marker: dict[str, Any]) -> None:
    switch.to_mode(modes.Mode(mode), reason="a test", user=None, user_name="someone", at=clock.now())
    body = payload()
    assert post("/client-log", body | marker).status_code == 200
    assert post("/event", body).status_code in (200, 201)
    assert post("/increment", {"sessionId": "a"} | marker).status_code == 200
    assert post("/event", success(session_id="a")).status_code in (200, 201)
    assert verdict() == (0, "Parity: proven on 1 day (tolerance 0.5%).")


@pytest.mark.parametrize("mode", ["separate", "alias"])
@pytest.mark.parametrize(
    ("path", "body", "before"),
    [
        ("/increment", {"sessionId": "a", "sentToEvent": True}, None),
        ("/client-log", payload(sentToEvent=True), None),
        ("/client-log", payload(), success()),  # another event of this version arrived by /event
    ],
)
def test_an_event_that_event_lost_is_drift_also_after_a_repair(
    post: Callable[..., Any], mode: str, path: str, body: dict[str, Any], before: dict[str, Any] | None
) -> None:
    switch.to_mode(modes.Mode(mode), reason="a test", user=None, user_name="someone", at=clock.now())
    if before:
        post("/event", before)
    assert post(path, body).status_code == 200
    assert verdict() == (1, "Parity: drift on 1 of 14 days (tolerance 0.5%).")
    assert check("--repair")[0] == 1
    assert Event.objects.count() == 1 + bool(before)


def test_a_failure_with_a_session_is_matched_by_its_content() -> None:
    failure_arrived(1, by_event=True, session_id="of a failure")
    assert verdict()[0] == 0


@pytest.mark.parametrize("mode", ["separate", "alias"])
def test_a_second_failure_of_a_type_and_session_is_not_missing(post: Callable[..., Any], mode: str) -> None:
    """`/event` stores one failure for each type and session, although the client sends both failures to both routes."""
    switch.to_mode(modes.Mode(mode), reason="a test", user=None, user_name="someone", at=clock.now())
    for message in ("first", "second"):
        body = payload(message=message, session_id="of both", sentToEvent=True)
        assert post("/client-log", body).status_code == 200
        assert post("/event", body).status_code == 200 + (message == "first")
    side = parity.check(1, clock.today()).total.failures
    assert (side.arrived, side.expected, side.missing, side.by_event, side.event_only) == (2, 2, 0, 1, 0)
    assert verdict() == (0, "Parity: proven on 1 day (tolerance 0.5%).")


@pytest.mark.parametrize(
    "change", [{"session_id": "another"}, {"session_id": None}, {"event_type": "connect_error"}], ids=str
)
def test_a_failure_of_another_session_or_type_is_missing(post: Callable[..., Any], change: dict[str, Any]) -> None:
    body = payload(message="first", session_id="of both", sentToEvent=True)
    post("/client-log", body)
    post("/event", body)
    post("/client-log", body | {"message": "second"} | change)
    assert parity.check(1, clock.today()).total.failures.missing == 1


def test_a_renamed_type_is_matched_by_its_content() -> None:
    row = failure_arrived(1, event_type="flash_fail", by_event=True)
    assert row.refused_fields == "event_type"
    assert verdict()[0] == 0


def test_a_version_is_known_only_in_the_compared_days() -> None:
    make_event(received_at_ms=at(9), app_version="19afc18")
    failure_arrived(1, app_version="19afc18", message="lost")
    assert verdict()[0] == 1
    assert verdict("--days", "3") == NO_EVIDENCE


def test_a_failure_that_the_contract_refuses_is_no_drift() -> None:
    for message in ("", "   ", "x" * 600):
        failure_arrived(1, message=message, sent_to_event=True, occurred_at=f"2026-02-1{len(message) % 9}T00:00:00Z")
    code, lines = check()
    assert (code, lines[-1]) == NO_EVIDENCE
    output = "Refused by the contract of /event, so not drift and not repaired: 3 failures (3 message)."
    assert output in lines


def test_imported_rows_prove_nothing(tmp_path: Path) -> None:
    moments = [at(days_ago) for days_ago in range(1, 9)]
    file = tmp_path / "export.sql"
    file.write_text(export(events=[success_row(f"a{ms}", received_at_ms=ms) for ms in moments]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    assert verdict() == NO_EVIDENCE


def test_one_lost_session_of_many_is_within_the_tolerance() -> None:
    for _ in range(10):
        success_arrived(1, by_event=True)
    success_arrived(1, sent_to_event=True)
    assert verdict()[0] == 1
    assert verdict("--tolerance", "0.1") == (0, "Parity: proven on 1 day (tolerance 10.0%).")


def test_many_failures_do_not_hide_a_lost_success() -> None:
    for _ in range(10):
        failure_arrived(1, by_event=True)
    success_arrived(1, sent_to_event=True)
    assert verdict("--tolerance", "0.1")[0] == 1


def test_a_twin_after_midnight_belongs_to_the_day_before() -> None:
    midnight_ms = clock.now_ms() // DAY_MS * DAY_MS - DAY_MS
    body = payload(session_id="of a failure")
    event = translate.event_from_client_log(body, midnight_ms - 5)
    old_tables.keep(translate.arrived_log_row(body, event))
    make_event(received_at_ms=midnight_ms + 5, **body)
    _, lines = check("--json", "--days", "3")
    states = [day["state"] for day in json.loads(lines[0])["days"]]
    assert states == ["proven", "no evidence", "no evidence"]
    assert verdict("--days", "2") == NO_EVIDENCE


def test_a_twin_before_midnight_belongs_to_the_day_after() -> None:
    midnight_ms = clock.now_ms() // DAY_MS * DAY_MS - DAY_MS
    body = payload(session_id="of a failure")
    make_event(received_at_ms=midnight_ms - 5, **body)
    event = translate.event_from_client_log(body, midnight_ms + 5)
    old_tables.keep(translate.arrived_log_row(body, event))
    _, lines = check("--json", "--days", "2")
    assert [day["state"] for day in json.loads(lines[0])["days"]] == ["proven", "no evidence"]


def test_events_that_arrived_only_by_event_are_counted_but_no_drift() -> None:
    make_event(received_at_ms=at(1), **success(session_id="new"))
    event = make_event(received_at_ms=at(1), message="new")
    code, lines = check()
    assert (code, lines[-1]) == NO_EVIDENCE
    named = [line for line in lines if line.startswith("Arrived only by /event")]
    ids = [Event.objects.get(session_id="new").id, event.id]
    assert all(event_id in line for event_id, line in zip(ids, named, strict=True))


def test_json_contains_the_whole_finding() -> None:
    success_arrived(1, by_event=True)
    success_arrived(1)
    lost = success_arrived(1, sent_to_event=True)
    failure_arrived(1, message=" ")
    code, lines = check("--json", "--days", "3")
    finding = json.loads(lines[0])
    assert (code, finding["verdict"], finding["days_held"]) == (1, "drift", 0)
    assert [(day["day"], day["state"]) for day in finding["days"]] == [
        (day(2), "no evidence"),
        (day(1), "drift"),
        (day(0), "no evidence"),
    ]
    nothing = dict.fromkeys(vars(parity.Side()), 0)
    figures = {
        "successes": nothing
        | {"arrived": 3, "expected": 2, "missing": 1, "old_clients": 1, "by_event": 1, "event_only": 0},
        "failures": nothing | {"arrived": 1, "refused": 1},
        "refused_fields": {"message": 1},
    }
    assert finding["days"][1] == {"day": day(1), "state": "drift"} | figures
    assert finding["total"] == {"day": "in all"} | figures
    assert finding["cut_off"] == {"sessions": 1, "failures": 0}
    assert (finding["old_count"], finding["new_count"], finding["tolerance"]) == (3, 1, 0.005)
    assert [(row["type"], row["id"]) for row in finding["examples_missing"]] == [("flash_success", lost)]
    assert (finding["refused"], finding["refused_share"], finding["examples_event_only"]) == ({}, 0, [])


def test_a_repair_prints_the_number_of_copied_events() -> None:
    success_arrived(1, sent_to_event=True)
    failure_arrived(1)
    failure_arrived(1, message=" ")
    complaints = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("check_parity", "--repair", stdout=io.StringIO(), stderr=complaints)
    assert complaints.getvalue() == "Copied 2 events to the unified stream.\n"


def test_the_number_of_examples_of_each_kind_is_limited() -> None:
    for _ in range(14):
        success_arrived(1, sent_to_event=True)
    failure_arrived(1, sent_to_event=True)
    finding = parity.check(3, clock.today())
    assert finding.total.successes.missing == 14
    types = [row["type"] for row in finding.examples_missing]
    assert types == ["flash_success"] * 10 + ["flash_error"]


# --- clients that would be cut off --------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 3, 14])
def test_clients_that_would_be_cut_off_are_counted_over_seven_days(days: int) -> None:
    for days_ago in (0, 3, 6, 7):
        success_arrived(days_ago)
        failure_arrived(days_ago, app_version="4778589")
    assert parity.check(days, clock.today()).cut_off == parity.CutOff(sessions=3, failures=3)


# --- the window ---------------------------------------------------------------------------------------------------


@override_settings(PARITY_DAYS=14)
def test_a_check_compares_enough_days_for_the_window() -> None:
    assert parity.days_to_compare() == 28


@pytest.mark.parametrize(
    ("proven", "drifted", "without_evidence", "in_a_row"),
    [
        ([], [], [], 0),
        ([], [], [1, 2, 3], 0),
        ([1], [], [], 1),
        ([1, 2, 3], [], [], 3),
        ([1, 3, 9], [], [2, 4], 3),  # a day without evidence is skipped
        ([0], [], [], 0),  # today is not over
        ([1, 2, 4], [3], [], 2),
        ([2, 3], [1], [], 0),
        ([1, 2], [0], [], 2),
    ],
)
def test_consecutive_proven_days_are_counted(
    proven: list[int], drifted: list[int], without_evidence: list[int], in_a_row: int
) -> None:
    for days_ago in proven:
        success_arrived(days_ago, by_event=True)
    for days_ago in drifted:
        success_arrived(days_ago, sent_to_event=True)
    for days_ago in without_evidence:
        success_arrived(days_ago)
    finding = parity.check_window(clock.today())
    assert parity.proven_in_a_row(finding, clock.today()) == in_a_row
    words = parity.missing_from_window(finding, clock.today())
    assert words == f"Parity is proven on {in_a_row} of 7 days in a row."
    assert f"Window: {in_a_row} of 7 proven days in a row." in check()[1]


def test_the_window_is_complete_after_the_required_proven_days() -> None:
    for days_ago in range(1, 15, 2):
        success_arrived(days_ago, by_event=True)
    assert parity.missing_from_window(parity.check_window(clock.today()), clock.today()) == ""
    with override_settings(PARITY_DAYS=14):
        assert "7 of 14" in parity.missing_from_window(parity.check_window(clock.today()), clock.today())


def test_each_run_is_stored() -> None:
    check()
    success_arrived(1, by_event=True)
    check()
    success_arrived(1, sent_to_event=True)
    check("--json")
    kept = list(ParityRun.objects.order_by("id").values_list("verdict", "holds", "days_held"))
    assert kept == [("no evidence", False, 0), ("proven", True, 1), ("drift", False, 0)]
    assert ParityRun.objects.latest("id").finding["total"]["successes"]["missing"] == 1


# --- refused requests ---------------------------------------------------------------------------------------------


def test_the_share_of_refused_requests_is_printed(post: Callable[..., Any]) -> None:
    for _ in range(6):
        assert post("/event", success()).status_code == 201
    assert post("/event", b"no json").status_code == 400
    assert post("/event", payload(model="")).status_code == 400
    post("/event", payload())
    post("/event", payload())  # a duplicate is not a refusal
    writer.flush_refusals()
    finding = json.loads(check("--json")[1][0])
    assert finding["refused"] == {"invalid_fields": 1, "invalid_json": 1}
    assert finding["refused_share"] == pytest.approx(2 / 9)
    assert "Refused at ingest: 22.2% (1 invalid_fields, 1 invalid_json)." in check()[1]


def test_a_prune_does_not_change_the_share_of_refused_requests() -> None:
    for days_ago in (1, 8):
        make_event(**success(), received_at_ms=at(days_ago))
        rollups.add_tallies({(datetime.fromtimestamp(at(days_ago) / 1000, UTC).date(), "invalid_json"): 1})
    site_days.note_start(clock.now())
    call_command("prune_events", "--older-than-days", "7", stdout=io.StringIO())
    assert parity.check(14, clock.today()).refused_share == 0.5


@pytest.mark.parametrize("options", [("--days", "0"), ("--days", "401"), ("--tolerance", "-1"), ("--tolerance", "nan")])
def test_invalid_options_are_refused(options: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="--days must be from 1 to 400, --tolerance from 0 to 1"):
        check(*options)


def test_410_responses_are_printed_by_route_and_are_no_refused_events(post: Callable[..., Any], client: Client) -> None:
    make_event()
    switch.to_mode(modes.Mode.GONE, reason="a test", user=None, user_name="someone", at=clock.now())
    for _ in range(3):
        assert client.get("/count/").status_code == 410
    assert post("/client-log", payload()).status_code == 410
    rollups.add_tallies({(clock.today() - timedelta(days=6), old_counts.gone_outcome("/recent")): 1_204})
    rollups.add_tallies({(clock.today() - timedelta(days=7), old_counts.gone_outcome("/increment")): 1})
    writer.flush_refusals()
    lines = check()[1]
    assert "Responses with 410 in the last 7 days: 1 /client-log, 3 /count, 1204 /recent." in lines
    assert "Refused at ingest: 0.0% (none)." in lines
    assert json.loads(check("--json")[1][0])["gone"] == {"/client-log": 1, "/count": 3, "/recent": 1204}


def nightly() -> tuple[bool, str]:
    """Return whether the job succeeds, and its words."""
    try:
        return True, parity.check_nightly()
    except JobFailed as failed:
        return False, str(failed)


def test_the_nightly_job_fails_on_drift_and_stores_what_it_compared() -> None:
    assert nightly() == (True, "No event arrived by an old route, so there is nothing to compare.")
    assert not ParityRun.objects.exists()
    success_arrived(1, by_event=True)
    assert nightly() == (True, "Parity is proven. Window: 1 of 7 proven days in a row.")
    for _ in range(2):
        success_arrived(2, sent_to_event=True)
    assert nightly() == (
        False,
        "Drift on 1 of the last 14 days: /event did not receive 2 of the events that arrived by an old route."
        " Open “Parity” in the admin for the days and examples.",
    )
    assert ParityRun.objects.count() == 2


def test_the_job_ends_with_the_old_routes() -> None:
    [job] = apps.get_app_config("legacy").jobs()
    assert job.name == "parity"
    ModeInForce.objects.update_or_create(id=1, defaults={"mode": Mode.GONE})
    modes.forget()
    assert apps.get_app_config("legacy").jobs() == ()
