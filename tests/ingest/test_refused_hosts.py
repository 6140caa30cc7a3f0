"""Refused hosts: counted by name, bounded in memory and rows, and named to those who can mend it."""

import io
import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings

from events import clock, process_memory
from events.counting import site_days
from events.counting.buckets import DAY_MS, OTHER
from events.ingest import refused_hosts, writer
from events.ingest.group_commit import StorageUnavailable
from events.models import RefusedHost
from tests.conftest import make_event, payload, sign_in, text_of
from tests.other_process import manage, shared_site
from tests.refusals import counted
from tests.storage import read_only_database

pytestmark = pytest.mark.django_db
OLD = "log.example.org"
ADVICE = "Add them to ALLOWED_HOSTS if they are yours."


def rows(day: date | None = None) -> dict[str, int]:
    """Return the rows of a day, today by default, after writing the pending counts."""
    writer.flush_refusals()
    stored = RefusedHost.objects.filter(seen_on=day or clock.today()).order_by("-count", "host")
    return dict(stored.values_list("host", "count"))


def refuse(host: str, times: int = 1, *, at_ms: int | None = None) -> None:
    for _ in range(times):
        refused_hosts.note(host, at_ms or clock.now_ms())


@pytest.mark.parametrize(
    "path",
    ["/event", "/event/batch/", "/client-log", "/count", "/metrics/flash-count", "/badge.svg", "/stats", "/health",
     "/failures", "/", "/admin/", "/admin/login/", "/admin/events/event/", "/api/", "/nowhere"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_host_is_counted_on_every_route(client: Client, method: str, path: str) -> None:
    body = json.dumps(payload())
    answer = client.generic(method, path, body, content_type="application/json", headers={"host": f"{OLD}:8443"})
    assert (answer.status_code, answer.json()) == (400, {"ok": False, "error": "Host not allowed"})
    assert counted() == {"host": 1}
    assert rows() == {OLD: 1, OTHER: 0}


def test_a_redirect_to_https_is_refused_and_counted_too(client: Client) -> None:
    with override_settings(SECURE_SSL_REDIRECT=True):
        assert Client().get("/admin/", headers={"host": OLD}).status_code == 400
    assert counted() == {"host": 1}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Log.Example.ORG", OLD),
        ("log.example.org.", OLD),
        ("log.example.org:8443", OLD),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("a b", "a b"),
        ("evil\x1b[2J\x00\r\n\x9b\u202e\u200bhost", "evil[2Jhost"),
        ("x" * 300, "x" * 255),
        ("<b>evil</b>", "<b>evil</b>"),
        ("", "(none)"),
        ("\x00", "(none)"),
    ],
)
def test_a_host_is_kept_as_the_setting_would_name_it(sent: str, kept: str) -> None:
    refuse(sent)
    assert rows() == {kept: 1, OTHER: 0}


def test_a_host_that_is_called_other_is_among_the_others() -> None:
    refuse(OTHER, 3)
    assert rows() == {OTHER: 3}


# --- bounds -------------------------------------------------------------------------------------------------------


def test_a_day_has_twenty_names_and_counts_the_rest_as_others() -> None:
    for number in range(30):
        refuse(f"host-{number:02}", 40 - number)
    kept = rows()
    assert kept == {f"host-{number:02}": 40 - number for number in range(20)} | {OTHER: sum(range(11, 21))}


@pytest.mark.parametrize("refused_at_once", [1, 50, 5_000], ids=lambda number: f"{number} a commit")
def test_a_flood_of_random_names_does_not_push_out_a_steady_one(refused_at_once: int) -> None:
    """The flood comes first and fills all rows; one of 50 is the steady name."""
    total = min(6_000, 1_500 * refused_at_once)  # a commit for each name takes long
    for number in range(total):
        refuse(OLD if number % 50 == 49 else f"random-{number}")
        if number % refused_at_once == 0:
            writer.flush_refusals()
    kept = rows()
    assert next(name for name in kept if name != OTHER) == OLD
    assert kept[OLD] == total // 50
    assert len(kept) == refused_hosts.MOST_A_DAY + 1
    assert sum(kept.values()) == total


def test_memory_is_bounded() -> None:
    for number in range(5 * refused_hosts.MOST_IN_MEMORY):
        refuse(f"random-{number}")
    [day] = refused_hosts._days.values()
    assert len(day.names) <= refused_hosts.MOST_IN_MEMORY
    assert len(day.waiting) <= refused_hosts.MOST_IN_MEMORY
    assert sum(rows().values()) == 5 * refused_hosts.MOST_IN_MEMORY


def test_a_day_in_memory_ends_with_the_day_after() -> None:
    now_ms = clock.now_ms()
    for days in (3, 2, 1, 0):
        refuse(OLD, at_ms=now_ms - days * DAY_MS)
    assert sorted(refused_hosts._days) == [clock.today() - timedelta(days=1), clock.today()]


def test_a_name_that_is_stored_goes_on_after_a_restart() -> None:
    refuse(OLD, 5)
    assert rows()[OLD] == 5
    process_memory.clear()
    refuse(OLD, 2)
    assert rows() == {OLD: 7, OTHER: 0}


def test_rows_go_after_ninety_days() -> None:
    site_days.note_start(clock.now())
    for days in (91, 90, 89):
        refuse(OLD, at_ms=clock.now_ms() - days * DAY_MS)
        writer.flush_refusals()
    assert RefusedHost.objects.filter(host=OLD).count() == 3
    refuse(OLD)
    writer.flush_refusals()
    kept = RefusedHost.objects.filter(host=OLD).order_by("seen_on").values_list("seen_on", flat=True)
    assert [(clock.today() - day).days for day in kept] == [90, 89, 0]


def test_an_event_takes_along_what_waits() -> None:
    refuse(OLD)
    make_event()
    assert RefusedHost.objects.get(host=OLD).count == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_or_counted_twice_when_the_database_takes_no_writes() -> None:
    refuse(OLD, 3)
    for number in range(25):
        refuse(f"another-{number}", 2)
    with read_only_database(), pytest.raises(StorageUnavailable):
        writer.flush_refusals()
    refuse(OLD, 4)
    kept = rows()
    assert (kept[OLD], sum(kept.values())) == (7, 7 + 50)


REFUSING = f"""
from events import clock
from events.ingest import refused_hosts, writer
for number in range(40):
    refused_hosts.note("{OLD}", clock.now_ms())
    refused_hosts.note(f"random-{{clock.now_ms()}}-{{number}}", clock.now_ms())
    writer.flush_refusals()
"""


@pytest.mark.django_db(transaction=True)
def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    environment = shared_site(tmp_path / "data")
    running = [manage(environment, "shell", "--no-imports", "-c", REFUSING) for _ in range(3)]
    for process in running:
        _, complaints = process.communicate()
        assert process.returncode == 0, complaints
    kept = rows()
    assert (kept[OLD], sum(kept.values()), len(kept)) == (120, 240, 21)


# --- the overview ---------------------------------------------------------------------------------------------------


def test_the_overview_names_them_also_before_the_first_event(client: Client) -> None:
    sign_in(client, "Staff")
    assert "Refused hosts" not in text_of(client.get("/admin/"))
    refuse(OLD, 1_204)
    refuse("<b>evil</b>", 3)
    refuse("too old", at_ms=clock.now_ms() - 7 * DAY_MS)
    refuse("six days ago", 9, at_ms=clock.now_ms() - 6 * DAY_MS)
    writer.flush_refusals()
    process_memory.clear()  # the overview reads the hosts once in some seconds
    for event in (None, payload()):
        if event:
            make_event(**event)
        text = text_of(client.get("/admin/"))
        assert (
            f"The site refused requests for these host names: <bdi>{OLD}</bdi> (1,204), <bdi>six days ago</bdi> (9),"
            " <bdi>&lt;b&gt;evil&lt;/b&gt;</bdi> (3). Add your own ones to <code>ALLOWED_HOSTS</code>."
        ) in text
        assert "too old" not in text


def test_no_more_than_twenty_are_named() -> None:
    for days in range(3):
        for number in range(15):
            refuse(f"host-{days}-{number:02}", 100 - number, at_ms=clock.now_ms() - days * DAY_MS)
    writer.flush_refusals()
    named = refused_hosts.most_refused(clock.today() - timedelta(days=6), clock.today() + timedelta(days=1))
    assert len(named) == 21
    assert list(named)[-1] == OTHER
    assert sum(named.values()) == 3 * sum(range(86, 101))


def test_check_parity_names_them_and_does_not_count_them_as_refused_events(
    client: Client, post: Callable[..., Any]
) -> None:
    make_event()
    for _ in range(3):
        client.get("/", headers={"host": OLD})
    client.get("/count", headers={"host": "evil\x1b[2J"})
    writer.flush_refusals()

    def check(*options: str) -> str:
        said = io.StringIO()
        with pytest.raises(SystemExit):
            call_command("check_parity", *options, stdout=said)
        return said.getvalue()

    said = check()
    assert f"Refused because of their host name in the last 7 days: {OLD} (3), evil[2J (1). {ADVICE}" in said
    assert "Refused at ingest: 0.0% (none)." in said
    assert json.loads(check("--json"))["refused_hosts"] == {OLD: 3, "evil[2J": 1}
    RefusedHost.objects.all().delete()
    assert "host name" not in check()
