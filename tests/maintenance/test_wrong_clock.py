"""A clock that is ahead deletes nothing, and leaves nothing behind when it is right again."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from events import clock
from events.counting import site_days
from events.ingest import refused_hosts, tokens
from events.maintenance import retention
from events.models import AuditEntry, Event, IngestToken, RefusedHost, RetentionMark, SiteDay
from events.reports import metrics
from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db

TODAY = datetime(2026, 11, 26, 12, tzinfo=UTC)
FAR_AHEAD = datetime(2099, 1, 1, 12, tzinfo=UTC)
LONG_AGO = TODAY - timedelta(days=200)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(clock, "now", lambda: moment)


def receive(at: datetime, *, sent_at: datetime | None = None, count: int = 1) -> None:
    """Store events that came at a moment, and were sent at one by the clock of the client."""
    for _ in range(count):
        make_event(**success(occurred_at=(sent_at or at).isoformat()), received_at_ms=ms(at))


def prune(*args: str) -> str:
    out = io.StringIO()
    call_command("prune_events", "--older-than-days", "90", *args, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def start_on(*moments: datetime) -> None:
    for moment in moments:
        site_days.note_start(moment)


# Which signs there are, and whether they confirm the clock. Every case has an old event that a prune would delete.
SIGNS: dict[str, tuple[datetime, Any, bool]] = {
    "an event of an hour ago": (TODAY, lambda: receive(TODAY - timedelta(hours=1)), True),
    "an event of a day ago": (TODAY, lambda: receive(TODAY - timedelta(days=1)), True),
    "an event of more than a day ago": (TODAY, lambda: receive(TODAY - timedelta(days=1, seconds=1)), False),
    "an event that waited a week in its client": (
        TODAY, lambda: receive(TODAY, sent_at=TODAY - timedelta(days=7)), True,
    ),
    "a start of an hour ago": (TODAY, lambda: start_on(TODAY - timedelta(hours=1)), True),
    "a start of more than a day ago": (TODAY, lambda: start_on(TODAY - timedelta(days=2)), False),
    "a start after half a year without one": (
        TODAY, lambda: start_on(TODAY - timedelta(days=180), TODAY - timedelta(hours=1)), True,
    ),
    "nothing": (TODAY, lambda: None, False),
    "a clock far ahead, and signs of the right time": (
        FAR_AHEAD, lambda: (receive(TODAY), start_on(TODAY)), False,
    ),
    "a clock two days ahead, and signs of the right time": (
        TODAY + timedelta(days=2), lambda: (receive(TODAY), start_on(TODAY)), False,
    ),
    "events that came under the wrong clock": (FAR_AHEAD, lambda: receive(FAR_AHEAD, sent_at=TODAY, count=5), False),
    "one client whose clock is as wrong as ours": (
        FAR_AHEAD, lambda: (receive(FAR_AHEAD), receive(FAR_AHEAD, sent_at=TODAY, count=2)), False,
    ),
    "a start under the wrong clock": (FAR_AHEAD, lambda: start_on(TODAY, FAR_AHEAD), False),
    "two starts under the wrong clock": (
        FAR_AHEAD, lambda: start_on(TODAY, FAR_AHEAD - timedelta(days=1), FAR_AHEAD), False,
    ),
    "a first start under the wrong clock, after an upgrade": (FAR_AHEAD, lambda: start_on(FAR_AHEAD), False),
    "an event from the future": (TODAY, lambda: receive(FAR_AHEAD, sent_at=FAR_AHEAD), False),
    "a start in the future": (TODAY, lambda: start_on(FAR_AHEAD), False),
    "signs in the future beside a fresh one": (
        TODAY, lambda: (receive(FAR_AHEAD, sent_at=TODAY, count=5), start_on(TODAY, FAR_AHEAD)), True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNS)
def test_a_prune_wants_a_sign_that_the_clock_is_right(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    now, happen, is_confirmed = SIGNS[case]
    receive(LONG_AGO)
    happen()
    before = Event.objects.count()
    set_clock(monkeypatch, now)
    if is_confirmed:
        assert "deleted: events 1." in prune()
        assert Event.objects.count() == before - 1
        return
    assert "would be refused without --yes-i-mean-it: no event and no start" in prune("--dry-run")
    with pytest.raises(CommandError, match=f"confirms that it is {now:%Y-%m-%d}"):
        prune()
    assert Event.objects.count() == before
    assert not RetentionMark.objects.exists()
    assert not AuditEntry.objects.exists()
    prune("--yes-i-mean-it")
    assert Event.objects.count() < before


def test_a_prune_that_finds_nothing_old_asks_for_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    receive(TODAY - timedelta(days=30))
    set_clock(monkeypatch, TODAY)
    assert "deleted: nothing." in prune()


def test_a_mark_in_the_future_is_read_as_today_and_mended_by_the_next_prune(monkeypatch: pytest.MonkeyPatch) -> None:
    receive(LONG_AGO)
    set_clock(monkeypatch, FAR_AHEAD)
    prune("--yes-i-mean-it")
    set_clock(monkeypatch, TODAY)
    receive(TODAY)
    midnight_ms = metrics.day_start_ms(TODAY.date())
    assert RetentionMark.objects.get().whole_since_ms > ms(TODAY)
    assert retention.whole_since_ms() == midnight_ms
    prune()
    assert RetentionMark.objects.get().whole_since_ms == midnight_ms


def test_a_prune_sets_no_mark_in_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    receive(LONG_AGO)
    set_clock(monkeypatch, TODAY)
    list(retention.prune(ms(FAR_AHEAD), imported_too=False, who="olga", at=TODAY, why=""))
    assert RetentionMark.objects.get().whole_since_ms == metrics.day_start_ms(TODAY.date())


def test_refused_hosts_stay_under_a_wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for now in (TODAY, FAR_AHEAD):
        set_clock(monkeypatch, now)
        refused_hosts.note("old.example", ms(now))
        with refused_hosts.taken() as waiting:
            refused_hosts.write(waiting)
    assert set(RefusedHost.objects.filter(host="old.example").values_list("seen_on", flat=True)) == {
        TODAY.date(), FAR_AHEAD.date(),
    }  # fmt: skip


def test_the_days_of_the_site_are_kept_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_days, "DAYS_KEPT", 3)
    start_on(*(TODAY + timedelta(days=days) for days in range(4)), FAR_AHEAD)
    assert [f"{day:%Y-%m-%d}" for day in SiteDay.objects.order_by("seen_on").values_list("seen_on", flat=True)] == [
        "2026-11-28", "2026-11-29", "2099-01-01",
    ]  # fmt: skip


def test_made_up_events_go_by_what_they_are_and_not_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    receive(TODAY)
    set_clock(monkeypatch, FAR_AHEAD)
    assert list(retention.delete_made_up()) == []
    assert Event.objects.count() == 1


def test_a_token_is_over_only_while_the_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, TODAY)
    token = tokens.issue("web", who="olga", now=TODAY, expires_at=TODAY + timedelta(days=30))
    set_clock(monkeypatch, FAR_AHEAD)
    assert not tokens.admit(token)
    set_clock(monkeypatch, TODAY)
    assert tokens.admit(token)


def test_the_last_use_of_a_token_does_not_stay_in_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, FAR_AHEAD)
    token = tokens.issue("web", who="olga", now=TODAY, expires_at=None)
    assert tokens.admit(token)
    set_clock(monkeypatch, TODAY)
    assert tokens.admit(token)
    assert IngestToken.objects.get().last_used_at == TODAY


def test_the_last_event_on_the_overview_is_none_from_the_future(client: Client) -> None:
    sign_in(client, "Staff")
    now = clock.now()
    receive(now - timedelta(hours=3))
    receive(now + timedelta(days=9_000))
    assert client.get("/admin/").context["last_received_at_ms"] == ms(now - timedelta(hours=3))


def test_with_events_from_the_future_alone_the_overview_is_that_of_a_site_with_events(client: Client) -> None:
    sign_in(client, "Staff")
    receive(clock.now() + timedelta(days=9_000))
    assert "No event yet" not in client.get("/admin/").content.decode()
