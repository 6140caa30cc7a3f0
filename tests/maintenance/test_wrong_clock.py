"""A clock that is ahead deletes nothing, and leaves nothing behind when it is right again."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from events import clock
from events.counting import buckets, releases, site_days
from events.grouping import triage
from events.ingest import refused_hosts, tokens
from events.maintenance import retention
from events.models import (
    AuditEntry,
    Event,
    FailureGroup,
    HourlyRollup,
    IngestToken,
    RefusedHost,
    RetentionMark,
    SiteDay,
)
from events.reports import metrics
from tests.conftest import make_event, sign_in, success
from tests.tokens import admit

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
    assert list(retention.delete_demo()) == []
    assert Event.objects.count() == 1


def test_a_token_is_over_only_while_the_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, TODAY)
    token = tokens.issue("web", who="olga", now=TODAY, expires_at=TODAY + timedelta(days=30))
    set_clock(monkeypatch, FAR_AHEAD)
    assert not admit(token)
    set_clock(monkeypatch, TODAY)
    assert admit(token)


def test_the_last_use_of_a_token_does_not_stay_in_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, FAR_AHEAD)
    token = tokens.issue("web", who="olga", now=TODAY, expires_at=None)
    assert admit(token)
    set_clock(monkeypatch, TODAY)
    assert admit(token)
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


# --- when something was seen, for the last time or the first ---------------------------------------------------------

EARLIER = TODAY - timedelta(hours=3, minutes=20)


def fail(at: datetime, message: str = "No ACK") -> Event:
    return make_event(message=message, received_at_ms=ms(at), occurred_at=at.isoformat())


def seen_under_both_clocks() -> None:
    fail(EARLIER)
    fail(FAR_AHEAD)


def seen_before_the_hours_alone_tell() -> None:
    seen_under_both_clocks()
    Event.objects.filter(received_at_ms=ms(EARLIER)).delete()


def seen_under_the_wrong_clock_alone() -> None:
    fail(FAR_AHEAD)


def seen_again() -> None:
    """The failure comes again under the right clock."""
    fail(FAR_AHEAD)
    fail(EARLIER)


# When a group was seen, and what its first and its last time is for a reader under the right clock.
SEEN: dict[str, tuple[Any, datetime, datetime]] = {
    "under both clocks": (seen_under_both_clocks, EARLIER, EARLIER),
    "with an event that was pruned": (
        seen_before_the_hours_alone_tell, EARLIER, EARLIER.replace(minute=0),
    ),
    "under the wrong clock alone": (seen_under_the_wrong_clock_alone, TODAY, TODAY),
    "again": (seen_again, EARLIER, EARLIER),
}  # fmt: skip


def times(markup: str, before: str) -> list[str]:
    """Return each moment that stands right behind these words."""
    return re.findall(before + r'<time datetime="([^"]+)"', " ".join(markup.split()))


def page(client: Client, path: str, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def in_the_list(client: Client, key: str) -> tuple[list[str], list[str]]:
    markup = page(client, GROUPS)
    return times(markup, '<td class="first when">'), times(markup, '<td class="last when">')


def on_the_page_of_the_group(client: Client, key: str) -> tuple[list[str], list[str]]:
    markup = page(client, f"{GROUPS}{key}/")
    assert "2099" not in markup.partition('<div class="group-names">')[2].partition("</div>")[0]
    return times(markup, "since [0-9-]+, "), times(markup, "last seen ")


def before_a_decision(client: Client, key: str) -> tuple[None, list[str]]:
    return None, times(page(client, f"{GROUPS}decide/", id=key, action="mute"), r"events?</span> ?")


def among_the_groups_of_a_search(client: Client, key: str) -> tuple[None, list[str]]:
    markup = page(client, "/admin/events/event/", q="No ACK")
    return None, times(markup.partition('id="groups-found"')[2].partition("</section>")[0], r"events?</span> ?")


def on_the_page_of_an_event(client: Client, key: str) -> tuple[list[str], None]:
    event = Event.objects.newest_first().first()
    assert event is not None
    return times(page(client, f"/admin/events/event/{event.pk}/"), ", first seen "), None


def in_the_file(client: Client, key: str) -> tuple[list[str], list[str]]:
    answer = client.get(f"{GROUPS}export/")
    (row,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig")))
    return [row["first_seen"]], [row["last_seen"]]


GROUPS = "/admin/events/failuregroup/"
READERS = {reader.__name__.replace("_", " "): reader for reader in (
    in_the_list, on_the_page_of_the_group, before_a_decision, among_the_groups_of_a_search, on_the_page_of_an_event,
    in_the_file,
)}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", SEEN)
def test_a_group_is_never_seen_in_the_future(
    client: Client, monkeypatch: pytest.MonkeyPatch, case: str, reader: str
) -> None:
    happen, first, last = SEEN[case]
    happen()
    set_clock(monkeypatch, TODAY)
    sign_in(client, "Maintainers")
    shown = READERS[reader](client, FailureGroup.objects.get().pk)
    expected = ([clock.iso(ms(first))], [clock.iso(ms(last))])
    assert shown == tuple(None if got is None else wanted for got, wanted in zip(shown, expected, strict=True))


def test_no_page_shows_a_moment_of_a_group_as_it_is_stored() -> None:
    """`ranking.seen_until` adds each as `first_ms`, `last_ms` and `regressed_ms`. A release has its own."""
    stored = re.compile(r"(?<!release)\.(\w+_seen|regressed_at)_ms")
    templates = (settings.BASE_DIR / "templates").rglob("*.html")
    assert [file.name for file in templates if stored.search(file.read_text())] == []


@pytest.mark.parametrize("sort", ["last", "-last", "first", "-first"])
def test_groups_are_sorted_by_what_is_shown(client: Client, monkeypatch: pytest.MonkeyPatch, sort: str) -> None:
    for message, moments in {"fault w": (9, 1), "fault x": (8, 3), "fault y": (7, 2), "fault z": (6, 5)}.items():
        for hours in moments:
            fail(TODAY - timedelta(hours=hours), message)
    fail(FAR_AHEAD, "fault x")
    monkeypatch.setattr("events.admin.groups.FailureGroupAdmin.list_per_page", 1)
    set_clock(monkeypatch, TODAY)
    sign_in(client, "Staff")
    titles: list[str] = []
    cursor = ""
    while len(titles) < 4:
        context = client.get(GROUPS, {"sort": sort, "cursor": cursor} if cursor else {"sort": sort}).context
        titles += [row.group.title[-1] for row, _ in context["rows"]]
        cursor = context["next"]
    assert "".join(titles) == {"last": "zxyw", "-last": "wyxz", "first": "wxyz", "-first": "zyxw"}[sort]
    assert not cursor


def test_a_regression_is_never_in_the_future(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make_event(**success(), received_at_ms=ms(EARLIER))
    fail(EARLIER)
    key = FailureGroup.objects.get().pk
    triage.resolve([key], fixed_in="19afc18", user=User.objects.create_user("kim"), at=EARLIER + timedelta(hours=1))
    fail(FAR_AHEAD)
    set_clock(monkeypatch, TODAY)
    sign_in(client, "Staff")
    assert times(page(client, f"{GROUPS}{key}/"), "with the fix was received ") == [clock.iso(ms(TODAY))]
    (shown,) = client.get("/admin/").context["attention"].entries
    assert (shown.reason, shown.regressed_ms) == ("regression", ms(TODAY))


def test_the_last_day_has_no_failure_of_the_future(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen_under_both_clocks()
    set_clock(monkeypatch, TODAY)
    sign_in(client, "Staff")
    for sort in ("-last", "-day"):
        ((row, _),) = client.get(GROUPS, {"sort": sort}).context["rows"]
        assert row.last_day == 1
    assert client.get(f"{GROUPS}{row.group.pk}/").context["last_day"] == 1


def test_a_rise_includes_no_failure_of_the_future(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(TODAY - timedelta(days=2))
    for minutes in range(4):
        fail(EARLIER + timedelta(minutes=minutes))
    fail(FAR_AHEAD)
    set_clock(monkeypatch, TODAY)
    sign_in(client, "Staff")
    (shown,) = client.get("/admin/", {"days": "1"}).context["attention"].entries
    assert (shown.reason, shown.hits) == ("rising", 4)


def test_a_token_was_used_now_at_the_latest(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, FAR_AHEAD)
    assert admit(tokens.issue("web", who="olga", now=TODAY, expires_at=None))
    set_clock(monkeypatch, TODAY)
    sign_in(client, "Maintainers")
    assert times(page(client, "/admin/events/ingesttoken/"), 'data-label="Last used">') == [clock.iso(ms(TODAY))]


def test_a_name_of_the_future_is_not_the_most_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the largest number of known names, those of the last 90 days come first."""
    monkeypatch.setattr(buckets, "MAX_KNOWN_MODELS", 1)
    monkeypatch.setattr(buckets, "MAX_MODELS_A_DAY", 3)  # 1 is left for new names
    for model, at in [
        ("not for a year", TODAY - timedelta(days=400)),
        ("not for a year", FAR_AHEAD),
        ("of last week", TODAY - timedelta(days=7)),
    ]:
        make_event(**success(model=model), received_at_ms=ms(at))
    buckets.forget_names()
    set_clock(monkeypatch, TODAY)
    for model in ("new", "not for a year", "of last week"):
        make_event(**success(model=model), received_at_ms=ms(TODAY))
    today = HourlyRollup.objects.filter(hour_ms=ms(TODAY)).values_list("model", flat=True)
    assert set(today) == {"new", buckets.OTHER, "of last week"}


def test_a_release_of_the_future_is_dated_by_its_next_success(monkeypatch: pytest.MonkeyPatch) -> None:
    make_event(**success(app_version="next"), received_at_ms=ms(FAR_AHEAD))
    make_event(**success(app_version="last"), received_at_ms=ms(TODAY - timedelta(hours=1)))
    make_event(**success(app_version="next"), received_at_ms=ms(TODAY - timedelta(hours=2)))
    assert releases.newest(2) == ["last", "next"]
