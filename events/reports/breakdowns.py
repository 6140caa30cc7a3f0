"""Compares the failures of one group with all flashes, by model, version, mode and connection.

A flash is a `flash_success` or a `flash_error`. The group's shares cover all time. The shares of all flashes cover the
UTC days since the group was first seen, by our clock.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Sum

from events.counting.buckets import DAY_MS
from events.models import Event, EventType, Facet, FailureGroup, GroupHour, GroupShare, HourlyRollup, ModeRollup

FLASHES = (EventType.FLASH_SUCCESS.value, EventType.FLASH_ERROR.value)
# A striking name: common in the group, and much rarer among all flashes. The page shows it as a sentence.
_STRIKING_SHARE = 0.15
_STRIKING_RATIO = 2.0
_STRIKING_EVENTS = 5


# The words of an overflow group: from its newest failures, without words that tell nothing.
WORDS_OF = 2_000
WORDS_SHOWN = 20
_WORD = re.compile(r"[^\W\d_]{3,40}")
_COMMON_IN_ANY_TEXT = frozenset({
    "and", "are", "but", "can", "did", "for", "from", "has", "have", "that", "the", "this", "was", "were", "with",
})  # fmt: skip


class Word(NamedTuple):
    """A word, in lower case, and the number and the share (0 to 1) of the failures whose message contains it."""

    word: str
    failures: int
    share: float


class Part(NamedTuple):
    """One value of a facet: its failures in the group, and its share of the group and of all flashes (0 to 1).

    `of_flashes` is None without any flash to compare with.
    """

    name: str
    events: int
    of_group: float
    of_flashes: float | None

    @property
    def is_striking(self) -> bool:
        return (
            self.events >= _STRIKING_EVENTS
            and self.of_group >= _STRIKING_SHARE
            and self.of_flashes is not None
            and self.of_group >= _STRIKING_RATIO * self.of_flashes
        )


def parts(group: FailureGroup, now_ms: int) -> dict[str, list[Part]]:
    """Return the parts of the group by facet, largest first. The group comes from `ranking.seen_until`.

    Source: GroupShare, HourlyRollup, ModeRollup.
    """
    start_ms = group.first_ms - group.first_ms % DAY_MS
    flashes = _flashes(start_ms, now_ms + 1)
    shares: dict[str, list[tuple[str, int]]] = {facet: [] for facet in Facet.values}
    rows = GroupShare.objects.filter(fingerprint=group.pk).order_by("-accepted", "name")
    for facet, name, accepted in rows.values_list("facet", "name", "accepted"):
        shares[facet].append((name, accepted))
    return {facet: list(_compared(counts, flashes[facet])) for facet, counts in shares.items()}


def common_words(fingerprint: str, since_ms: int) -> list[Word]:
    """Return the words of at least two messages, most common first: of the newest failures since then.

    Reads at most WORDS_OF failures.
    """
    newest = Event.objects.of_group(fingerprint).filter(received_at_ms__gte=since_ms).newest_first()
    messages = list(newest.values_list("message", flat=True)[:WORDS_OF])
    counts = Counter(word for message in messages for word in set(_WORD.findall(message.lower())))
    common = [(word, n) for word, n in counts.items() if n > 1 and word not in _COMMON_IN_ANY_TEXT]
    common.sort(key=lambda one: (-one[1], one[0]))
    return [Word(word, n, n / len(messages)) for word, n in common[:WORDS_SHOWN]]


def hours(fingerprint: str, start_ms: int, end_ms: int, step_ms: int) -> list[int]:
    """Return the group's failures per step of [start_ms, end_ms), oldest first. Steps without failures hold zeros.

    `step_ms` is a multiple of one hour. Source: GroupHour.
    """
    counts = [0] * ((end_ms - start_ms) // step_ms)
    rows = GroupHour.objects.filter(fingerprint=fingerprint, hour_ms__gte=start_ms, hour_ms__lt=end_ms)
    for hour_ms, accepted in rows.values_list("hour_ms", "accepted"):
        counts[(hour_ms - start_ms) // step_ms] += accepted
    return counts


def _compared(counts: list[tuple[str, int]], flashes: dict[str, int]) -> Iterable[Part]:
    group_total, flash_total = sum(events for _, events in counts), sum(flashes.values())
    for name, events in counts:
        of_flashes = flashes.get(name, 0) / flash_total if flash_total else None
        yield Part(name, events, events / group_total, of_flashes)


def _flashes(start_ms: int, end_ms: int) -> dict[str, dict[str, int]]:
    hourly = HourlyRollup.objects.filter(hour_ms__gte=start_ms, hour_ms__lt=end_ms, event_type__in=FLASHES)
    daily = ModeRollup.objects.filter(day_ms__gte=start_ms, day_ms__lt=end_ms, event_type__in=FLASHES)
    by_name = list(hourly.values_list("model", "app_version").annotate(total=Sum("accepted")))
    by_mode = list(daily.values_list("write_mode", "connected").annotate(total=Sum("accepted")))
    return {
        Facet.MODEL: _summed((model, total) for model, _, total in by_name),
        Facet.VERSION: _summed((version, total) for _, version, total in by_name),
        Facet.MODE: _summed((str(mode), total) for mode, _, total in by_mode),
        Facet.CONNECTED: _summed((str(connected), total) for _, connected, total in by_mode),
    }


def _summed(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums = Counter[str]()
    for name, total in pairs:
        sums[name] += total
    return sums
