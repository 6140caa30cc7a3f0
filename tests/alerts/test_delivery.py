"""The delivery: what is sent when, together or alone, after failures, in quiet hours, in a storm, after a kill."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User

from events.alerts import delivery, outbox, texts
from events.alerts.channels.sending import ChannelFailed
from events.alerts.messages import Message, Part
from events.grouping import triage
from events.models import Alert, AlertChannel, AlertDelivery, AlertKind, FailureGroup
from tests.conftest import make_event
from tests.threads import in_threads

NOON_MS = 1_770_897_600_000  # Thursday, 2026-02-12 12:00 UTC
MINUTE = 60_000
HOUR = 60 * MINUTE


class Post:
    """Receives the messages of every channel. `now_ms` is the time; `broken` names the channels that fail."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS
        self.broken: set[str] = set()
        self.received: list[tuple[str, Message]] = []

    def send(self, channel: AlertChannel, message: Message) -> None:
        if channel.name in self.broken:
            raise ChannelFailed("The service answered 503.")
        self.received.append((channel.name, message))

    def run(self, minutes: int = 0) -> list[str]:
        """Let minutes pass with a run in each, and return the subjects of the messages of that time."""
        before = len(self.received)
        for minute in range(max(minutes, 1)):
            delivery.deliver(self.send, lambda: self.now_ms)
            self.now_ms += MINUTE if minutes else 0
            assert minute <= minutes
        return [message.subject for _, message in self.received[before:]]


@pytest.fixture
def post() -> Post:
    return Post()


def channel(name: str = "ops", kinds: list[str] | None = None, **values: Any) -> AlertChannel:
    return AlertChannel.objects.create(
        **{
            "name": name,
            "sealed_url": "sealed",
            "service": "json",
            "kinds": AlertKind.values if kinds is None else kinds,
            "added_at_ms": NOON_MS,
            "added_by_name": "olga",
        }
        | values
    )


def happen(kind: AlertKind = AlertKind.JOB, name: str = "a", *, at_ms: int = NOON_MS) -> None:
    """Write an alert that is not about a group."""
    part = Part(f"{kind} {name}", ("A line.",), "/admin/events/jobstate/")
    outbox.write(kind, name, happened_at_ms=at_ms, facts=texts.facts_of(part))


def fail(title: str, count: int = 3, *, at_ms: int = NOON_MS) -> str:
    """Store failures of one group, which write an alert."""
    keys = {
        make_event(message=title, session_id=f"{title} {number} {at_ms}", received_at_ms=at_ms + number).fingerprint
        for number in range(count)
    }
    return str(keys.pop())


def words(number: int) -> str:
    """Return a message that no other number gives, numbers being masked."""
    return "fault " + "".join("abcdefghij"[int(digit)] for digit in str(number))


def states() -> list[tuple[str, int, str]]:
    return list(AlertDelivery.objects.order_by("id").values_list("state", "attempts", "problem"))


# --- who gets what ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_channel_gets_the_kinds_that_it_wants(post: Post) -> None:
    channel("jobs", ["job"])
    channel("all")
    channel("none", [])
    channel("off", is_on=False)
    happen(AlertKind.JOB)
    happen(AlertKind.RATE)
    post.run()
    assert sorted((name, message.subject) for name, message in post.received) == [
        ("all", "[job] job a"),
        ("all", "[rate] rate a"),
        ("jobs", "[job] job a"),
    ]
    assert post.run(20) == []
    assert {state for state, *_ in states()} == {"sent"}
    assert set(AlertChannel.objects.filter(delivered_at_ms__isnull=False).values_list("name", flat=True)) == {
        "all",
        "jobs",
    }


@pytest.mark.django_db
def test_a_channel_gets_nothing_from_before_it_was_added(post: Post) -> None:
    happen()
    post.run()
    channel()
    assert post.run(5) == []


@pytest.mark.django_db
def test_a_message_about_a_group_says_how_much_since_when_and_for_whom(post: Post, settings: Any) -> None:
    settings.SITE_URL = "https://telemetry.example"
    channel()
    key = fail("No ACK")
    assert post.run() == ["[new] No ACK"]
    text = post.received[0][1].text
    assert "3 failures (flash_error) since Thu 12 Feb 2026, 12:00 UTC; the last on Thu 12 Feb 2026, 12:00 UTC." in text
    assert "3 sessions affected." in text
    assert "Models: UV-5RM (3)." in text
    assert "Versions: 19afc18 (3)." in text
    assert f"https://telemetry.example/admin/events/failuregroup/{key}/" in text


# --- together --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_first_is_sent_at_once_and_those_of_the_next_ten_minutes_together(post: Post) -> None:
    channel()
    happen(name="a")
    assert post.run(1) == ["[job] job a"]
    happen(name="b")
    assert post.run(5) == []
    happen(name="c")
    assert post.run(4) == []
    assert post.run(1) == ["[job] job c and 1 more"]
    text = post.received[-1][1].text
    assert text.startswith("2 messages.")
    assert "job b" in text
    assert post.run(30) == []
    happen(name="d")
    assert post.run(1) == ["[job] job d"]


@pytest.mark.django_db
def test_other_kinds_do_not_wait(post: Post) -> None:
    channel()
    happen(AlertKind.JOB)
    post.run(1)
    happen(AlertKind.DISK)
    assert post.run(1) == ["[disk] disk a"]


@pytest.mark.django_db
def test_a_channel_gets_six_messages_an_hour_and_the_last_has_everything(post: Post) -> None:
    channel()
    kinds = [kind for kind in AlertKind if kind != AlertKind.SUMMARY]
    for kind in kinds:
        for number in range(3):
            happen(kind, f"{number}")
    subjects = post.run(1)
    assert [subject.split()[0] for subject in subjects] == [
        "[disk]", "[job]", "[silence]", "[release]", "[regression]", "[rate]",
    ]  # fmt: skip
    assert subjects[-1] == "[rate] rate 2 and 8 more"
    assert "[parity] parity 0" in post.received[-1][1].text
    happen(AlertKind.DISK, "later", at_ms=post.now_ms)
    assert post.run(59) == []
    assert post.run(2) == ["[disk] disk later"]


@pytest.mark.django_db
def test_many_alerts_in_one_message_are_counted(post: Post) -> None:
    channel()
    for number in range(25):
        happen(AlertKind.JOB, str(number))
    assert post.run() == ["[job] job 24 and 24 more"]
    text = post.received[0][1].text
    assert "25 messages, of which these are the most urgent." in text
    assert "… and 15 more" in text


# --- a storm ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_storm_at_once_is_one_message_with_the_ten_largest_groups(post: Post) -> None:
    channel()
    for number in range(40):
        fail(words(number), 3 + number)
    assert post.run(10) == []
    assert post.run(120) == [f"[new] {words(39)} and 39 more"]
    text = post.received[0][1].text
    assert text.startswith("40 new failures, of which these are the largest.")
    assert [line for line in text.splitlines() if line.startswith("fault")] == [words(39 - n) for n in range(10)]
    assert "… and 30 more" in text


@pytest.mark.django_db
def test_a_storm_that_lasts_is_one_message_an_hour(post: Post) -> None:
    channel()
    subjects = []
    for minute in range(60):
        fail(words(minute), at_ms=post.now_ms)
        fail(words(minute + 1000), at_ms=post.now_ms)
        subjects += post.run(1)
    subjects += post.run(120)
    # The first groups, then the list of an hour.
    assert [subject.rpartition(" and ")[2] for subject in subjects] == ["1 more", "117 more"]


# --- quiet hours -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_in_quiet_hours_only_urgent_messages_are_sent(post: Post, settings: Any) -> None:
    settings.ALERT_QUIET, settings.ALERT_TIME_ZONE = (22, 7), ZoneInfo("Europe/Berlin")
    channel()
    post.now_ms = int(datetime(2026, 2, 12, 21, 30, tzinfo=UTC).timestamp() * 1000)
    for kind in AlertKind:
        if kind != AlertKind.SUMMARY:
            happen(kind)
    assert [subject.split()[0] for subject in post.run(1)] == ["[disk]", "[job]", "[silence]"]
    seven_ms = int(datetime(2026, 2, 13, 6, 0, tzinfo=UTC).timestamp() * 1000)
    assert set(AlertDelivery.objects.filter(state="waiting").values_list("due_ms", flat=True)) == {seven_ms}
    post.now_ms = seven_ms - 1
    assert post.run() == []
    post.now_ms = seven_ms
    assert [subject.split()[0] for subject in post.run()] == [
        "[release]", "[regression]", "[rate]", "[new]", "[parity]",
    ]  # fmt: skip


# --- muted meanwhile -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("decision", ["mute", "expect"])
def test_a_group_that_was_muted_meanwhile_is_not_sent(post: Post, decision: str) -> None:
    channel()
    key = fail("No ACK")
    user, at = User.objects.create_user("olga"), datetime.fromtimestamp(NOON_MS / 1000, UTC)
    decide = {"mute": partial(triage.mute, until_ms=None), "expect": triage.expect}[decision]
    decide([key], user=user, at=at)
    assert post.run(5) == []
    assert states() == [("given_up", 0, f"The group is {'muted' if decision == 'mute' else 'expected'} now.")]


@pytest.mark.django_db
def test_a_group_whose_failures_were_deleted_is_not_sent(post: Post) -> None:
    channel()
    FailureGroup.objects.filter(pk=fail("No ACK")).delete()
    assert post.run(5) == []
    assert states() == [("given_up", 0, "The group has no failures any more.")]


@pytest.mark.django_db
def test_a_channel_that_is_switched_off_gets_nothing_more(post: Post) -> None:
    ops = channel()
    post.broken = {"ops"}
    happen()
    post.run()
    AlertChannel.objects.filter(pk=ops.pk).update(is_on=False)
    post.broken = set()
    assert post.run(5) == []
    assert states() == [("given_up", 1, "The channel was switched off.")]


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_failed_message_is_sent_again_with_growing_pauses(post: Post) -> None:
    ops = channel()
    post.broken = {"ops"}
    happen()
    attempts_at = []
    for minute in range(70):
        before = AlertDelivery.objects.first()
        post.run(1)
        after = AlertDelivery.objects.get()
        if after.attempts > (before.attempts if before else 0):
            attempts_at.append(minute)
    assert attempts_at == [0, 1, 3, 7, 15, 31, 63]
    assert states() == [("waiting", 7, "The service answered 503.")]
    ops.refresh_from_db()
    assert ops.problem == "The service answered 503."
    post.broken = set()
    assert post.run(60) == ["[job] job a"]
    ops.refresh_from_db()
    assert (ops.problem, states()) == ("", [("sent", 8, "")])


@pytest.mark.django_db
def test_after_a_day_a_message_is_given_up_with_the_reason(post: Post) -> None:
    channel()
    post.broken = {"ops"}
    happen()
    while AlertDelivery.objects.filter(state="given_up").count() == 0:
        post.run()
        post.now_ms += 30 * MINUTE
        assert post.now_ms < NOON_MS + 60 * HOUR
    row = AlertDelivery.objects.get()
    assert (row.attempts, row.problem) == (len(delivery.PAUSES_MINUTES) + 1, "The service answered 503.")
    assert sum(delivery.PAUSES_MINUTES) == 24 * 60 + 3
    assert row.ended_at_ms is not None
    assert row.ended_at_ms - NOON_MS >= 24 * HOUR
    post.broken = set()
    assert post.run(5) == []


@pytest.mark.django_db
def test_a_failing_channel_does_not_hold_up_another(post: Post) -> None:
    channel("bad")
    channel("good")
    post.broken = {"bad"}
    happen(AlertKind.JOB)
    happen(AlertKind.RATE)
    assert post.run() == ["[job] job a", "[rate] rate a"]
    assert {name for name, _ in post.received} == {"good"}


@pytest.mark.django_db
def test_an_unexpected_error_is_noted_without_its_text(post: Post) -> None:
    def send(channel: AlertChannel, message: Message) -> None:
        raise RuntimeError("json://user:secret@host")

    channel()
    happen()
    delivery.deliver(send, lambda: NOON_MS)
    assert states() == [("waiting", 1, "An unexpected error: RuntimeError.")]


@pytest.mark.django_db
def test_a_text_that_cannot_be_written_holds_up_no_other(post: Post) -> None:
    channel("jobs", ["job"])
    channel("disk", ["disk"])
    outbox.write(AlertKind.JOB, "broken", happened_at_ms=NOON_MS, facts={})
    happen(AlertKind.DISK)
    assert post.run() == ["[disk] disk a"]
    assert [state for state in states() if state[0] == "waiting"] == [
        ("waiting", 1, "Its text cannot be written: KeyError.")
    ]


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.django_db
def test_a_hanging_channel_does_not_hold_up_another(
    post: Post, monkeypatch: pytest.MonkeyPatch, released: threading.Event
) -> None:
    monkeypatch.setattr(delivery, "SEND_SECONDS", 0.3)

    def send(channel: AlertChannel, message: Message) -> None:
        if channel.name == "hanging":
            released.wait(60)
        else:
            post.send(channel, message)

    channel("hanging")
    channel("good")
    happen(AlertKind.JOB)
    happen(AlertKind.RATE)
    delivery.deliver(send, lambda: NOON_MS)
    assert [message.subject for _, message in post.received] == ["[job] job a", "[rate] rate a"]
    hung = AlertDelivery.objects.filter(channel__name="hanging", attempts=1).values_list("state", "problem")
    assert list(hung) == [("waiting", "The message was not sent within 0 s.")]


# --- kills and two servers -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The end of the process."""


@pytest.mark.django_db
@pytest.mark.parametrize(("is_sent_before", "times"), [(True, 2), (False, 1)])
def test_a_message_is_sent_once_or_twice_around_a_kill(
    post: Post, monkeypatch: pytest.MonkeyPatch, is_sent_before: bool, times: int
) -> None:
    def killed(bundles: Any, send: Any) -> Any:
        if is_sent_before:
            for bundle in bundles:
                send(bundle.channel, bundle.message)
        raise Killed

    channel()
    happen()
    with monkeypatch.context() as context:
        context.setattr(delivery, "_send_all", killed)
        with pytest.raises(Killed):
            post.run()
    assert states() == [("waiting", 1, delivery.INTERRUPTED)]
    post.run(10)
    assert len(post.received) == times
    assert states() == [("sent", 2, "")]


@pytest.mark.django_db(transaction=True)
def test_two_servers_send_each_message_once() -> None:
    posts = [Post() for _ in range(4)]
    for name in ("a", "b", "c"):
        channel(name)
    for kind in (AlertKind.JOB, AlertKind.DISK, AlertKind.RATE):
        happen(kind)
    outcomes = in_threads([post.run for post in posts])
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    received = [(name, message.subject) for post in posts for name, message in post.received]
    assert len(received) == 9
    assert len(set(received)) == 9
    assert Alert.objects.filter(planned_at_ms__isnull=True).count() == 0
    assert set(states()) == {("sent", 1, "")}
