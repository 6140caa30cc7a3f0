"""A site on a primary with a synchronous standby: what it acknowledges, and what happens when the primary is lost."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import success
from tests.faults.conftest import FULL, NO_LIMITS, made_open_folder, show
from tests.faults.postgres import Pair, Postgres, own_pair, own_pgbouncer
from tests.faults.proofs import NAMES, expect_nothing_lost
from tests.faults.writers import WRITERS, Writers
from tests.servers import Server, served, served_prepared, wait_until

SEED = 53
# Forms of users list their choices, and an export reads all events.
PAGES = ["/admin/", "/admin/auth/user/1/change/", "/admin/events/event/", "/admin/events/event/export/"]
TOKEN = "a-token-for-tests-" * 2
pytestmark = pytest.mark.needs_postgres_programs


class Site(NamedTuple):
    pair: Pair
    server: Server


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with (
        made_open_folder() as folder,
        own_pair(folder) as pair,
        served(
            folder / "site",
            DATABASE_URL=pair.url,
            REPLICA_URL=pair.standby.url,
            ADMIN_TOKEN=TOKEN,
            THREADS="8",
            **NO_LIMITS,
        ) as server,
    ):
        yield Site(pair, server)


def post(site: Site, event: dict[str, object]) -> tuple[int, bool | None]:
    """Post an event; return the status and `deduped`."""
    status, body = site.server.post("/event", json.dumps(event).encode())
    return status, json.loads(body).get("deduped")


def read_of_staff(site: Site) -> str:
    """Return the database that a read of staff used."""
    with site.server.connect() as connection:
        connection.request("GET", "/metrics/summary", headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["ok"]) == (200, True)
        return str(answer.headers["X-Reads-From"])


def queries_of_pages(standby: Postgres) -> list[tuple[object, ...]]:
    """Return the last queries of the site on the standby that read a table."""
    return standby.run("SELECT query FROM pg_stat_activity WHERE query ~ 'FROM \"?events_'")


@pytest.mark.fault("a replica that is away or behind")
def test_staff_read_from_the_standby_and_fall_back_to_the_primary(site: Site) -> None:
    standby = site.pair.standby
    assert read_of_staff(site) == "replica"
    assert queries_of_pages(standby) != []
    cookies = site.server.sign_in()
    status, page = site.server.get("/admin/", Cookie=cookies)
    assert (status, b"from the primary database" in page) == (200, False)
    status, export = site.server.get("/admin/events/event/export/", Cookie=cookies)
    assert (status, b"telemetry_export" in export) == (200, True)
    standby.stop()
    try:
        assert read_of_staff(site) == "primary"  # at once: the failed read is repeated
        status, page = site.server.get("/admin/", Cookie=cookies)
        assert status == 200
        assert b"The replica does not answer. This page reads from the primary database." in page
    finally:
        standby.start()
    wait_until(lambda: read_of_staff(site) == "replica", "the replica is not used again")
    if FULL:
        standby.run("SELECT pg_wal_replay_pause()")
        assert post(site, success())[0] == 201  # the standby has it on disk, but does not apply it
        wait_until(lambda: read_of_staff(site) == "primary", "a replica that is far behind is used")
        assert b"The replica is too far behind." in site.server.get("/admin/", Cookie=cookies)[1]
        standby.run("SELECT pg_wal_replay_resume()")
        wait_until(lambda: read_of_staff(site) == "replica", "the replica is not used again")


@pytest.mark.fault("a commit that is not replicated")
def test_a_commit_that_only_the_primary_has_is_not_acknowledged(site: Site) -> None:
    """An administrator cancels a commit that waits for the standby. PostgreSQL reports success, with a warning."""
    primary, standby = site.pair
    event = success()
    standby.stop()
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(post, site, event)
        waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_until(lambda: primary.run(f"SELECT pid {waiting}") != [], "no commit waits for the standby")
        primary.run(f"SELECT pg_cancel_backend(pid) {waiting}")
        assert answer.result() == (503, None)
    standby.start()
    assert post(site, event) == (200, True)


@pytest.mark.fault("a primary that becomes read-only")
def test_connections_to_a_demoted_primary_are_closed(site: Site) -> None:
    primary = site.pair.primary
    assert post(site, success())[0] == 201
    ours = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    before = primary.run(ours)
    event = success()
    primary.run("ALTER SYSTEM SET default_transaction_read_only = on")
    primary.run("SELECT pg_reload_conf()")
    wait_until(lambda: post(site, success())[0] == 503, "the site still writes")
    assert post(site, event) == (503, None)
    primary.run("ALTER SYSTEM RESET default_transaction_read_only")
    primary.run("SELECT pg_reload_conf()")
    wait_until(lambda: post(site, event) == (201, False), "the site did not connect again")
    assert set(before) & set(primary.run(ours)) == set()


@pytest.mark.needs_pgbouncer
@pytest.mark.fault("connections of PgBouncer")
def test_a_site_behind_pgbouncer_in_transaction_mode_stores_and_reads(
    site: Site, open_folder: Path, request: pytest.FixtureRequest
) -> None:
    """Events, pages, exports and commands at once, while each statement can reach another connection."""
    events = 5_000 if FULL else 300
    rates = {}
    with (
        own_pgbouncer(open_folder, site.pair.primary) as url,
        served_prepared(open_folder / "site", DATABASE_URL=url, THREADS="8", **NO_LIMITS) as behind,
    ):
        for name, server, series in [("directly", site.server, "a"), ("PgBouncer", behind, "b")]:
            writers = Writers(server.port, seed=SEED, series=series)
            writers.sent.update(str(name) for name, _ in site.pair.primary.run(NAMES))  # the events of the other tests
            cookies = server.sign_in()
            writers.start()
            began_at = time.monotonic()
            for path in PAGES * 2:
                assert server.get(path, Cookie=cookies)[0] == 200, path
            writers.wait_for(events)
            rates[name] = len(writers.acknowledged) / (time.monotonic() - began_at)
            writers.finish()
        figures: dict[str, object] = dict(expect_nothing_lost(behind, writers))
        assert figures["answers of 503"] == figures["other answers from 400 on"] == 0
        log = behind.log.read_text()
        assert "Error" not in log, log
    figures["rate behind PgBouncer, of the direct one"] = f"{rates['PgBouncer'] / rates['directly']:.0%}"
    print(figures)  # noqa: T201
    show(request, figures, f"{len(writers.sent):,} events", ("lost", "rate behind PgBouncer, of the direct one"))


@pytest.mark.fault("a primary that dies")
def test_nothing_acknowledged_is_lost_when_the_standby_takes_over(site: Site, request: pytest.FixtureRequest) -> None:
    primary, standby = site.pair
    writers = Writers(site.server.port, seed=SEED, series="c")
    writers.sent.update(str(name) for name, _ in primary.run(NAMES))  # the events of the other tests
    writers.start()
    writers.wait_for(5_000 if FULL else 300)
    primary.kill_all()
    killed_at = time.monotonic()
    wait_until(lambda: writers.statuses[503] > 0, "no request was refused")
    if FULL:
        time.sleep(30)
    before = len(writers.acknowledged)
    standby.run("SELECT pg_promote()")
    promoted_at = time.monotonic()
    wait_until(lambda: len(writers.acknowledged) > before, "the site never found the new primary")
    found_at = time.monotonic()
    writers.wait_for(before + (5_000 if FULL else 300))
    writers.finish()
    figures: dict[str, object] = dict(expect_nothing_lost(site.server, writers))
    assert writers.unanswered == figures["other answers from 400 on"] == 0
    figures["seconds from the kill to the promotion"] = round(promoted_at - killed_at, 1)
    figures["seconds from the promotion to the first 201"] = round(found_at - promoted_at, 1)
    print(figures)  # noqa: T201 (pytest shows it with -s, and when the test fails)
    result = ("lost", "doubled", "answers of 503", "seconds from the promotion to the first 201")
    show(request, figures, f"{WRITERS} writers, {len(writers.sent):,} events", result)
