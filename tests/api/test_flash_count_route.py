"""`GET /metrics/flash-count`: the public count."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from events import clock
from events.counting import rollups
from events.models import Event
from tests.conftest import make_event, success
from tests.servers import served

pytestmark = pytest.mark.django_db


def test_an_empty_site_counts_nothing(client: Client) -> None:
    answer = client.get("/metrics/flash-count")
    assert answer.status_code == 200
    assert answer.json() == {"ok": True, "total": 0}


def test_the_total_is_the_baseline_and_every_success(client: Client) -> None:
    rollups.set_baseline(412, note="the old counter", user=None, user_name="command", at=clock.now())
    make_event(**success())
    make_event(**success())
    make_event()
    assert client.get("/metrics/flash-count/").json() == {"ok": True, "total": 414}


def test_the_count_is_one_row_whatever_the_number_of_events(client: Client, django_assert_num_queries: Any) -> None:
    make_event(**success())
    with django_assert_num_queries(1) as captured:
        client.get("/metrics/flash-count")
    assert "telemetry_events" not in captured[0]["sql"]


def test_head_has_no_body(client: Client) -> None:
    answer = client.head("/metrics/flash-count")
    assert answer.status_code == 200
    assert answer.content == b""


def test_a_deleted_event_still_counts(client: Client) -> None:
    make_event(**success())
    Event.objects.all().delete()
    assert client.get("/metrics/flash-count").json() == {"ok": True, "total": 1}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_count_is_only_read(client: Client, method: str) -> None:
    answer = client.generic(method, "/metrics/flash-count")
    assert (answer.status_code, answer.json()) == (405, {"ok": False, "error": "Method not allowed"})


# The pauses between two changes of the count by another process, in seconds: within one tick of the clock of the file
# system, and longer than the time for which a change is recent.
PAUSES = [*[0.0, 0.001, 0.004] * 10, 0.06, 0.1, 0.06]


def test_a_kept_count_is_never_older_than_a_commit_of_another_process(tmp_path: Path) -> None:
    with served(tmp_path / "data", READ_RATE="off") as server:
        assert server.post("/event", json.dumps(success()).encode())[0] == 201
        with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", isolation_level=None)) as other:
            shown = []
            for pause in PAUSES:
                time.sleep(pause)
                shown += [json.loads(server.get("/metrics/flash-count")[1])["total"] for _ in range(2)]
                other.execute("UPDATE events_lifetimetotal SET accepted = accepted + 1")
    assert shown == [number for number in range(1, len(PAUSES) + 1) for _ in range(2)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about the files of SQLite")
def test_the_mark_of_a_database_stays_until_somebody_commits(tmp_path: Path) -> None:
    ours: Any = connection.copy()
    ours.settings_dict = connection.settings_dict | {"NAME": str(tmp_path / "site.sqlite3")}
    assert ours.change_mark() is None  # not connected
    with closing(ours), closing(sqlite3.connect(ours.settings_dict["NAME"], isolation_level=None)) as other:
        ours.ensure_connection()
        other.execute("CREATE TABLE counts (number)")
        assert ours.change_mark() is None  # changed just now
        time.sleep(0.1)
        mark = ours.change_mark()
        assert mark is not None
        assert ours.change_mark() == mark
        other.execute("INSERT INTO counts VALUES (1)")
        time.sleep(0.1)
        assert ours.change_mark() not in (None, mark)
        ours.set_autocommit(False)
        ours.in_atomic_block = True
        assert ours.change_mark() is None  # may have changed rows itself
        ours.in_atomic_block = False
