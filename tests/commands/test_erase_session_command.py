"""`manage.py erase_session`: nothing of one session is left, in no table and in no file, and every count stays."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from events import clock
from events.models import AuditEntry, Event, FailureGroup, HourlyRollup, LifetimeTotal
from events.reports import metrics
from legacy import old_tables, translate
from legacy.cutover import modes, old_counts, parity
from legacy.models import ClientLog, LegacyCount, ParityRun, Verdict
from tests.conftest import make_event, payload, success
from tests.fixtures.d1 import event_row, export, success_row, twin_of
from tests.other_process import manage, shared_site
from tests.servers import served_prepared

pytestmark = pytest.mark.django_db

SESSION = "somebodys-session-4711"


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("erase_session", *args, stdout=out)
    return out.getvalue()


def counts() -> dict[str, Any]:
    tables = (LifetimeTotal, HourlyRollup, FailureGroup)
    return {table.__name__: list(table._default_manager.order_by("pk").values()) for table in tables} | {
        "public": metrics.flash_count(),
        "old": old_tables.count(),
    }


def everything() -> str:
    """Return every cell of every table."""
    cells = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            cells += [str(cell) for row in cursor.fetchall() for cell in row]
    return "\n".join(cells)


def live(client: Client) -> None:
    """Let a dual-writing client of the site report a session's failure, then its success, by every route."""
    failure = payload(session_id=SESSION, message="No ACK")
    for path, body in [
        ("/event", failure),
        ("/client-log", {name: value for name, value in failure.items() if name != "session_id"}),
        ("/event", success(session_id=SESSION)),
        ("/increment", {"sessionId": SESSION}),
    ]:
        assert client.post(path, json.dumps(body), content_type="application/json").status_code < 300


def imported(folder: Path) -> None:
    first = event_row(session_id=SESSION)
    second = event_row(session_id=SESSION)
    file = folder / "export.sql"
    rows = export(events=[success_row(SESSION), first, second], logs=[twin_of(first), twin_of(second)])
    file.write_text(rows, encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())
    modes.forget()


def test_a_session_of_every_route_is_erased_and_every_count_stays(client: Client) -> None:
    live(client)
    client.post("/increment", json.dumps({"sessionId": "another-session"}), content_type="application/json")
    other = make_event(session_id="another-session")
    before = counts()
    said = run(SESSION, "--reason", "asked by mail")
    assert said.splitlines()[0] == (
        "Erased: events 3, rows of the old log 1, sessions of the old counter 1. Every count stays."
    )
    assert counts() == before
    assert SESSION not in everything()
    assert set(Event.objects.values_list("session_id", flat=True)) == {"another-session"}
    assert Event.objects.filter(pk=other.pk).exists()
    assert LegacyCount.objects.count() == 2
    entry = AuditEntry.objects.get()
    assert (entry.kind, entry.why) == ("erasure", "asked by mail")
    assert entry.what == "Erased a session: events 3, rows of the old log 1, sessions of the old counter 1."


def test_what_an_import_brought_of_it_is_erased_its_second_failure_too(tmp_path: Path) -> None:
    imported(tmp_path)
    assert Event.objects.filter(session_id=None, metadata_json__contains=SESSION).count() == 1
    before = counts()
    assert "events 3, rows of the old log 2, sessions of the old counter 1" in run(SESSION)
    assert not Event.objects.exists()
    assert not ClientLog.objects.exists()
    assert counts() == before
    assert SESSION not in everything()


@pytest.mark.parametrize("mode", ["separate", "alias"])
def test_every_failure_from_the_old_route_is_erased(client: Client, mode: str) -> None:
    """`/event` stores one failure of each type and session; the old route has them all."""
    call_command("legacy_mode", mode, stdout=io.StringIO())
    for message in ("first", "second"):
        body = json.dumps(payload(session_id=SESSION, message=message))
        for path in ("/event", "/client-log"):
            assert client.post(path, body, content_type="application/json").status_code < 300
    client.post("/client-log", json.dumps(payload(session_id="another")), content_type="application/json")
    events = 3 if mode == "alias" else 1
    assert f"Erased: events {events}, rows of the old log 2." in run(SESSION)
    assert Event.objects.count() == (mode == "alias")
    assert ClientLog.objects.values_list("message", flat=True).get() == payload()["message"]


def test_a_comparison_no_longer_names_it() -> None:
    for name in (SESSION, "another"):
        old_tables.keep(translate.arrived_session({"sessionId": name, "sentToEvent": True}, clock.now_ms()))
    parity.keep(parity.check(2, clock.today()), at=clock.now())
    assert "examples of a comparison 1" in run(SESSION)
    assert [one["id"] for one in ParityRun.objects.get().finding["examples_missing"]] == ["another"]
    assert SESSION not in everything()


def test_an_erased_session_is_no_loss_to_parity(client: Client) -> None:
    live(client)
    client.post("/increment", json.dumps({"sessionId": "another-session"}), content_type="application/json")
    run(SESSION)
    finding = parity.check(2, clock.today())
    assert finding.verdict == Verdict.NO_EVIDENCE
    assert finding.total.successes == parity.Side(arrived=1, old_clients=1)
    for mode in ("separate", "alias"):
        call_command("legacy_mode", mode, stdout=io.StringIO())
    assert old_counts.count_now() == 2
    assert Event.objects.count() == 1


def test_a_session_that_waits_for_the_stream_is_still_counted_there() -> None:
    call_command("legacy_mode", "separate", stdout=io.StringIO())
    old_tables.keep(LegacyCount(session_id=SESSION, counted_at_ms=clock.now_ms(), in_stream=False))
    run(SESSION)
    call_command("legacy_mode", "alias", stdout=io.StringIO())
    assert old_counts.count_now() == 1
    assert SESSION not in everything()


def test_kept_comparisons_hold_nothing_of_it_under_other_names(client: Client) -> None:
    """Examples of what one side alone has are named by the event's id, or the row's of the old log."""
    call_command("legacy_mode", "separate", stdout=io.StringIO())
    failure = payload(message="in the stream alone", occurred_at=clock.iso(clock.now_ms()), session_id=SESSION)
    assert client.post("/event", json.dumps(failure), content_type="application/json").status_code == 201
    make_event(**success(session_id=SESSION))
    parity.keep(parity.check(3, clock.today()), at=clock.now())
    assert len(ParityRun.objects.get().finding["examples_event_only"]) == 2
    assert "examples of a comparison 2" in run(SESSION)
    assert ParityRun.objects.get().finding["examples_event_only"] == []
    assert "in the stream alone" not in "\n".join(map(str, ParityRun.objects.values_list("finding", flat=True)))


def test_a_comparison_by_the_rule_of_earlier_releases_no_longer_names_it() -> None:
    finding = {side: [{"id": SESSION}, {"id": "another"}] for side in ("examples_only_old", "examples_only_new")}
    ParityRun.objects.create(checked_at=clock.now(), holds=True, days_held=0, finding=finding | {"days": []})
    assert "examples of a comparison 2" in run(SESSION)
    kept = [{"id": "another"}]
    assert ParityRun.objects.get().finding == {"examples_only_old": kept, "examples_only_new": kept, "days": []}


def test_the_next_import_refuses_erased_imported_events(tmp_path: Path) -> None:
    make_event(**success(session_id="no-import"))
    imported(tmp_path)
    assert "import" not in run("no-import")
    before = counts()
    assert "Another import refuses it, and counts nothing twice." in run(SESSION)
    imported(tmp_path)
    assert counts() == before
    assert SESSION not in everything()


def test_other_rows_with_the_session_id_are_listed_and_stay() -> None:
    """Anybody can write a session's name into an event of their own, and once could into the audit log."""
    make_event(session_id=SESSION)
    empty = {"at_ms": 1, "kind": "export", "who": "", "what": "", "why": "", "about": "", "subject": ""}
    named = [empty | {field: f"junk={SESSION}&junk"} for field in ("what", "why", "about", "who")]
    entries = [AuditEntry.objects.create(**columns) for columns in named]
    event = make_event(message=f"see {SESSION}", session_id="another")
    for _ in range(2):
        said = run(SESSION)
        keys = ", ".join(str(entry.pk) for entry in entries)
        assert f"events_auditentry: 4 of the remaining rows contain its id: {keys}.\n" in said
        assert f"telemetry_events: 1 of the remaining rows contain its id: {event.pk}.\n" in said
        assert "These rows do not belong to this session." in said
    assert not Event.objects.filter(session_id=SESSION).exists()


def test_a_name_in_other_letters_is_another_session() -> None:
    make_event(session_id=SESSION)
    make_event(message=f"see {SESSION.upper()}", session_id="another")
    assert "rows that stay" not in run(SESSION)


def test_a_dry_run_only_looks(client: Client) -> None:
    live(client)
    said = run(SESSION, "--dry-run")
    assert said == (
        "Stored data: events 3, rows of the old log 1, sessions of the old counter 1. Nothing was erased: --dry-run.\n"
    )
    assert Event.objects.count() == 3
    assert not AuditEntry.objects.exists()


def test_an_unknown_session_is_nothing_and_not_noted() -> None:
    make_event(session_id="Somebodys-Session-4711")  # another one
    assert "Erased: nothing." in run(SESSION)
    assert Event.objects.count() == 1
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("session_id", ["100%", "a_b", 'quote"d', "back\\slash", "é📻"])
def test_any_name_is_found_and_no_other(session_id: str) -> None:
    make_event(session_id=session_id)
    make_event(message="b", metadata_json=json.dumps({"session_id": session_id}))
    others = [make_event(message="c", metadata_json='{"session_id": "axb"}'), make_event(session_id="100x")]
    run(session_id)
    assert set(Event.objects.all()) == set(others)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "at least one character"),
        (["a\0b"], "at least one character"),
        ([SESSION, "--reason", f"{SESSION} asked"], "must not name the session"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(*arguments)


def test_what_is_sent_again_is_taken_as_new(client: Client) -> None:
    """What docs/privacy.md says of it."""
    body = success(session_id=SESSION)
    make_event(**body)
    run(SESSION)
    assert client.post("/event", json.dumps(body), content_type="application/json").status_code == 201
    assert metrics.flash_count().total == 2


@pytest.mark.parametrize("metadata", ['{"count":3}', '{"note":"count"}', '["count"]', '{"session_id":["count"]}'])
def test_a_word_of_somebody_elses_metadata_is_no_session(metadata: str) -> None:
    make_event(**success(session_id="count"))
    make_event(metadata_json=metadata)
    assert "Erased: events 1." in run("count")
    assert Event.objects.get().metadata_json == metadata


def test_the_old_tables_may_be_gone(client: Client) -> None:
    make_event(session_id=SESSION)
    call_command("legacy_mode", "gone", "--force", "--reason", "a test", stdout=io.StringIO())
    call_command("drop_legacy", stdout=io.StringIO())
    assert "Erased: events 1." in run(SESSION)


# --- the files ---------------------------------------------------------------------------------------------------


def files_holding(folder: Path, words: str) -> list[str]:
    return [
        str(file.relative_to(folder))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and words.encode() in file.read_bytes()
    ]


@pytest.mark.django_db(transaction=True)
def test_it_leaves_the_database_locked_while_it_is_open(tmp_path: Path) -> None:
    """Else the next process that closes it would think itself the last, and take the log away under the others."""
    if connection.vendor != "sqlite":
        pytest.skip("about SQLite's file")
    make_event(session_id=SESSION)
    run(SESSION)
    log = Path(f"{connection.settings_dict['NAME']}-wal")
    before = log.stat().st_ino
    other = manage(shared_site(tmp_path / "data"), "legacy_mode")
    other.communicate()
    assert other.returncode == 0
    assert log.stat().st_ino == before


def test_no_file_of_a_running_site_contains_it_afterwards(data_dir: Path) -> None:
    message = "a message that nobody else would send"
    with served_prepared(data_dir, INGEST_RATE="off", BATCH_RATE="off") as server:
        for number in range(60):  # neighbours on the same pages
            body = payload(session_id=f"neighbour-{number}", message=f"neighbour {number}")
            assert server.post("/event", json.dumps(body).encode())[0] == 201
            if number == 30:
                stack = "at write (radio.js)\n" * 100
                failure = payload(session_id=SESSION, message=message, stack=stack + message)
                assert server.post("/event", json.dumps(failure).encode())[0] == 201
                assert server.post("/increment", json.dumps({"sessionId": SESSION}).encode())[0] == 200
                del failure["session_id"]
                assert server.post("/client-log", json.dumps(failure).encode())[0] == 200
        assert files_holding(data_dir, SESSION) == files_holding(data_dir, message) != []
        (data_dir / "backups").mkdir()
        (data_dir / "backups" / "copy.sqlite3").write_bytes(b"..." + SESSION.encode())
        done = server.command("erase_session", SESSION)
        assert done.returncode == 0, done.stderr
        assert "The database file no longer contains its id." in done.stdout
        assert f"{data_dir / 'backups' / 'copy.sqlite3'} still contains its id." in done.stdout
        assert files_holding(data_dir, SESSION) == ["backups/copy.sqlite3"]
        # Its group is known by the words of its first failure; of the events themselves nothing is left.
        assert server.get("/metrics/flash-count")[1] == b'{"ok":true,"total":1}'
        assert server.post("/event", json.dumps(payload(message="still here")).encode())[0] == 201
    assert SESSION not in server.log.read_text()


def test_an_entry_of_the_audit_log_that_names_it_stops_no_erasure_of_a_site(data_dir: Path) -> None:
    with served_prepared(data_dir) as server:
        assert server.post("/event", json.dumps(payload(session_id=SESSION)).encode())[0] == 201
        code = (
            "from events import audit, clock;"
            f"audit.note('export', 'Exported Events: junk={SESSION}', who='olga', at=clock.now())"
        )
        exported, *erased = server.commands(
            ("shell", "--no-imports", "-c", code), ("erase_session", SESSION), ("erase_session", SESSION)
        )
        assert exported.returncode == 0, exported.stderr
        for done in erased:
            assert done.returncode == 0, done.stderr
            assert "events_auditentry: 1 of the remaining rows contain its id: 1." in done.stdout
            assert "The rows above contain its id. Free space may contain it too: --vacuum clears that." in done.stdout


def test_a_session_that_is_called_like_a_column_is_erased(data_dir: Path) -> None:
    with served_prepared(data_dir) as server:
        assert server.post("/event", json.dumps(payload(session_id="app_version")).encode())[0] == 201
        done = server.command("erase_session", "app_version")
        assert done.returncode == 0, done.stderr
        assert "Erased: events 1." in done.stdout
        assert "sqlite_master: " in done.stdout
        assert " of the remaining rows contain its id: " in done.stdout


def test_a_trace_in_free_space_is_reported_and_vacuum_clears_it(data_dir: Path) -> None:
    """As a build of SQLite leaves it that does not overwrite what it deletes."""
    with served_prepared(data_dir) as server:
        assert server.post("/event", json.dumps(payload(session_id=SESSION)).encode())[0] == 201
        code = (
            "from django.db import connection; c = connection.cursor(); c.execute('PRAGMA secure_delete=OFF');"
            "c.execute('DELETE FROM telemetry_events'); c.execute('PRAGMA wal_checkpoint(TRUNCATE)')"
        )
        assert server.command("shell", "--no-imports", "-c", code).returncode == 0
        assert files_holding(data_dir, SESSION) == ["telemetry.sqlite3"]
        refused, done = server.commands(("erase_session", SESSION), ("erase_session", SESSION, "--vacuum"))
        assert refused.returncode == 1
        assert "in free space, which --vacuum clears" in refused.stderr
        assert done.returncode == 0, done.stderr
        assert files_holding(data_dir, SESSION) == []
        assert server.post("/event", json.dumps(payload(message="still here")).encode())[0] == 201


def test_postgresql_says_what_remains() -> None:
    if connection.vendor == "postgresql":
        assert "PostgreSQL keeps deleted rows until the next `VACUUM`" in run(SESSION)
