"""`manage.py import_d1`: each row of an export is imported once, to both sides."""

import io
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from events import clock
from events.counting import rollups
from events.models import CounterBaseline, Event
from events.reports import metrics
from legacy.cutover import modes
from legacy.models import ClientLog, Cutover, ImportRun, LegacyCount, Mode
from tests.conftest import make_event, payload, success
from tests.fixtures import d1
from tests.fixtures.both_sides import dump
from tests.fixtures.d1 import EXPORT, baseline_row, event_row, export, log_row, success_row, twin_of
from tests.other_process import manage, shared_site
from tests.servers import PROJECT_DIR, wait_until
from tests.storage import read_only_database

pytestmark = pytest.mark.django_db


@pytest.fixture
def import_rows(tmp_path: Path) -> Callable[..., str]:
    """Import an export with these rows; return the output."""

    def run(*options: str, **rows: list[dict[str, Any]]) -> str:
        file = tmp_path / "export.sql"
        file.write_text(export(**rows), encoding="utf-8")
        return run_import(file, *options)

    return run


def run_import(file: Path, *options: str) -> str:
    output = io.StringIO()
    call_command("import_d1", str(file), *options, stdout=output)
    return output.getvalue()


FIGURES = """\
Read:
         18  client_logs
         13  telemetry_events
Added to the unified stream:
          1  baseline
         13  client_logs
          8  telemetry_events
Added to the old log:
         17  client_logs
Merged as twins of a stored event:
          4  client_logs
          1  telemetry_events
Repaired:
          1  client_logs: date in another form, rewritten  (such as l10)
          1  client_logs: empty message, now (no message)  (such as l12)
          1  client_logs: invalid date, replaced by the time received  (such as l11)
          2  client_logs: invalid or too long log lines, left out  (such as l13, l14)
          1  client_logs: no model, now unknown  (such as l16)
          1  client_logs: old name of a type, now connect_error  (such as l06)
          1  client_logs: old name of a type, now flash_error  (such as l05)
          1  client_logs: old name of a type, now unhandled_rejection  (such as l07)
          2  client_logs: old name of a type, now window_error  (such as l08, l09)
          1  client_logs: write_mode neither 0 nor 1, now 0  (such as l16)
          1  telemetry_events: invalid or too large metadata, left out  (such as s2)
          1  telemetry_events: no model, now unknown  (such as s2)
          1  telemetry_events: old name of a type, now window_error  (such as f4)
Personal data, not stored:
          2  ip_hash
          2  origin
          2  page_url
          2  user_agent
Refused:
          1  client_logs: message is not a text  (such as l17)
          1  telemetry_events: a second baseline  (such as f0000001)
          1  telemetry_events: a success without a session  (such as s4)
          1  telemetry_events: the time received is not a time in milliseconds  (such as f7)
"""
NOTES = """\
The site is new, so its old routes begin in separate.
The baseline is 40, from the row baseline-2026-02-10.
"""


def test_an_export_is_imported_and_every_row_is_reported(client: Client) -> None:
    output = run_import(EXPORT)
    end = "The public count is 43, the old counter's 43; the old routes are in separate.\n"
    assert output == NOTES + FIGURES + end
    assert client.get("/metrics/flash-count").json() == client.get("/count").json() == {"ok": True, "total": 43}
    assert (Event.objects.successes().count(), Event.objects.failures().count()) == (3, 18)
    assert (ClientLog.objects.count(), LegacyCount.objects.count()) == (17, 3)
    assert CounterBaseline.objects.values_list("value", "set_by_name").get() == (40, "import_d1")
    run = ImportRun.objects.get()
    assert (run.file_name, run.successes_added, run.report["read"]) == (
        "d1_export.sql",
        3,
        {"client_logs": 18, "telemetry_events": 13},
    )


def test_the_counts_are_those_of_the_events() -> None:
    run_import(EXPORT)
    assert rollups.compare_totals() == []
    assert [day for day in rollups.days_in_use(0, None) if rollups.compare(day)] == []


ODDITIES: dict[str, dict[str, Any]] = {
    "flash_fail": {"event_type": "flash_error", "message": 'It\'s "over"; DROP TABLE client_logs; --'},
    "connect_fail": {"event_type": "connect_error", "message": "Line one\nline two;\nINSERT INTO x VALUES(1);"},
    "unhandledrejection": {"event_type": "unhandled_rejection", "message": "Weak battery 🪫📻", "stack": ""},
    "client_error": {"event_type": "window_error", "message": "y is undefined"},
    "tape_jam": {"event_type": "window_error", "message": "The tape is jammed"},
}


@pytest.mark.parametrize("old_name", ODDITIES)
def test_an_old_type_name_is_replaced_and_stored_in_the_metadata(old_name: str) -> None:
    run_import(EXPORT)
    row = ClientLog.objects.get(event_type=old_name, id__startswith="l")
    event = Event.objects.get(id=row.event_id)
    assert {name: getattr(event, name) for name in ODDITIES[old_name]} == ODDITIES[old_name]
    assert json.loads(event.metadata_json) == {"legacy_event_type": old_name}
    assert row.message == event.message


REPAIRED = {
    "l10": {"occurred_at": "2026-02-17T12:00:00.000Z"},
    "l11": {"occurred_at": "2026-02-17T12:00:00.003Z"},
    "l12": {"message": "(no message)"},
    "l13": {"log_lines_json": "[]"},
    "l14": {"log_lines_json": "[]"},
    "l15": {"log_lines_json": '{"sent":"02","got":[6]}'},
    "l16": {"model": "unknown", "write_mode": 0},
}


@pytest.mark.parametrize("row_id", REPAIRED)
def test_values_that_cannot_be_stored_are_repaired(row_id: str) -> None:
    run_import(EXPORT)
    event = Event.objects.get(id=ClientLog.objects.get(id=row_id).event_id)
    assert {name: getattr(event, name) for name in REPAIRED[row_id]} == REPAIRED[row_id]
    assert event.source == "import"


def test_the_old_log_keeps_the_original_values() -> None:
    run_import(EXPORT)
    dates = dict(ClientLog.objects.filter(id__in=["l11", "l12"]).values_list("id", "occurred_at"))
    assert dates == {"l11": "a while ago", "l12": "2026-02-17T11:59:58.000Z"}
    assert ClientLog.objects.get(id="l13").log_lines_json == '["TX 02", "RX 06", "cut in the mid'
    assert ClientLog.objects.get(id="l12").message == ""


def test_the_sixth_type_of_the_old_unified_table_is_a_window_error_of_its_session() -> None:
    run_import(EXPORT)
    event = Event.objects.get(id="f4")
    assert (event.event_type, event.session_id) == ("window_error", "attempt-4")
    assert json.loads(event.metadata_json) == {"source": "web-v2", "legacy_event_type": "client_error"}


def test_a_second_failure_of_a_session_keeps_the_session_in_its_metadata() -> None:
    run_import(EXPORT)
    assert Event.objects.get(session_id="attempt-5").id == "f5"
    second = Event.objects.get(message="No answer to the second handshake")
    assert second.session_id is None
    assert json.loads(second.metadata_json) == {"source": "web-v2", "session_id": "attempt-5", "d1_id": "f6"}


def test_no_personal_data_is_imported() -> None:
    run_import(EXPORT)
    stored = repr(dump()) + repr(list(ImportRun.objects.values()))
    assert not [word for word in ("Browser/7", "page.example", "9f1c") if word in stored]


def test_a_twin_is_one_failure_and_two_rows_of_the_old_log() -> None:
    run_import(EXPORT)
    rows = ClientLog.objects.filter(id__in=["l02", "l03"])
    assert len(rows) == 2
    assert Event.objects.get(id=rows[0].event_id).message == rows[1].message == 'Checksum "0x1f" is wrong; drop it'
    assert Event.objects.filter(message=rows[0].message).count() == 1


def test_running_it_again_changes_nothing() -> None:
    run_import(EXPORT)
    before = dump()
    output = run_import(EXPORT)
    assert dump() == before
    assert "Added" not in output
    assert ImportRun.objects.order_by("-id")[0].successes_added == 0


def test_a_dry_run_writes_nothing_and_prints_the_report_of_the_real_run() -> None:
    output = run_import(EXPORT, "--dry-run")
    assert dump() == {name: [] for name in dump()}
    assert not ImportRun.objects.exists()
    assert not Cutover.objects.exists()
    assert output == NOTES + FIGURES + (
        "Nothing was written: --dry-run. The public count would be 43, the old counter's 43;"
        " the old routes would be in separate.\n"
    )


def test_a_dry_run_prints_the_same_report_for_rows_in_different_chunks(import_rows: Callable[..., str]) -> None:
    first = event_row(session_id="same", message="first", received_at_ms=d1.NOON_MS)
    apart = [event_row() for _ in range(1_100)]
    rows = [
        first,
        *apart,
        event_row(session_id="same", message="second"),
        event_row(**(first | {"id": "sent again", "received_at_ms": d1.NOON_MS + 9_000})),
        success_row("same"),
    ]
    logs = [twin_of(rows[0], received_at_ms=d1.NOON_MS + 10_000), twin_of(apart[3])]
    dry = import_rows("--dry-run", events=rows, logs=logs)
    real = import_rows(events=rows, logs=logs)
    assert dry.splitlines()[:-1] == real.splitlines()[:-1]
    assert Event.objects.count() == 1_103
    before = dump()
    import_rows(events=rows, logs=logs)
    assert dump() == before


def test_a_sqlite_file_gives_the_same_result(tmp_path: Path) -> None:
    output = run_import(d1.as_sqlite(EXPORT.read_text(encoding="utf-8"), tmp_path / "d1_export.sqlite"))
    of_sqlite = dump()
    assert output.startswith(NOTES + FIGURES)
    run_import(EXPORT)
    assert dump() == of_sqlite


def test_of_two_baselines_the_genuine_one_is_imported(import_rows: Callable[..., str]) -> None:
    forged = success_row("baseline-of-mine", received_at_ms=1, metadata_json='{"baseline_total": 7000000}')
    output = import_rows(events=[forged, baseline_row(12)])
    assert f"telemetry_events: a second baseline  (such as {forged['id']})" in output
    assert metrics.flash_count() == (12, 0)


@pytest.mark.parametrize("metadata", ["{}", '{"baseline_total": -1}', '{"baseline_total": "9"}', "[" * 50_000, "[]"])
def test_a_baseline_without_a_total_is_refused_and_reported(import_rows: Callable[..., str], metadata: str) -> None:
    output = import_rows(events=[baseline_row(1, metadata_json=metadata), success_row("a")])
    assert "1  telemetry_events: a baseline without a total  (such as baseline-2026-02-10)" in output
    assert metrics.flash_count() == (0, 1)


def test_a_baseline_that_was_set_here_remains(import_rows: Callable[..., str]) -> None:
    rollups.set_baseline(500, note="by hand", user=None, user_name="someone", at=clock.now())
    output = import_rows(events=[baseline_row(12)])
    assert "a baseline, but one is in force: 500 (by hand)" in output
    assert metrics.flash_count() == (500, 0)


BAD_ROWS = {
    "client_logs: the id is not a text of 1 to 128 characters": log_row(id=b"\x01"),
    "client_logs: the time received is not a time in milliseconds": log_row(received_at_ms=10**17),
    "client_logs: event_type is not a text": log_row(event_type=b"\x01"),
    "telemetry_events: the id is not a text of 1 to 128 characters": event_row(id="x" * 3_000),
    "telemetry_events: the time received is not a time in milliseconds": event_row(received_at_ms=-1),
    "telemetry_events: message is not a text": event_row(message=b"\x01"),
    "telemetry_events: the session is not a text of 1 to 128 characters": success_row("s" * 129),
    "telemetry_events: a success without a session": success_row(None),
}


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_an_invalid_row_is_refused_and_reported_and_the_others_are_imported(
    import_rows: Callable[..., str], reason: str
) -> None:
    bad = BAD_ROWS[reason]
    is_log = reason.startswith("client_logs")
    output = import_rows(
        logs=[bad, log_row()] if is_log else [log_row()],
        events=[success_row("a")] if is_log else [bad, success_row("a")],
    )
    assert f"Refused:\n          1  {reason}  (such as " in output
    assert (Event.objects.count(), ClientLog.objects.count()) == (2, 1)


@pytest.mark.parametrize("column", sorted(set(log_row()) - {"id", "received_at_ms", "event_type", "message"}))
@pytest.mark.parametrize(
    "value", [b"\xff\x00", 7, 1.5, "x" * 9_000, "\ufffd"], ids=["bytes", "int", "float", "long", "odd"]
)
def test_any_other_column_may_have_any_value(import_rows: Callable[..., str], column: str, value: Any) -> None:
    import_rows(
        logs=[log_row(**{column: value})], events=[event_row(**{column: value} if column in event_row() else {})]
    )
    assert (Event.objects.count(), ClientLog.objects.count()) == (2, 1)


def test_text_that_no_database_can_store_is_replaced(tmp_path: Path) -> None:
    sql = export(logs=[log_row(id="odd", message="MARK", event_type="MARK")])
    (tmp_path / "odd.sql").write_text(sql.replace("'MARK'", "'a' || char(0) || char(55357) || 'b'"))
    run_import(tmp_path / "odd.sql")
    row = ClientLog.objects.get(id="odd")
    assert set(row.message) == set(row.event_type) == {"a", "b", "\ufffd"}
    assert Event.objects.get().message == row.message


NUL_COLUMNS = [("client_logs", name) for name in log_row() if name != "received_at_ms"]
NUL_COLUMNS += [("telemetry_events", name) for name in event_row() if name != "received_at_ms"]


@pytest.mark.parametrize("form", ["as it is", "beside a line break", "by char(0)", "in a SQLite file"])
@pytest.mark.parametrize(("table", "column"), NUL_COLUMNS)
def test_nul_in_any_text_is_repaired_and_reported(tmp_path: Path, form: str, table: str, column: str) -> None:
    """The old Worker stored NUL, and `wrangler` exports it."""
    mark = "baseline\n" if form == "beside a line break" else "MARK"
    if table == "client_logs":
        sql = export(logs=[log_row(**({"id": "odd"} | {column: mark}))])
    else:
        sql = export(events=[success_row(**({"id": "odd", "session_id": "s"} | {column: mark}))])
    file = tmp_path / "export.sql"
    if form == "in a SQLite file":
        file = d1.as_sqlite(sql, tmp_path / "export.sqlite")
        with sqlite3.connect(file) as database:
            database.execute(f"UPDATE {table} SET {column} = 'a' || char(0) || 'b' WHERE {column} = 'MARK'")
        database.close()
    else:
        changes = {"as it is": ("MARK", "a\0b"), "by char(0)": ("'MARK'", "'a' || char(0) || 'b'")}
        file.write_text(sql.replace(*changes.get(form, ("baseline", "a\0b"))))
    output = run_import(file)
    row_id = "odd" if column != "id" else "a\ufffdb\n" if form == "beside a line break" else "a\ufffdb"
    assert f"  1  {table}: NUL characters, now U+FFFD  (such as {row_id})" in output
    assert "\\x00" not in repr(dump())
    assert Event.objects.count() == 1
    assert "Refused" not in output


def test_nul_in_the_baselines_row_is_repaired_too(import_rows: Callable[..., str]) -> None:
    output = import_rows(events=[baseline_row(12, message="a\0b")])
    assert "1  telemetry_events: NUL characters, now U+FFFD  (such as baseline-2026-02-10)" in output
    assert metrics.flash_count() == (12, 0)


def test_a_type_that_is_too_long_for_an_index_is_cut(import_rows: Callable[..., str]) -> None:
    import_rows(logs=[log_row(event_type="".join(f"{n:x}" for n in range(9_000)))])
    assert len(ClientLog.objects.get().event_type) == 64


# --- into a site with events --------------------------------------------------------------------------------------


def test_a_site_with_events_keeps_its_mode(import_rows: Callable[..., str]) -> None:
    make_event()
    output = import_rows(events=[success_row("a")])
    assert output.endswith("the old routes are in alias.\n")
    assert not Cutover.objects.exists()


def test_a_site_that_was_switched_keeps_its_mode(import_rows: Callable[..., str]) -> None:
    call_command("legacy_mode", "alias", stdout=io.StringIO())
    assert import_rows(events=[success_row("a")]).endswith("the old routes are in alias.\n")


def test_a_new_site_begins_in_separate_and_the_log_gives_the_reason(import_rows: Callable[..., str]) -> None:
    import_rows(events=[success_row("a")])
    assert modes.in_force().mode == Mode.SEPARATE
    assert Cutover.objects.values_list("switched_by_name", "reason", "mode").get() == (
        "import_d1",
        "the first import from the old system",
        "separate",
    )


LIVE = payload(occurred_at="2026-02-17T11:59:58.000Z", message="Live and imported", log_lines_json='["RX 06"]')
IMPORTED = {name: LIVE[name] for name in ("message", "model", "app_version")} | {"error_name": None}


@pytest.mark.parametrize("is_first", ["live", "import"])
@pytest.mark.parametrize("session_id", [None, "attempt-9"])
def test_an_event_that_also_arrived_here_is_not_duplicated(
    post: Callable[..., Any], import_rows: Callable[..., str], is_first: str, session_id: str | None
) -> None:
    make_event(message="the site is in use")
    rows = [event_row(session_id=session_id, **IMPORTED), success_row("attempt-8")]
    steps: list[Callable[[], Any]] = [
        lambda: (post("/event", LIVE | {"session_id": session_id}), post("/event", success(session_id="attempt-8"))),
        lambda: import_rows(events=rows),
    ]
    for step in steps if is_first == "live" else reversed(steps):
        step()
    assert Event.objects.filter(message="Live and imported").count() == 1
    assert metrics.flash_count() == (0, 1)
    assert LegacyCount.objects.count() == 1
    assert rollups.compare_totals() == []


@pytest.mark.parametrize("is_first", ["live", "import"])
def test_a_failure_of_an_old_client_that_also_arrived_here_is_not_duplicated(
    post: Callable[..., Any], import_rows: Callable[..., str], is_first: str
) -> None:
    make_event(message="the site is in use")
    steps: list[Callable[[], Any]] = [
        lambda: (post("/client-log", LIVE), post("/increment", {"sessionId": "attempt-8"})),
        lambda: import_rows(logs=[log_row(**IMPORTED)], events=[success_row("attempt-8")]),
    ]
    for step in steps if is_first == "live" else reversed(steps):
        step()
    assert Event.objects.filter(message="Live and imported").count() == 1
    assert metrics.flash_count() == (0, 1)
    assert LegacyCount.objects.count() == 1


def test_a_failure_with_a_session_is_the_twin_of_one_without(
    post: Callable[..., Any], import_rows: Callable[..., str]
) -> None:
    post("/client-log", LIVE)
    import_rows(events=[event_row(session_id="attempt-9", **IMPORTED)])
    assert Event.objects.count() == 1


# --- interrupted --------------------------------------------------------------------------------------------------


def many_rows() -> dict[str, list[dict[str, Any]]]:
    """Return rows for many commits, with twins in different commits, so that a kill interrupts the import."""
    failures = [event_row(session_id=f"attempt-{n}" if n % 3 else None) for n in range(1_500)]
    again = [event_row(session_id=f"attempt-{n}", message="again") for n in range(1, 1_500, 7)]
    successes = [success_row(f"attempt-{n}") for n in range(1_500)]
    return {
        "events": [baseline_row(12), *failures, *successes, *again],
        "logs": [twin_of(failure) for failure in failures[::2]] + [log_row() for _ in range(6_000)],
    }


@pytest.mark.django_db(transaction=True)
def test_a_killed_and_repeated_import_gives_the_same_result(tmp_path: Path) -> None:
    file = tmp_path / "export.sql"
    file.write_text(export(**many_rows()))
    run_import(file)
    undisturbed = dump()
    call_command("flush", interactive=False, verbosity=0)
    environment = shared_site(tmp_path / "data")
    killed = unfinished = 0
    for log_rows, events in ((0, 1), (0, 1_600), (1, 0), (900, 0)):
        importing = manage(environment, "import_d1", str(file))
        wait_until(partial(has_progressed, importing, log_rows, events), "the import made no progress")
        importing.send_signal(signal.SIGKILL)
        importing.communicate()
        killed += importing.returncode == -signal.SIGKILL
        unfinished += dump() != undisturbed  # the last run may be complete before its kill
    assert killed >= 3
    assert unfinished >= 3
    run_import(file)
    assert dump() == undisturbed
    # The killed runs stored no report, but the count's history must include their successes.
    reported = sum(ImportRun.objects.values_list("successes_added", flat=True))
    assert reported == Event.objects.successes().count()


def has_progressed(importing: subprocess.Popen[str], log_rows: int, events: int) -> bool:
    is_there = ClientLog.objects.count() >= log_rows and Event.objects.count() >= events
    return is_there or importing.poll() is not None


@contextmanager
def no_room(*, after_events: int) -> Iterator[None]:
    """Limit the size of the database, so that it is full after this many more events."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.connection.executescript("PRAGMA incremental_vacuum")
            cursor.execute("PRAGMA page_count")
            cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0] + after_events // 4}")
        else:
            cursor.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" IF (SELECT COUNT(*) FROM telemetry_events) > {after_events} THEN"
                " RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END IF; RETURN NULL; END $$;"
                "CREATE TRIGGER full_disk AFTER INSERT ON telemetry_events EXECUTE FUNCTION full_disk()"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("PRAGMA max_page_count = 4294967294")
            else:
                cursor.execute("DROP TRIGGER full_disk ON telemetry_events; DROP FUNCTION full_disk")


@pytest.mark.django_db(transaction=True)
def test_a_disk_that_fills_during_an_import_is_reported_and_the_next_run_continues(tmp_path: Path) -> None:
    file = tmp_path / "export.sql"
    file.write_text(export(**many_rows()))
    run_import(file)
    undisturbed = dump()
    call_command("flush", interactive=False, verbosity=0)
    with (
        no_room(after_events=1_200),
        pytest.raises(CommandError, match=r"(?s)The database refused a write: .*Run the same command"),
    ):
        run_import(file)
    assert 0 < Event.objects.count() < len(undisturbed["events"])
    run_import(file)
    assert dump() == undisturbed


@pytest.mark.django_db(transaction=True)
def test_a_database_that_refuses_writes_is_reported() -> None:
    with read_only_database(), pytest.raises(CommandError, match="The database refused a write"):
        run_import(EXPORT)
    run_import(EXPORT)
    assert metrics.flash_count() == (40, 3)


# --- refused files -----------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
FULL = export(logs=[log_row()], events=[success_row("a")])
ATTACKS = {
    "ATTACH DATABASE '{outside}' AS other;": "ATTACH",
    "DETACH DATABASE main;": "DETACH",
    "SELECT load_extension('{outside}');": "SELECT",
    "INSERT INTO client_logs(id) VALUES(load_extension('{outside}'));": "the function load_extension",
    "INSERT INTO client_logs(id) VALUES(writefile('{outside}', 'x'));": "no such function: writefile",
    "INSERT INTO client_logs(id) VALUES(readfile('/etc/hostname'));": "no such function: readfile",
    "INSERT INTO client_logs(id) VALUES(zeroblob(2000000000));": "the function zeroblob",
    "INSERT INTO client_logs(id) VALUES(randomblob(2000000000));": "the function randomblob",
    "INSERT INTO client_logs(id) VALUES((SELECT 1));": "SELECT",
    "PRAGMA writable_schema=ON;": "PRAGMA",
    "PRAGMA journal_mode=WAL;": "PRAGMA",
    "CREATE TRIGGER t AFTER INSERT ON client_logs BEGIN\nDELETE FROM client_logs;\nEND;": "CREATE TRIGGER",
    "CREATE TEMP TRIGGER t AFTER INSERT ON client_logs BEGIN\nDELETE FROM client_logs;\nEND;": "TRIGGER",
    "CREATE VIEW v AS SELECT 1;": "CREATE VIEW",
    "CREATE TEMP VIEW v AS SELECT 1;": "VIEW",
    "CREATE VIRTUAL TABLE v USING fts5(x);": "CREATE VIRTUAL TABLE",
    "CREATE TABLE copied AS SELECT 1;": "SELECT",
    ENDLESS + "SELECT x FROM n;": "SELECT",
    ENDLESS + "INSERT INTO client_logs(id) SELECT x FROM n;": "SELECT",
    "UPDATE client_logs SET id = 'x';": "UPDATE",
    "DELETE FROM client_logs;": "DELETE",
    "DROP TABLE client_logs;": "DELETE",
    "ALTER TABLE client_logs RENAME TO other;": "ALTER TABLE",
    "VACUUM INTO '{outside}';": "VACUUM",
    "SAVEPOINT s;": "this statement",
    "ROLLBACK;": "this statement",
    "ANALYZE;": "this statement",
    "CREATE TABLE one(x); CREATE TABLE two(x);": "one statement at a time",
    "CREATE TABLE client_logs(x);": "already exists",
    "COMMIT; ATTACH DATABASE '{outside}' AS other;": "is not allowed",
    "INSERT INTO client_logs VALUES(1);": "16 columns",
    "INSERT INTO nowhere VALUES(1);": "no such table",
    "not SQL;": "syntax error",
    "INSERT INTO client_logs(id) VALUES('" + "x" * 4_200_000 + "');": "longer than 4,194,304 bytes",
    "INSERT INTO client_logs(id) VALUES('" + "\n" * 2_100 + "');": "2,000 lines",
    "INSERT INTO client_logs(id) VALUES('": "in the middle of a statement",
    "INSERT INTO client_logs(id)\0 VALUES('a');": "a NUL character outside its texts",
    "INSERT INTO client_logs(\"i\0d\") VALUES('a');": "a NUL character outside its texts",
    "INSERT INTO client_logs(id) VALUES(X'61\0');": "syntax error",
    "INSERT INTO client_logs(id) VALUES('a\0b' || ?);": "The current statement uses 2",
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack[:60])
def test_statements_that_no_export_contains_are_refused_with_a_message(tmp_path: Path, attack: str) -> None:
    outside = tmp_path / "outside"
    file = tmp_path / "export.sql"
    file.write_text(FULL + attack.replace("{outside}", str(outside)) + "\n")
    refuse(file, ATTACKS[attack])
    assert not outside.exists()


def refuse(file: Path, why: str) -> None:
    before = sorted(settings.DATA_DIR.iterdir())
    with pytest.raises(CommandError) as refused:
        run_import(file)
    assert str(refused.value).startswith(f"{file} was refused, and nothing was changed. ")
    assert why in str(refused.value)
    assert dump() == {name: [] for name in dump()}
    assert not ImportRun.objects.exists()
    assert not Cutover.objects.exists()
    assert sorted(settings.DATA_DIR.iterdir()) == before


BAD_FILES = {
    "empty": (b"", "neither client_logs nor telemetry_events"),
    "not SQL": (b"<!doctype html>\n<title>Sign in</title>\n", "in the middle of a statement"),
    "not UTF-8": (FULL.encode().replace(b"RX 06", b"RX \xff"), "is not UTF-8"),
    "truncated": (FULL.encode()[:-20], "in the middle of a statement"),
    "UTF-16": (FULL.encode("utf-16"), "in the middle of a statement"),
    "other tables": (b"CREATE TABLE users(id TEXT);\n", "neither client_logs nor telemetry_events"),
    "a column less": (FULL.replace("stack TEXT, ", "", 1).encode(), "15 columns"),
    "a column of another name": (FULL.replace("ip_hash TEXT", "ip TEXT").encode(), "lacks the column ip_hash"),
    "one id twice": (
        export(logs=[log_row(id="a"), log_row(id="a")]).encode(),
        "Two rows of client_logs have the same id",
    ),
    "one id twice once it is repaired": (
        export(events=[event_row(id="a\0"), event_row(id="a\ufffd")]).encode(),
        "Two rows of telemetry_events have the same id",
    ),
    "a name of ours": (FULL.encode() + b"CREATE TABLE staged_client_logs(x);\n", "already"),
    "a SQLite file cut short": (b"SQLite format 3\0" + b"\1" * 700, "The SQLite file cannot be read"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_export_is_refused_with_a_message(tmp_path: Path, kind: str) -> None:
    content, why = BAD_FILES[kind]
    (tmp_path / "export.sql").write_bytes(content)
    refuse(tmp_path / "export.sql", why)


def test_text_that_grows_without_limit_is_refused(tmp_path: Path) -> None:
    line = f"INSERT INTO huge VALUES(replace('{'a' * 200_000}','a','📻📻📻'));\n"
    (tmp_path / "export.sql").write_text("CREATE TABLE huge(x);\n" + line * 30)
    refuse(tmp_path / "export.sql", "full")


VIEW = "CREATE VIEW client_logs AS SELECT 1 AS id"
BAD_DATABASES = {
    "a view": (VIEW, "client_logs is not a plain table"),
    "a virtual table": ("CREATE VIRTUAL TABLE client_logs USING fts5(id, message)", "client_logs is not a plain table"),
    "a column less": ("CREATE TABLE client_logs(id TEXT)", "no such column"),
    "a generated column": (
        d1.LOG_TABLE.replace("ip_hash TEXT", "ip_hash TEXT AS (id || id)"),
        "A generated column is not allowed in an export",
    ),
    "nothing of ours": ("CREATE TABLE users(id TEXT)", "neither client_logs nor telemetry_events"),
    "a value of 2 GB": (
        d1.LOG_TABLE + "INSERT INTO client_logs VALUES('a',1,'','',zeroblob(5000000),'','','',0,0,'','','','','','');",
        "too big",
    ),
}


@pytest.mark.parametrize("kind", BAD_DATABASES)
def test_a_sqlite_file_that_is_no_export_is_refused_with_a_message(tmp_path: Path, kind: str) -> None:
    sql, why = BAD_DATABASES[kind]
    refuse(d1.as_sqlite(sql, tmp_path / "export.sqlite"), why)


def test_a_truncated_sqlite_file_is_refused_with_a_message(tmp_path: Path) -> None:
    file = d1.as_sqlite(export(logs=[log_row() for _ in range(200)]), tmp_path / "export.sqlite")
    os.truncate(file, 3 * 4096)
    refuse(file, "The SQLite file cannot be read")


def test_a_missing_file_is_reported() -> None:
    with pytest.raises(CommandError, match=r"nowhere\.sql is not a file"):
        run_import(Path("nowhere.sql"))


def test_the_sites_own_database_is_no_export(settings: Any, tmp_path: Path) -> None:
    settings.SQLITE_FILE = tmp_path / "telemetry.sqlite3"
    settings.SQLITE_FILE.write_bytes(b"not even looked at")
    link = tmp_path / "export.sqlite3"
    link.symlink_to(settings.SQLITE_FILE)
    for file in (settings.SQLITE_FILE, link):
        with pytest.raises(CommandError, match="is this site's own database, not an export"):
            run_import(file)


def test_an_unknown_table_is_left_out_and_reported(import_rows: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "export.sql").write_text(FULL + "CREATE TABLE d1_migrations(id INTEGER);\n")
    assert "Tables that are not ours were left out: d1_migrations." in run_import(tmp_path / "export.sql")


# --- scratch file and progress bar --------------------------------------------------------------------------------


def test_no_file_is_left_in_the_data_folder() -> None:
    before = sorted(settings.DATA_DIR.iterdir())
    run_import(EXPORT)
    assert sorted(settings.DATA_DIR.iterdir()) == before


def test_the_scratch_file_of_a_killed_import_is_deleted() -> None:
    (settings.DATA_DIR / "import.scratch").write_text("half of something")
    run_import(EXPORT)
    assert not (settings.DATA_DIR / "import.scratch").exists()


@pytest.mark.django_db(transaction=True)
def test_one_import_runs_at_a_time(tmp_path: Path) -> None:
    environment = shared_site(tmp_path / "data")
    (tmp_path / "export.sql").write_text(export(**many_rows()))
    first = manage(environment, "import_d1", str(tmp_path / "export.sql"))
    wait_until((tmp_path / "data" / "import.scratch").exists, "the import never began")
    first.send_signal(signal.SIGSTOP)
    try:
        second = manage(environment, "import_d1", str(EXPORT))
        assert second.communicate()[1] == "CommandError: Another import is running.\n"
        assert second.returncode == 1
    finally:
        first.send_signal(signal.SIGCONT)
        first.communicate()
    assert first.returncode == 0


@pytest.mark.django_db(transaction=True)
def test_a_progress_bar_is_drawn_only_on_a_terminal(tmp_path: Path) -> None:
    environment = shared_site(tmp_path / "data")
    plain = manage(environment, "import_d1", str(EXPORT), "--dry-run")
    assert plain.communicate()[1] == ""
    assert plain.returncode == 0
    ours, theirs = pty.openpty()
    seen: list[bytes] = []
    with subprocess.Popen(
        [sys.executable, "manage.py", "import_d1", str(EXPORT), "--dry-run"],
        cwd=PROJECT_DIR,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as shown:
        reader = threading.Thread(target=lambda: seen.append(os.read(ours, 65_536)))
        reader.start()
        shown.wait()
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert "checked ██████████████████████████████ 100%" in b"".join(seen).decode()
