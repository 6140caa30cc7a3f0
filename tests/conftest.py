"""What every test may use: a clean process, payloads, stored events."""

import fcntl
import gc
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache as once
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.cache import caches
from django.db import connection, transaction
from django.test import Client, override_settings

from events import clock, process_memory
from events.ingest import contract, writer
from events.models import Event
from tests.browser.chromium import find_chromium
from tests.faults.disks import can_mount
from tests.faults.postgres import find_pgbouncer, find_programs
from tests.other_process import end_all
from tests.redis_databases import own_redis_database
from tests.s3 import Service, running
from tests.servers import inherited, served

# The queries of `events.maintenance.banners` on each page of a site that has no rows of jobs and backups yet.
BANNER_QUERIES = 5
# The query of the saved views in the navigation, on each page of the admin.
VIEW_QUERIES = 1

_sessions = itertools.count(1)

gc.disable()  # collecting the tests makes many objects and no garbage

# A shell that runs the tests in the background lets them ignore these, and so would every server that a test starts.
for _signal, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one and a half to a processor: many tests wait for another process, or for somebody's deadline."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.scheduling import SharedFixtures  # imports xdist, which `make fuzz` does without

    return SharedFixtures(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases", type=int, help="run at most CASES cases of each test, evenly spread over its parameters"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, leave out the tests that use no database of the run: `make test` runs the same code."""
    selected = items[:]
    if connection.vendor == "postgresql":
        selected = [item for item in selected if uses_database(item)]
    if cases := config.getoption("cases"):
        selected = spread(selected, cases)
    kept = set(selected)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = selected


def spread(items: list[pytest.Item], cases: int) -> list[pytest.Item]:
    """Return at most `cases` items of each test, among them the first and, of several, the last."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = set()
    for of_test in tests.values():
        last = len(of_test) - 1
        kept |= {of_test[round(number * last / max(cases - 1, 1))] for number in range(cases)}
    return [item for item in items if item in kept]


def pytest_collection_finish() -> None:
    """Exclude all items and modules from garbage collection: they live as long as the process."""
    gc.freeze()
    gc.enable()


def uses_database(item: pytest.Item) -> bool:
    marked = item.get_closest_marker("django_db") or item.get_closest_marker("uses_database_url")
    return bool(marked) or "db" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any, monkeypatch_session: pytest.MonkeyPatch) -> None:
    """Let a test that has transactions of its own delete the rows of every table, the append-only one too.

    On PostgreSQL, Django truncates the tables, which makes new files for each of them and takes three seconds.
    """
    if connection.vendor == "postgresql":

        def deletions(style: Any, tables: Any, **options: Any) -> list[str]:
            return [f"DELETE FROM {connection.ops.quote_name(table)}" for table in tables]

        monkeypatch_session.setattr(connection.ops, "sql_flush", deletions)
    of_engine = {
        "sqlite": ["DROP TRIGGER events_auditentry_no_update", "DROP TRIGGER events_auditentry_no_delete"],
        "postgresql": ["DROP TRIGGER events_auditentry_append_only ON events_auditentry"],
    }
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for statement in of_engine[connection.vendor]:
            cursor.execute(statement)


@pytest.fixture(scope="session")
def monkeypatch_session() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(autouse=True)
def _clean_process() -> None:
    """Forget what the process remembers between requests: the database is fresh, so memory must be."""
    forget_everything()


@pytest.fixture(scope="session")
def s3() -> Iterator[Service]:
    """Return an S3-compatible service with an empty bucket. Each test uses a prefix of its own."""
    with running() as service:
        yield service


@contextmanager
def rolled_back() -> Iterator[None]:
    """Take back what happens within, in the database and in the memory of the process, so that a test goes on."""
    savepoint = transaction.savepoint()
    yield
    transaction.savepoint_rollback(savepoint)
    forget_everything()


def forget_everything() -> None:
    process_memory.clear()
    for cache in caches.all():
        cache.clear()


@pytest.fixture(autouse=True)
def _no_command_outlives_its_test() -> Iterator[None]:
    yield
    end_all()


def payload(**changes: Any) -> dict[str, Any]:
    """Return a valid body of `POST /event` with `changes`; a change to `...` leaves the field out."""
    body: dict[str, Any] = {
        "event_type": "flash_error",
        "occurred_at": "2026-02-12T18:00:00.000Z",
        "message": "No ACK for block 0x001f (got 0x15)",
        "model": "UV-5RM",
        "write_mode": 1,
        "connected": 1,
        "app_version": "19afc18",
    } | changes
    return {name: value for name, value in body.items() if value is not ...}


def success(**changes: Any) -> dict[str, Any]:
    """Return a valid success of a session of its own."""
    return payload(
        **{
            "event_type": "flash_success",
            "session_id": f"session-{next(_sessions)}",
            "message": "Flash complete",
        }
        | changes
    )


def make_event(*, received_at_ms: int | None = None, **changes: Any) -> Event:
    """Store an event through the writer, as a request would, and return its row."""
    row = contract.parse(payload(**changes), received_at_ms=received_at_ms or clock.now_ms())
    outcome = writer.record(row)
    assert outcome.stored
    return Event.objects.get(id=outcome.id)


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """Post a body as a browser does: an object becomes JSON, text and bytes go as they are."""

    def post_to(path: str, body: Any, content_type: str = "application/json", **headers: str) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return client.post(path, data, content_type=content_type, headers=headers)

    return post_to


def run_apart(code: str, *, project: Path = settings.BASE_DIR, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code on the site's own settings, in a process that knows no variable but these."""
    known = {
        **inherited(),
        "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
        "PYTEST_VERSION": pytest.__version__,  # no .env is read
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=known | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def started_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a site that was started once and stopped; all workers of a run share it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    site = folder / "started-site"
    with (folder / "started-site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not site.exists():
            with served(folder / "first-start"):
                pass
            (folder / "first-start").rename(site)
    return site


@pytest.fixture(scope="session")
def make_data_dir(started_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Make the data folder of a site that was started before: a server on it migrates nothing and makes nobody."""
    return lambda: shutil.copytree(started_site, tmp_path_factory.mktemp("site") / "data")


@pytest.fixture
def data_dir(make_data_dir: Callable[[], Path]) -> Path:
    return make_data_dir()


# --- what some tests need beside Python ------------------------------------------------------------------------------

_MISSING = "not on this machine: "
_HOW_TO_GET = {
    "PostgreSQL": "docker run -d -p 127.0.0.1:5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres:16",
    "programs of PostgreSQL": "apt-get install postgresql",
    "Redis": "docker run -d -p 127.0.0.1:6379:6379 redis:7",
    "Chromium": "apt-get install chromium chromium-driver",
    "Firefox": "apt-get install firefox-esr",
    "npm": "apt-get install nodejs npm",
    "PgBouncer": "apt-get install pgbouncer",
    "faketime": "apt-get install faketime",
    "systemd": "apt-get install systemd",
    "curl and jq": "apt-get install curl jq",
    "the right to mount a disk": "sudo make test",
}


@once
def find_postgres() -> str | None:
    """Return the address of a PostgreSQL server on which databases may be made, None when there is none."""
    asked_for = [os.environ.get("TEST_POSTGRES_URL"), os.environ.get("DATABASE_URL")]
    local = [f"postgres://{role}@127.0.0.1:5432/postgres" for role in ("postgres", "root")]
    for url in [url for url in asked_for if url] or local:
        try:
            psycopg.connect(url, connect_timeout=3).close()
        except psycopg.OperationalError:
            continue
        return url
    return None


@once
def find_redis() -> str | None:
    """Return the address of a Redis database for this worker alone, None when there is no server."""
    named = os.environ.get("TEST_REDIS_URL") or "redis://127.0.0.1:6379/8"
    # The settings have made CACHE_URL this worker's already.
    for url in filter(None, (os.environ.get("CACHE_URL"), own_redis_database(named))):
        server = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
        try:
            server.ping()
        except redis.RedisError:
            continue
        finally:
            server.close()
        return url
    return None


@once
def find_firefox() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


@once
def find_npm() -> str | None:
    return shutil.which("npm")


@once
def find_faketime() -> str | None:
    return shutil.which("faketime")


@once
def find_jq() -> str | None:
    return shutil.which("curl") and shutil.which("jq")


@once
def find_systemd() -> str | None:
    return shutil.which("systemd-analyze")


@once
def find_git() -> str | None:
    return shutil.which("git")


@once
def find_small_disk() -> bool | None:
    return can_mount() or None


_FINDERS = {
    "needs_postgres": ("PostgreSQL", find_postgres),
    "needs_postgres_programs": ("programs of PostgreSQL", find_programs),
    "needs_redis": ("Redis", find_redis),
    "needs_small_disk": ("the right to mount a disk", find_small_disk),
    "needs_chromium": ("Chromium", find_chromium),
    "needs_firefox": ("Firefox", find_firefox),
    "needs_npm": ("npm", find_npm),
    "needs_git": ("git", find_git),
    "needs_pgbouncer": ("PgBouncer", find_pgbouncer),
    "needs_faketime": ("faketime", find_faketime),
    "needs_systemd": ("systemd", find_systemd),
    "needs_jq": ("curl and jq", find_jq),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (name, find) in _FINDERS.items():
        if item.get_closest_marker(marker) and find() is None:
            # Where CI runs may forbid to mount; whatever else is missing it can install.
            if os.environ.get("CI") == "true" and marker != "needs_small_disk":
                pytest.fail(f"{_MISSING}{name}, which CI must have", pytrace=False)
            pytest.skip(_MISSING + name)


@pytest.fixture
def postgres_url() -> str:
    """Return the address of the PostgreSQL server; for tests marked `needs_postgres`."""
    url = find_postgres()
    assert url
    return url


@pytest.fixture
def redis_url() -> str:
    """Return the address of the Redis server; for tests marked `needs_redis`."""
    url = find_redis()
    assert url
    return url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for name, command in _HOW_TO_GET.items():
        count = sum(_MISSING + name in reason for reason in skipped)
        if count:
            terminalreporter.section(f"{count} tests were skipped: they need {name}")
            terminalreporter.line(f"This machine has none. This brings it; then run the tests again:\n  {command}")


def pytest_unconfigure() -> None:
    shutil.rmtree(settings.DATA_DIR, ignore_errors=True)


def text_of(answer: Any) -> str:
    """Return a page's markup with every run of white space as one space."""
    return " ".join(answer.content.decode().split())


def sign_in(client: Client, role: str | None = None) -> User:
    """Sign in as someone of staff, in the group `Staff` or `Maintainers`, or without any right."""
    user = User.objects.create_user(f"someone-{role or 'else'}", is_staff=True)
    if role:
        user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return user


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Load the SQL of an export as an import does, and close what was loaded at the end."""
    from legacy.imports import d1_staging

    staged = []

    def stage_sql(sql: str) -> Any:
        (tmp_path / "export.sql").write_text(sql, encoding="utf-8")
        staged.append(d1_staging.stage(tmp_path / "export.sql", tmp_path / "scratch", lambda _: None))
        return staged[-1]

    yield stage_sql
    for one in staged:
        one.connection.close()


@pytest.fixture(params=["in this process", pytest.param("in Redis", marks=pytest.mark.needs_redis)])
def memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the counts in each of the two places, one after the other."""
    backend: dict[str, Any] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "attempts"}
    if request.param == "in Redis":
        url = request.getfixturevalue("redis_url")
        backend = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
    with override_settings(CACHES={"default": backend | {"KEY_PREFIX": uuid.uuid4().hex}}):
        yield


def turn_clock_to(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr("events.clock.now", lambda: datetime.fromtimestamp(seconds, UTC))
