"""The outbox of alerts: the only writer of `events_alert`. An alert is written once for each change of a state.

Ingest writes the alerts of failure groups in its own transaction: an alert exists exactly if its event does. The rules
report problems instead: a problem has one alert while it lasts, and a new one when it returns.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from events.counting.buckets import DAY_MS
from events.grouping.groups import Growth, Regression, StillFailing
from events.models import Alert, AlertKind, GroupStatus, Source

KEPT_DAYS = 90
# In the facts of a problem: the time at which it ended. A problem without it still lasts.
ENDED = "ended_ms"
# In the facts of an alert about a group: why it was written, if its kind does not say so.
REASON = "reason"
STILL_FAILING = "still_failing"
_DELETED_AT_ONCE = 1_000
# Events from these sources are no news.
_NO_NEWS = {Source.IMPORT.value, Source.DEMO.value}


def note_failures(growth: Iterable[Growth], regressions: Sequence[Regression | StillFailing]) -> None:
    """Write the alerts about groups that failures have just joined, in the transaction of these failures.

    It costs a statement only if a group reaches ALERT_NEW_AFTER failures, has regressed, or is still failing.
    """
    least = settings.ALERT_NEW_AFTER
    alerts = [
        Alert(
            kind=AlertKind.NEW,
            key=each.group,
            subject=each.group,
            happened_at_ms=max(event.received_at_ms for event in each.events),
        )
        for each in growth
        if each.before < least <= each.after
        and each.status == GroupStatus.OPEN
        and any(event.source not in _NO_NEWS for event in each.events)
    ]
    alerts += [_regression(each) for each in regressions if each.event.source not in _NO_NEWS]
    if alerts:
        _write(alerts)


def _regression(of: Regression | StillFailing) -> Alert:
    """Return the alert of a group. It can be still failing first, and regress later: two alerts of one decision."""
    key, facts = f"{of.group}:{of.decided_at_ms}", {"version": of.event.app_version}
    if isinstance(of, StillFailing):
        key, facts = f"{key}:{STILL_FAILING}", facts | {REASON: STILL_FAILING, "fixed_in": of.fixed_in}
    return Alert(
        kind=AlertKind.REGRESSION, key=key, subject=of.group, facts=facts, happened_at_ms=of.event.received_at_ms
    )


def write(
    kind: AlertKind, key: str, *, happened_at_ms: int, subject: str = "", facts: Mapping[str, Any] | None = None
) -> None:
    """Write one alert in the caller's transaction, unless its kind and key have one already."""
    alert = Alert(kind=kind, key=key, subject=subject, facts=dict(facts or {}), happened_at_ms=happened_at_ms)
    _write([alert])


def existing(kind: AlertKind, keys: Collection[str]) -> set[str]:
    """Return those of the keys that have an alert."""
    return set(Alert.objects.filter(kind=kind, key__in=keys).values_list("key", flat=True))


def unplanned() -> QuerySet[Alert]:
    """Return the alerts without deliveries, oldest first."""
    return Alert.objects.filter(planned_at_ms__isnull=True).order_by("id")


def mark_planned(alerts: Iterable[Alert], now_ms: int) -> None:
    """Note that the deliveries of these alerts are written, in the same transaction."""
    unmarked = Alert.objects.filter(pk__in=[alert.pk for alert in alerts], planned_at_ms__isnull=True)
    unmarked.update(planned_at_ms=now_ms)


def open_problems(kind: AlertKind, rule: str) -> dict[str, Alert]:
    """Return the alerts of the problems that a rule reported and that last, by the name of the problem."""
    return {alert.facts["problem"]: alert for alert in _open().filter(kind=kind, facts__rule=rule).order_by("id")}


def open_problem(
    kind: AlertKind, rule: str, problem: str, facts: Mapping[str, Any], *, now_ms: int, subject: str = ""
) -> None:
    """Write the alert of a problem that a rule reports. Of two processes that report it, one writes it."""
    earlier = Alert.objects.filter(kind=kind, facts__rule=rule, facts__problem=problem)
    last = earlier.order_by("-id").first()
    if last and ENDED not in last.facts:  # another process has just written it
        return
    key = f"{rule}:{problem}:{last.pk if last else 0}"
    write(kind, key, happened_at_ms=now_ms, subject=subject, facts={**facts, "rule": rule, "problem": problem})


def end_problem(alert: Alert, ended_ms: int) -> None:
    """Note that a problem is over, so that the next one of its name has a new alert."""
    Alert.objects.filter(pk=alert.pk).update(facts={**alert.facts, ENDED: ended_ms})


def delete_old(now_ms: int) -> int:
    """Delete the alerts older than KEPT_DAYS with their deliveries, and return their number.

    Those of problems that last stay: without them, the problem would be reported again.
    """
    number = 0
    lasting = list(_open().values_list("pk", flat=True))
    old = Alert.objects.filter(happened_at_ms__lt=now_ms - KEPT_DAYS * DAY_MS, planned_at_ms__isnull=False)
    while chunk := list(
        old.exclude(pk__in=lasting).order_by("happened_at_ms", "id").values_list("pk", flat=True)[:_DELETED_AT_ONCE]
    ):
        Alert.objects.filter(pk__in=chunk).delete()
        number += len(chunk)
    return number


def _open() -> QuerySet[Alert]:
    return Alert.objects.filter(facts__has_key="problem").exclude(facts__has_key=ENDED)


def _write(alerts: list[Alert]) -> None:
    # Every process inserts in the same order, which avoids deadlocks.
    alerts.sort(key=lambda alert: (alert.kind, alert.key))
    Alert.objects.bulk_create(alerts, ignore_conflicts=True)
