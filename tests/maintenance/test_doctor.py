"""`events/maintenance/doctor`: what each state of a site is reported as."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from events import clock, migrations
from events.counting import site_days
from events.maintenance.doctor import counts, database, report, traffic, unattended, versions
from events.maintenance.doctor.findings import Check, Depth, Examination, Finding, Level, ProxyHeaders, age, clean, size
from events.maintenance.jobs import registry
from events.maintenance.jobs.registry import Job
from events.maintenance.jobs.schedules import Daily
from events.models import AlertChannel, Backup, HourlyRollup, JobState, LifetimeTotal, RefusedHost, SiteDay
from telemetry_site import env
from telemetry_site.sqlite.base import DatabaseWrapper
from tests.conftest import make_event, success

DAY_MS = 86_400_000
# What depends on the machine that runs the tests.
OF_THE_MACHINE = ("versions.", "files.file_system", "files.server")


def examined(depth: Depth = Depth.COMMAND) -> report.Report:
    return report.examine(Examination(clock.now(), depth))


def problems(made: report.Report) -> list[tuple[str, str, str]]:
    return [(f.level.value, f.name, f.text) for f in made.problems if not f.name.startswith(OF_THE_MACHINE)]


# --- states of the database file -------------------------------------------------------------------------------------


@pytest.fixture
def file(data_dir: Path, settings: Any, django_db_blocker: Any) -> Iterator[Path]:
    """Return the database of a site that was started and stopped."""
    settings.DATA_DIR, settings.SQLITE_FILE = data_dir, data_dir / "telemetry.sqlite3"
    settings.MIN_FREE_BYTES = 1
    with django_db_blocker.unblock():
        yield settings.SQLITE_FILE


@contextmanager
def opened_to_read(file: Path) -> Iterator[None]:
    """Connect to a database as `manage.py doctor` does."""
    mode = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "mode=ro&immutable=1"
    options = {"NAME": f"file:{file}?{mode}", "OPTIONS": {"timeout": 0.1, "init_command": "PRAGMA query_only=ON"}}
    usual, wrapper = connections["default"], DatabaseWrapper(connection.settings_dict | options, "default")
    connections["default"] = wrapper
    try:
        yield
    finally:
        wrapper.close()
        connections["default"] = usual


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir() if path.is_file()}


def run(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as raw:
        for statement in statements:
            raw.execute(statement)
        raw.commit()


def garbage(file: Path) -> None:
    file.write_bytes(b"no database " * 10_000)


def torn(file: Path) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(file)) as raw:
        [page] = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events_auditentry'").fetchone()
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as opened:
        opened.seek((page - 1) * 4096)
        opened.write(b"\xff" * 4096)


def half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def of_an_earlier_release(file: Path) -> None:
    run(
        file,
        "DROP TABLE events_backup",
        "DELETE FROM django_migrations WHERE app = 'events' AND name >= '0033'",
    )


def of_a_later_release(file: Path) -> None:
    run(file, "INSERT INTO django_migrations (app, name, applied) VALUES ('events', '0999_later', '2027-01-01')")


PENDING = len([file for file in Path(migrations.__path__[0]).glob("0*.py") if file.name >= "0033"])
NO_JOBS = ("look", "unattended.jobs", "no process has run them yet")
NO_BACKUP = ("look", "unattended.backups", "none yet; the site makes one each day")
STATES: dict[str, tuple[Callable[[Path], object], list[tuple[str, str, str]]]] = {
    "whole": (Path.stat, [NO_JOBS, NO_BACKUP]),
    "missing": (Path.unlink, [("wrong", "database.connection", "{file} does not exist")]),
    "empty": (lambda file: file.write_bytes(b""), [("wrong", "database.connection", "{file} is empty")]),
    "garbage": (garbage, [("wrong", "database.connection", "file is not a database")]),
    "half of it": (half, [("wrong", "database.connection", "database disk image is malformed")]),
    "an earlier release": (
        of_an_earlier_release,
        [
            (
                "wrong",
                "database.migrations",
                f"{PENDING} pending: events.0033_who_may_see_backups, events.0034_proxy_headers_of_a_day,"
                f" events.0035_alerts and {PENDING - 3} more",
            ),
            ("look", "database.unchecked", "Backups: their tables are of another release"),
            NO_JOBS,
        ],
    ),
    "a later release": (
        of_a_later_release,
        [
            ("wrong", "database.migrations", "the database is of a newer release: it has events.0999_later"),
            NO_JOBS,
            NO_BACKUP,
        ],
    ),
    "open to others": (
        lambda file: file.chmod(0o644),
        [
            ("look", "files.permissions", "other users of this machine may open telemetry.sqlite3 (0644)"),
            NO_JOBS,
            NO_BACKUP,
        ],
    ),
    "a lost total": (
        lambda file: run(file, "INSERT INTO events_lifetimetotal VALUES ('flash_success', 3, 0, 0, 0)"),
        [("wrong", "counts.totals", "flash_success 3 but 0 in its hours"), NO_JOBS, NO_BACKUP],
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_of_the_file_is_reported_and_nothing_is_written(file: Path, state: str) -> None:
    change, expected = STATES[state]
    change(file)
    before = contents(file.parent)
    with opened_to_read(file):
        made = examined()
    assert problems(made) == [(level, name, text.format(file=file)) for level, name, text in expected]
    assert contents(file.parent) == before


def test_a_damaged_page_is_found(file: Path) -> None:
    torn(file)
    with opened_to_read(file):
        made = examined()
    assert made.verdict is Level.WRONG
    [integrity] = [finding for finding in made.findings if finding.name == "database.integrity"]
    assert integrity.level is Level.WRONG
    assert not [finding for finding in made.findings if "this check failed" in finding.text]


def test_a_check_that_takes_too_long_is_stopped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(database.SECONDS, Depth.COMMAND, -1)
    monkeypatch.setattr(database, "PROGRESS_STEPS", 1)
    with opened_to_read(file):
        found = {finding.name: finding for finding in examined().findings}
    assert found["counts.groups"].text == "took too long, and was stopped"
    assert found["counts.groups"].remedy == "Run `manage.py doctor --full`."


def test_a_locked_file_is_reported(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("PRAGMA locking_mode = EXCLUSIVE")
        raw.execute("BEGIN EXCLUSIVE")
        raw.execute("CREATE TABLE another (a)")
        with opened_to_read(file):
            assert problems(examined()) == [("wrong", "database.connection", "database is locked")]


def test_a_log_without_its_index_is_left_to_its_owner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite would create the index for the user of the command, and the site could not open it."""
    file.with_name(f"{file.name}-wal").write_bytes(b"")
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    with opened_to_read(file):
        [connection_, *_] = [f for f in examined().findings if f.name == "database.connection"]
    assert connection_.text == "telemetry.sqlite3-wal has no index, and only its owner may create it"
    assert not file.with_name(f"{file.name}-shm").exists()


def test_a_missing_folder_is_reported(file: Path, settings: Any) -> None:
    settings.DATA_DIR = file.parent / "none"
    settings.SQLITE_FILE = settings.DATA_DIR / file.name
    with opened_to_read(settings.SQLITE_FILE):
        found = problems(examined())
    assert [name for _, name, _ in found] == ["files.data_dir", "database.connection"]


def test_a_server_that_starts_meanwhile_is_noticed(file: Path) -> None:
    with opened_to_read(file):
        database.probe()
        file.with_name(f"{file.name}-wal").touch()
        assert database.was_started_meanwhile()


# --- the counts, on both databases -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_report_only_reads() -> None:
    make_event()
    with CaptureQueriesContext(connection) as queries:
        examined(Depth.PAGE)
    verbs = {query["sql"].split()[0] for query in queries}
    assert verbs <= {"SELECT", "PRAGMA", "SHOW", "SET", "SAVEPOINT", "ROLLBACK", "RELEASE"}
    assert len(queries) < 120
    SiteDay.objects.create(seen_on=clock.today(), database_bytes=1)  # the connection writes again


@pytest.mark.django_db
def test_events_that_are_not_counted_are_found() -> None:
    yesterday_ms = clock.now_ms() // DAY_MS * DAY_MS - 1_000
    make_event(received_at_ms=yesterday_ms)
    make_event(received_at_ms=yesterday_ms, **success())
    rows = [finding for finding in examined().findings if finding.name in ("counts.rows", "counts.totals")]
    assert [finding.text for finding in rows] == [
        "2 events accepted, as many as in all hours",
        "the 2 events of yesterday are all counted",
    ]
    HourlyRollup.objects.filter(event_type="flash_error").update(accepted=5)
    LifetimeTotal.objects.filter(event_type="flash_success").update(accepted=4)
    rows = [finding for finding in examined().findings if finding.name in ("counts.rows", "counts.totals")]
    assert [(finding.level.value, finding.text) for finding in rows] == [
        ("wrong", "flash_error 1 but 5 in its hours, flash_success 4 but 1 in its hours"),
        ("wrong", "the events of yesterday: flash_error 1 but 5 counted"),
    ]


@pytest.mark.django_db
def test_the_clock_is_compared_with_the_newest_events() -> None:
    assert _clock() == ("fine", "2026-11-28 12:00 UTC; there is no event yet")
    make_event(received_at_ms=NOW_MS - 180_000, occurred_at="2026-11-20T12:00:00.000Z")
    assert _clock() == ("fine", "2026-11-28 12:00 UTC; the newest event is 3 min old")
    assert _clock(timedelta(hours=-49)) == (
        "wrong",
        "2026-11-26 11:00 UTC, but the newest event is from 2026-11-28 11:57 UTC, 2 days later",
    )
    quiet = "2026-12-01 12:00 UTC; the newest event is 3 days old"
    assert _clock(timedelta(days=3)) == ("look", f"{quiet}, so nothing of the last day confirms the clock")
    started_ms = NOW_MS + int(2.5 * DAY_MS)
    SiteDay.objects.create(seen_on="2026-12-01", database_bytes=1, started_at_ms=started_ms)
    assert _clock(timedelta(days=3)) == ("fine", quiet)
    for minute in range(2):
        make_event(received_at_ms=NOW_MS, occurred_at=f"2025-11-27T12:{minute:02}:00.000Z")
    assert _clock() == (
        "wrong",
        "2026-11-28 12:00 UTC; the newest event is 0 s old, and most clients were 365 days away from it",
    )


def _clock(later: timedelta = timedelta()) -> tuple[str, str]:
    [finding] = counts.newest(Examination(NOW + later, Depth.PAGE))
    return finding.level.value, finding.text


@pytest.mark.django_db
def test_nothing_of_clients_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    make_event(message="a-secret", model="a-secret", app_version="a-secret")
    RefusedHost.objects.create(seen_on=clock.today(), host="a-secret.example", count=3)
    job = Job("retention", "Delete old events", Daily(3, 0), lambda: "done")
    monkeypatch.setattr(registry, "registered", lambda: {job.name: job})
    JobState.objects.create(name=job.name, due_ms=0, outcome="failed", message="a-secret at 192.0.2.9")
    Backup.objects.create(
        name="a-secret", made_ms=1, file_bytes=1, sha256="", is_encrypted=False, events=1, problem="a-secret"
    )
    site_days.note_proxy_headers(
        clock.today(),
        traffic.as_json(
            traffic.proxy_headers(
                {
                    "HTTP_X_FORWARDED_FOR": "192.0.2.9, 192.0.2.10",
                    "HTTP_X_FORWARDED_PROTO": "a-secret",
                    "HTTP_VIA": "a-secret",
                }
            )
        ),
    )
    text = " ".join(examined().as_text().split())
    assert "3 requests in 7 days had a Host that ALLOWED_HOSTS lacks" in text
    assert "X-Forwarded-For with 2 addresses, X-Forwarded-Proto other, Via" in text
    assert "a-secret" not in text
    assert "192.0.2." not in text


@pytest.mark.django_db
def test_a_broken_check_is_a_finding() -> None:
    def broken(examination: Examination) -> list[Finding]:
        raise ValueError("a-secret")

    checks = [Check("files.one", "One", broken, needs_database=False), Check("counts.two", "Two", broken)]
    findings = list(report._findings(Examination(clock.now(), Depth.PAGE), checks))
    assert [finding.name for finding in findings] == ["files.one", "counts.two"]
    assert {finding.text.partition(" in ")[0] for finding in findings} == {"this check failed: ValueError"}


# --- jobs and backups ------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR_MS = 3_600_000
DONE = {"ended_ms": NOW_MS - HOUR_MS, "succeeded_ms": NOW_MS - HOUR_MS, "outcome": "succeeded"}
JOBS: list[tuple[dict[str, Any] | None, str, str]] = [
    (None, "look", "no process has run them yet"),
    ({"due_ms": NOW_MS + HOUR_MS}, "fine", "1 as planned; none has run yet"),
    ({"due_ms": NOW_MS + HOUR_MS} | DONE, "fine", "1 as planned; the last one ended 60 min ago"),
    ({"due_ms": NOW_MS - HOUR_MS // 10} | DONE, "fine", "1 as planned; the last one ended 60 min ago"),
    ({"due_ms": NOW_MS - 3 * HOUR_MS} | DONE, "wrong", "was due 3 h ago, and no process runs it"),
    (
        {"due_ms": NOW_MS - 3 * HOUR_MS, "holder": "x", "heartbeat_ms": NOW_MS - 1_000} | DONE,
        "fine",
        "1 as planned; the last one ended 60 min ago",
    ),
    (
        {"due_ms": NOW_MS, "holder": "x", "heartbeat_ms": NOW_MS - HOUR_MS},
        "look",
        "its process has been silent for 60 min",
    ),
    (
        {"due_ms": NOW_MS + HOUR_MS} | DONE | {"outcome": "timed_out", "succeeded_ms": NOW_MS - 50 * HOUR_MS},
        "wrong",
        "exceeded its time limit 60 min ago; its last success was 2 days ago",
    ),
    ({"due_ms": NOW_MS + HOUR_MS} | DONE | {"outcome": "failed", "succeeded_ms": None}, "wrong", "failed 60 min ago"),
]


@pytest.mark.django_db
def test_each_state_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("retention", "Delete old events", Daily(3, 0), lambda: "done")
    monkeypatch.setattr(registry, "registered", lambda: {job.name: job})
    for fields, level, text in JOBS:
        JobState.objects.all().delete()
        if fields is not None:
            JobState.objects.create(name=job.name, **fields)
        [finding] = unattended.jobs(Examination(NOW, Depth.PAGE))
        assert (finding.level.value, finding.text) == (level, text)


def backup(days: float, **fields: Any) -> Backup:
    made_ms = NOW_MS - int(days * DAY_MS)
    values = {"file_bytes": 1, "sha256": "x", "is_encrypted": False, "events": 1} | fields
    return Backup(name=f"{days}", made_ms=made_ms, **values)


BACKUPS: list[tuple[list[Backup], int, list[tuple[str, str]]]] = [
    ([], 0, [("look", "none yet; the site makes one each day")]),
    ([], 30, [("wrong", "none: all events are lost if the disk fails")]),
    (
        [backup(0.5, proven_ms=NOW_MS), backup(1.5)],
        30,
        [
            ("fine", "2 kept; the newest is 12 h old"),
            ("fine", "the newest backup that was restored is 12 h old"),
        ],
    ),
    (
        [backup(0.5, is_encrypted=True)],
        1,
        [
            ("fine", "1 kept; the newest is 12 h old, encrypted"),
            ("look", "no backup was restored yet; the site tries one each week"),
        ],
    ),
    (
        [backup(5), backup(40)],
        90,
        [
            ("wrong", "2 kept; the newest is 5 days old"),
            ("wrong", "no backup was ever restored, so none is proven"),
        ],
    ),
    (
        [backup(0.5, problem="one byte differs"), backup(30, proven_ms=NOW_MS - 29 * DAY_MS)],
        90,
        [
            ("wrong", "2 kept; the newest is 12 h old; its check failed"),
            ("look", "the newest backup that was restored is 30 days old; the last drill was 29 days ago"),
        ],
    ),
]


@pytest.mark.django_db
def test_each_state_of_the_backups() -> None:
    for rows, days, expected in BACKUPS:
        Backup.objects.all().delete()
        SiteDay.objects.all().delete()
        Backup.objects.bulk_create(rows)
        SiteDay.objects.create(seen_on=NOW.date() - timedelta(days=days), database_bytes=1)
        found = unattended.backups(Examination(NOW, Depth.PAGE))
        assert [(finding.level.value, finding.text) for finding in found] == expected


COPIES: list[tuple[list[Backup], list[tuple[str, str]]]] = [
    ([], [("look", "none yet in BACKUP_URL")]),
    ([backup(1)], [("look", "none yet in BACKUP_URL")]),
    ([backup(3)], [("wrong", "none yet in BACKUP_URL")]),
    (
        [backup(0.5), backup(1.5, copied_ms=NOW_MS)],
        [("fine", "1 of 2 backups are copied to BACKUP_URL; the newest is 36 h old")],
    ),
    (
        [backup(0.5), backup(2.5), backup(4, copied_ms=NOW_MS)],
        [("wrong", "1 of 3 backups are copied to BACKUP_URL; the newest is 4 days old")],
    ),
    # An unencrypted backup of an earlier time is never copied, and neither is a damaged one.
    (
        [backup(3, problem="x"), backup(5, copied_ms=NOW_MS), backup(9)],
        [("fine", "1 of 3 backups are copied to BACKUP_URL; the newest is 5 days old")],
    ),
]


@pytest.mark.django_db
def test_each_state_of_the_copies(settings: Any) -> None:
    assert list(unattended.copies(Examination(NOW, Depth.PAGE))) == []
    settings.BACKUP_URL = env._parse_copy_target("s3://a-bucket/sites")
    for rows, expected in COPIES:
        Backup.objects.all().delete()
        Backup.objects.bulk_create(rows)
        found = unattended.copies(Examination(NOW, Depth.PAGE))
        assert [(finding.level.value, finding.text) for finding in found] == expected


@pytest.mark.django_db
def test_a_site_that_makes_no_backups_misses_none(settings: Any) -> None:
    settings.NIGHTLY_BACKUP = False
    SiteDay.objects.create(seen_on=NOW.date() - timedelta(days=90), database_bytes=1)
    backup(80).save()
    [finding] = unattended.backups(Examination(NOW, Depth.PAGE))
    assert (finding.level.value, finding.text) == ("fine", "1 kept; NIGHTLY_BACKUP is off, so none is expected")


@pytest.mark.django_db
def test_an_old_backup_is_reported_also_if_all_are_kept(settings: Any) -> None:
    settings.BACKUP_KEEP = None
    backup(5).save()
    finding = next(unattended.backups(Examination(NOW, Depth.PAGE)))
    assert (finding.level.value, finding.text) == ("wrong", "1 kept; the newest is 5 days old")


@pytest.mark.django_db
def test_each_state_of_the_channels_of_alerts() -> None:
    def found() -> list[tuple[str, str]]:
        return [(each.level.value, each.text) for each in unattended.alerts(Examination(NOW, Depth.PAGE))]

    def add(name: str, problem: str = "", *, is_on: bool = True) -> None:
        AlertChannel.objects.create(
            name=name, sealed_url="x", problem=problem, is_on=is_on, service="json", added_at_ms=0, added_by_name="me"
        )

    assert found() == [("fine", "no channel is on")]
    add("off", "The service answered 403 (Forbidden).", is_on=False)
    assert found() == [("fine", "no channel is on")]
    add("good")
    assert found() == [("fine", "channels that are on: 1")]
    add("bad", "The service answered 403 (Forbidden).")
    assert found() == [("look", "the last message failed on 1 of 2 channels")]


# --- proxies ---------------------------------------------------------------------------------------------------------

PROXIES = [
    (0, False, (0, "", ()), "fine", "no header of a proxy"),
    (0, False, (1, "", ()), "wrong", "the site takes the proxy for the client"),
    (0, False, (0, "", ("X-Real-IP",)), "look", "does not send X-Forwarded-For"),
    (1, False, (1, "http", ()), "fine", "X-Forwarded-For with 1 address, X-Forwarded-Proto http"),
    (1, False, (0, "", ()), "wrong", "the page bypassed a proxy"),
    (2, False, (1, "https", ()), "wrong", "the page bypassed a proxy"),
    (1, False, (3, "https", ("Via",)), "look", "a further proxy is in front"),
    (1, True, (1, "https", ()), "fine", "X-Forwarded-Proto https"),
    (1, True, (1, "http", ()), "wrong", "SITE_URL is https, but no proxy says"),
    (1, True, (1, "other", ()), "wrong", "SITE_URL is https, but no proxy says"),
]


@pytest.mark.parametrize(("trusted", "https", "headers", "level", "part"), PROXIES)
def test_the_headers_of_proxies(
    settings: Any, trusted: int, https: bool, headers: tuple[int, str, tuple[str, ...]], level: str, part: str
) -> None:
    settings.TRUSTED_PROXY_COUNT, settings.HTTPS = trusted, https
    finding = traffic.proxies_of(ProxyHeaders(*headers), "this request")
    assert finding.level.value == level
    assert part in finding.text


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_as_text_and_as_json() -> None:
    findings = [
        Finding.look("counts.two", "Two", "long " * 30, "Do that."),
        Finding.fine("versions.site", "Site", "0.2.0"),
        Finding.wrong("counts.one", "One", "a\nline\x00", "Do this."),
        Finding.wrong("old_routes.mode", "Mode", "odd", "Do this."),
    ]
    made = report.of_findings("0.2.0", NOW, findings)
    assert made.as_text() == TEXT
    assert made.as_json() == {
        "format": 1,
        "version": "0.2.0",
        "made_at": "2026-11-28T12:00:00Z",
        "verdict": "wrong",
        "counts": {"wrong": 2, "look": 1, "fine": 1},
        "findings": [
            {"name": "versions.site", "title": "Site", "level": "fine", "text": "0.2.0", "remedy": None},
            {
                "name": "counts.two",
                "title": "Two",
                "level": "look",
                "text": ("long " * 30).strip(),
                "remedy": "Do that.",
            },
            {"name": "counts.one", "title": "One", "level": "wrong", "text": "a line", "remedy": "Do this."},
            {"name": "old_routes.mode", "title": "Mode", "level": "wrong", "text": "odd", "remedy": "Do this."},
        ],
    }


TEXT = """\
Telemetry site 0.2.0, report of 2026-11-28 12:00 UTC
2 wrong, 1 to look at, 1 fine

What to do
  wrong  One: a line.
  wrong  Mode: odd.
         → Do this.
  look   Two: long long long long long long long long long long long long long long long long long
         long long long long long long long long long long long long long.
         → Do that.

Versions
  fine   Site                 0.2.0

Counts
  look   Two                  long long long long long long long long long long long long long long
                              long long long long long long long long long long long long long long
                              long long
  wrong  One                  a line

Old routes
  wrong  Mode                 odd
"""


def test_the_packages_are_those_of_requirements_txt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text('django==1.0 \\\n    --hash=sha256:x\nnone-such==1 ; python_version < "3"\npsycopg[binary]==9\n')
    monkeypatch.setattr(versions, "PINS", pins)
    finding = versions._packages.__wrapped__()
    assert finding.level is Level.LOOK
    assert "django 5.2" in finding.text
    assert " instead of 1.0, psycopg " in finding.text
    assert "none-such" not in finding.text


@pytest.mark.parametrize(
    ("message", "state", "words"),
    [
        (
            'connection to server at "10.0.0.5", port 5432 failed: Connection refused',
            None,
            "the server refuses the connection",
        ),
        ('failed to resolve host "db.example"', None, "the name of the server cannot be resolved"),
        ('FATAL: password authentication failed for user "u"', "28P01", "the server refuses the user or the password"),
        ('database "x" does not exist', "3D000", "the server does not have this database"),
        ("something about 10.0.0.5", None, "no connection"),
        ('relation "x" does not exist', "42P01", "PostgreSQL's error 42P01"),
    ],
)
def test_a_reason_has_no_address(monkeypatch: pytest.MonkeyPatch, message: str, state: str | None, words: str) -> None:
    cause = Exception(message)
    cause.sqlstate = state  # type: ignore[attr-defined]
    error = Exception(message)
    error.__cause__ = cause
    monkeypatch.setattr(DatabaseWrapper, "vendor", "postgresql")
    monkeypatch.setattr(type(connections["default"]), "vendor", "postgresql")
    assert database.reason(error) == words


def test_figures_in_words() -> None:
    assert [age(ms) for ms in (-5, 119_000, 120_000, 7_199_000, 7_200_000, 172_800_000)] == [
        "0 s", "119 s", "2 min", "119 min", "2 h", "2 days",
    ]  # fmt: skip
    assert [size(n) for n in (0, 999, 1_000, 1_048_576, 5 * 1024**4)] == [
        "0 B",
        "999 B",
        "1.0 KiB",
        "1.0 MiB",
        "5.0 TiB",
    ]
    assert clean(" a\n\tb\x1b[31m\u202e ") == "a b [31m"
