"""Sends the alerts: the only writer of `events_alertdelivery`.

A run plans one delivery for each new alert and channel. Then it claims the deliveries that are due, sends each bundle
as one message, and marks them. A claim moves the next attempt ahead, so a process that is killed before it marks them
leaves them due again: each message is sent at least once, and after one kill at most twice.

- The first message of a kind is sent at once. The alerts of the next BUNDLE_MS are sent together.
- A channel gets at most MAX_MESSAGES in an hour. The last of them contains all kinds that wait.
- In a storm (STORM_ALERTS new groups within an hour), one message lists the largest groups: when the storm pauses for
  BUNDLE_MS, at the latest after an hour.
- A failed message is sent again after each of PAUSES_MINUTES, for a day. Then it is given up.
- Channels are served side by side: neither a failing channel nor a hanging one delays the others.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from threading import Thread
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Count, Max, Min, QuerySet

from events import audit, clock
from events.alerts import digest, outbox, texts, timing
from events.alerts.channels import roster, sending
from events.alerts.channels.sending import ChannelFailed
from events.alerts.messages import Message, Part, compose
from events.models import Alert, AlertChannel, AlertDelivery, AlertKind, AuditKind, DeliveryState

logger = logging.getLogger(__name__)

Send = Callable[[AlertChannel, Message], None]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
BUNDLE_MS = 10 * MINUTE_MS
MAX_MESSAGES = 6
STORM_ALERTS = 20
SHOWN = 10
# A channel limits its own connections to less than this.
SEND_SECONDS = 90.0
# After this time, another process may send what a process has claimed.
CLAIM_MS = 3 * MINUTE_MS
PAUSES_MINUTES = (1, 2, 4, 8, 16, 32, *[60] * 23)  # 24 hours in all
INTERRUPTED = "The process ended while it was sending. The message may have arrived."
_PLANNED_AT_ONCE = 500
# When an hour has no room for one message of each kind, the first of these have their own.
_BY_URGENCY = (
    AlertKind.DISK, AlertKind.JOB, AlertKind.SILENCE, AlertKind.RELEASE, AlertKind.REGRESSION, AlertKind.RATE,
    AlertKind.NEW, AlertKind.PARITY, AlertKind.SUMMARY,
)  # fmt: skip
_MANY = {
    AlertKind.NEW: "new failures",
    AlertKind.REGRESSION: "failures that came back",
}


class Bundle(NamedTuple):
    """Deliveries of one channel that become one message."""

    channel: AlertChannel
    deliveries: list[AlertDelivery]
    message: Message
    claimed_until_ms: int


def deliver(send: Send = sending.send, now_ms: Callable[[], int] = clock.now_ms) -> str:
    """Send what is due, and return in words what was done. `send` raises ChannelFailed."""
    plan(now_ms())
    numbers: Counter[str] = Counter()
    unavailable: set[int] = set()
    for _ in range(MAX_MESSAGES):
        bundles = _claim_next(now_ms(), unavailable)
        if not bundles:
            break
        for bundle, problem in _send_all(bundles, send):
            if problem:
                unavailable.add(bundle.channel.pk)
                numbers["failed"] += 1
                _mark_failed(bundle, problem, now_ms())
            else:
                numbers["sent"] += 1
                _mark_sent(bundle, now_ms())
    waiting = _waiting().count()
    failed = f", {numbers['failed']:,} failed" if numbers["failed"] else ""
    return f"Sent {numbers['sent']:,} message{'' if numbers['sent'] == 1 else 's'}{failed}, {waiting:,} waiting."


def plan(now_ms: int) -> None:
    """Write a delivery for each alert that has none yet and each channel that is on and gets its kind."""
    while True:
        with transaction.atomic():
            alerts = list(outbox.unplanned()[:_PLANNED_AT_ONCE])
            channels = list(AlertChannel.objects.filter(is_on=True).order_by("pk"))
            AlertDelivery.objects.bulk_create(
                [
                    AlertDelivery(alert=alert, channel=channel, due_ms=now_ms)
                    for alert in alerts
                    for channel in channels
                    if alert.kind in channel.kinds
                ],
                ignore_conflicts=True,
            )
            outbox.mark_planned(alerts, now_ms)
        if len(alerts) < _PLANNED_AT_ONCE:
            return


def retry(row: AlertDelivery, *, who: str, at: datetime) -> bool:
    """Let a delivery wait again, for a whole day. Return False if it was not given up, or its channel is off."""
    with transaction.atomic():
        given_up = AlertDelivery.objects.filter(pk=row.pk, state=DeliveryState.GIVEN_UP, channel__is_on=True)
        is_changed = given_up.update(
            state=DeliveryState.WAITING, due_ms=clock.epoch_ms(at), attempts=0, ended_at_ms=None, problem=""
        )
        if is_changed:
            what = f"Requested another attempt of the alert [{row.alert.kind}]."
            audit.note(AuditKind.ALERT, what, who=who, at=at, about=row.channel.name)
    return bool(is_changed)


# --- what is due -----------------------------------------------------------------------------------------------------


def _claim_next(now_ms: int, unavailable: set[int]) -> list[Bundle]:
    """Claim the next message of each channel. It postpones deliveries that must wait, and gives up pointless ones."""
    _give_up_pointless(now_ms)
    due: defaultdict[int, list[AlertDelivery]] = defaultdict(list)
    rows = _waiting().filter(due_ms__lte=now_ms).exclude(channel__in=unavailable)
    for delivery in rows.select_related("alert", "channel__person").order_by("alert_id"):
        due[delivery.channel_id].append(delivery)
    bundles = []
    for deliveries in due.values():
        ready = _ready(deliveries, now_ms)
        room, free_at_ms = _room(deliveries[0].channel_id, now_ms)
        if ready and not room:
            _postpone(ready, free_at_ms)
        elif ready and (claimed := _claim(_first_message(ready, room), now_ms)):
            bundle = Bundle(claimed[0].channel, claimed, Message("", "", ""), now_ms + CLAIM_MS)
            try:
                message = compose_message([delivery.alert for delivery in claimed])
            except Exception as error:  # one text must not hold up the messages of other channels
                logger.error("The text of a message cannot be written: %s", type(error).__name__)
                _mark_failed(bundle, f"Its text cannot be written: {type(error).__name__}.", now_ms)
            else:
                bundles.append(bundle._replace(message=message))
    return bundles


def _ready(deliveries: Iterable[AlertDelivery], now_ms: int) -> list[AlertDelivery]:
    """Return the deliveries of one channel that may be sent now, and postpone the others."""
    by_kind: defaultdict[AlertKind, list[AlertDelivery]] = defaultdict(list)
    for delivery in deliveries:
        by_kind[AlertKind(delivery.alert.kind)].append(delivery)
    ready = []
    for kind, of_kind in by_kind.items():
        earliest_ms = timing.after_quiet(kind, max(now_ms, _bundled_until(kind, of_kind[0].channel_id, now_ms)))
        if earliest_ms > now_ms:
            _postpone(of_kind, earliest_ms)
        else:
            ready += of_kind
    return ready


def _bundled_until(kind: AlertKind, channel_id: int, now_ms: int) -> int:
    """Return the time until which alerts of this kind are collected for one message of the channel."""
    since_ms = now_ms - HOUR_MS
    last_ms = _sent(channel_id, since_ms).filter(alert__kind=kind).aggregate(last=Max("ended_at_ms"))["last"]
    until_ms = now_ms if last_ms is None else last_ms + BUNDLE_MS
    if kind == AlertKind.NEW and Alert.objects.filter(kind=kind, happened_at_ms__gt=since_ms).count() >= STORM_ALERTS:
        waiting = _waiting().filter(channel=channel_id, alert__kind=kind)
        planned = waiting.aggregate(first=Min("alert__planned_at_ms"), last=Max("alert__planned_at_ms"))
        storm_ms = min((planned["first"] or 0) + HOUR_MS, (planned["last"] or 0) + BUNDLE_MS)
        until_ms = max(until_ms, storm_ms)
    return until_ms


def _room(channel_id: int, now_ms: int) -> tuple[int, int]:
    """Return how many messages the channel may get now, and when it may get the next one if none."""
    sent = _sent(channel_id, now_ms - HOUR_MS)
    found = sent.aggregate(messages=Count("ended_at_ms", distinct=True), first_ms=Min("ended_at_ms"))
    return max(MAX_MESSAGES - found["messages"], 0), (found["first_ms"] or now_ms) + HOUR_MS


def _first_message(ready: Sequence[AlertDelivery], room: int) -> list[AlertDelivery]:
    """Return the deliveries of the most urgent kind; those of all kinds if there is room for one message only."""
    kinds = {delivery.alert.kind for delivery in ready}
    first = _most_urgent(kinds)
    if room == 1 and first != AlertKind.SUMMARY:  # the digest is a message of its own
        return [delivery for delivery in ready if delivery.alert.kind != AlertKind.SUMMARY]
    return [delivery for delivery in ready if delivery.alert.kind == first]


def _give_up_pointless(now_ms: int) -> None:
    """Give up the deliveries of channels that were switched off, and of groups that were muted meanwhile."""
    _waiting().filter(channel__is_on=False).update(
        state=DeliveryState.GIVEN_UP, ended_at_ms=now_ms, problem="The channel was switched off."
    )
    for alert_id, reason in _obsolete(now_ms).items():
        _waiting().filter(alert=alert_id).update(state=DeliveryState.GIVEN_UP, ended_at_ms=now_ms, problem=reason)


def _obsolete(now_ms: int) -> dict[int, str]:
    due = Alert.objects.filter(deliveries__state=DeliveryState.WAITING, deliveries__due_ms__lte=now_ms)
    return texts.obsolete(due.exclude(subject="").distinct(), now_ms)


def _postpone(deliveries: Iterable[AlertDelivery], until_ms: int) -> None:
    _waiting().filter(pk__in=[delivery.pk for delivery in deliveries]).update(due_ms=until_ms)


def _claim(deliveries: Sequence[AlertDelivery], now_ms: int) -> list[AlertDelivery]:
    """Claim deliveries, so that no other process sends them. Return those that no other one has claimed."""
    with transaction.atomic():
        rows = _waiting().filter(pk__in=[delivery.pk for delivery in deliveries], due_ms__lte=now_ms)
        free = set(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
        claimed = [delivery for delivery in deliveries if delivery.pk in free]
        for delivery in claimed:
            delivery.attempts += 1
        for attempts in {delivery.attempts for delivery in claimed}:
            same = [delivery.pk for delivery in claimed if delivery.attempts == attempts]
            AlertDelivery.objects.filter(pk__in=same).update(
                due_ms=now_ms + CLAIM_MS, attempts=attempts, problem=INTERRUPTED
            )
    return claimed


# --- the message -----------------------------------------------------------------------------------------------------


def compose_message(alerts: Sequence[Alert]) -> Message:
    """Return one message about these alerts. It describes at most SHOWN of them: of groups, the largest."""
    kinds = {alert.kind for alert in alerts}
    kind = _most_urgent(kinds)
    if kind == AlertKind.SUMMARY:
        return digest.message(alerts[-1].happened_at_ms)  # an older one that still waits is out of date
    parts: list[Part] = []
    for each in _BY_URGENCY:
        found = texts.parts_of([alert for alert in alerts if alert.kind == each], SHOWN)
        parts += found if len(kinds) == 1 else [part._replace(heading=f"[{each}] {part.heading}") for part in found]
    number, shown = len(alerts), parts[:SHOWN]
    left_out = number - len(shown)
    intro = f"{number:,} {_MANY.get(kind, 'messages') if len(kinds) == 1 else 'messages'}" if number > 1 else ""
    if left_out:
        intro += f", of which these are the {'largest' if kind in _MANY and len(kinds) == 1 else 'most urgent'}"
    subject = shown[0].heading.removeprefix(f"[{kind}] ") if shown else intro
    return compose(kind, subject, shown, intro=intro and f"{intro}.", others=number - 1, left_out=left_out)


def _most_urgent(kinds: Collection[str]) -> AlertKind:
    return next(kind for kind in _BY_URGENCY if kind in kinds)


# --- sending and marking ---------------------------------------------------------------------------------------------


def _send_all(bundles: Sequence[Bundle], send: Send) -> list[tuple[Bundle, str]]:
    """Send bundles of different channels side by side. Return each with its problem, "" if it was sent."""
    problems: dict[int, str] = {}

    def run(number: int, bundle: Bundle) -> None:
        try:
            send(bundle.channel, bundle.message)
            problems[number] = ""
        except ChannelFailed as error:
            problems[number] = str(error)
        except Exception as error:  # its text may contain a secret
            problems[number] = f"An unexpected error: {type(error).__name__}."
        finally:
            connection.close()  # of this thread

    # Daemon threads: the process can end although one of them hangs.
    threads = [Thread(target=run, args=(number, bundle), daemon=True) for number, bundle in enumerate(bundles)]
    deadline = time.monotonic() + SEND_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    hung = f"The message was not sent within {SEND_SECONDS:.0f} s."
    return [(bundle, problems.get(number, hung)) for number, bundle in enumerate(bundles)]


def _mark_sent(bundle: Bundle, now_ms: int) -> None:
    # Each message of a channel has a time of its own, by which messages are counted.
    last_ms = _sent(bundle.channel.pk, now_ms - MINUTE_MS).aggregate(last=Max("ended_at_ms"))["last"] or 0
    ended_ms = max(now_ms, last_ms + 1)
    _claimed(bundle).update(state=DeliveryState.SENT, ended_at_ms=ended_ms, problem="")
    roster.note_sent(bundle.channel, ended_ms)


def _mark_failed(bundle: Bundle, problem: str, now_ms: int) -> None:
    roster.note_problem(bundle.channel, problem)
    for delivery in bundle.deliveries:
        # Another process that has claimed it meanwhile marks it itself.
        row = _waiting().filter(pk=delivery.pk, due_ms=bundle.claimed_until_ms)
        if delivery.attempts > len(PAUSES_MINUTES):
            row.update(state=DeliveryState.GIVEN_UP, ended_at_ms=now_ms, problem=problem)
        else:
            row.update(due_ms=now_ms + PAUSES_MINUTES[delivery.attempts - 1] * MINUTE_MS, problem=problem)


def _claimed(bundle: Bundle) -> QuerySet[AlertDelivery]:
    return _waiting().filter(pk__in=[delivery.pk for delivery in bundle.deliveries])


def _waiting() -> QuerySet[AlertDelivery]:
    return AlertDelivery.objects.filter(state=DeliveryState.WAITING)


def _sent(channel_id: int, since_ms: int) -> QuerySet[AlertDelivery]:
    return AlertDelivery.objects.filter(state=DeliveryState.SENT, channel=channel_id, ended_at_ms__gt=since_ms)
