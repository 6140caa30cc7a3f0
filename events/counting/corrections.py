"""The only writer of corrections: makes successes void, which lowers the public count, and can undo that.

A void success stays in the table with the id of its correction. No rollup counts it, and the same session sent again
is a duplicate.

Successes become void in short transactions. Each transaction marks its events, lowers the rollups and raises
`Correction.voided`. So a killed operation leaves rows and counts consistent: run it again for the rest, or undo its
part. Each transaction uses the lock order of `ingest`: the total of `flash_success` first, then events, then rollups.

CorrectionShare and CorrectionFacet record what became void. An undo uses them to restore the counts of events that
were pruned or erased since. These events were accepted and count again, like every pruned event.

Another app that counts sessions takes part through `corrections()` of its AppConfig, which returns `CorrectionHooks`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from django.apps import apps
from django.db import transaction
from django.db.models import Count, F, Sum

from events import audit, clock
from events.counting import facets, releases, rollups
from events.counting.buckets import HOUR_MS, Counted, FacetBucket
from events.counting.upserts import Upsert, added, earliest, retried, upsert
from events.models import AuditKind, Correction, CorrectionFacet, CorrectionShare, Event, EventType
from events.querysets import SUCCESS, EventQuerySet, batches

BATCH_EVENTS = 500  # Ingest waits while one batch runs.
EXAMPLES = 5
STORED = "events"
GONE = "events that are no longer stored"


class NothingMatches(Exception):
    """No counted success matches the selection."""


class AlreadyUndone(Exception):
    """All successes of the correction already count again."""


@dataclass(frozen=True)
class Selection:
    """Successes received in [since_ms, until_ms) by our clock. None matches any value; other values match exactly."""

    since_ms: int
    until_ms: int
    model: str | None = None
    app_version: str | None = None
    source: str | None = None

    def successes(self) -> EventQuerySet[Event]:
        """Return the selected successes that count."""
        exact = {"model": self.model, "app_version": self.app_version, "source": self.source}
        events = Event.objects.successes().counted().between(self.since_ms, self.until_ms)
        return events.filter(**{column: value for column, value in exact.items() if value is not None})

    def __str__(self) -> str:
        words = f"received from {clock.iso(self.since_ms)} until {clock.iso(self.until_ms)}"
        exact = (("model", self.model), ("version", self.app_version), ("source", self.source))
        return words + "".join(f", {name} {value}" for name, value in exact if value is not None)


class CorrectionHooks(Protocol):
    """The interface of another app's `corrections` module. Each session is passed with the time of its arrival."""

    def count_waiting(self, selection: Selection) -> int: ...
    def bring(self, selection: Selection) -> None: ...
    def void(self, correction_id: int, sessions: Sequence[tuple[str, int]]) -> None: ...
    def restore(self, correction_id: int, sessions: Sequence[str] | None) -> None: ...


def _hooks() -> list[CorrectionHooks]:
    offered = (getattr(config, "corrections", None) for config in apps.get_app_configs())
    return [offer() for offer in offered if offer]


# --- preview ---------------------------------------------------------------------------------------------------------


class Preview(NamedTuple):
    """What a correction would void: counts by name, most first; hours in order; the newest examples.

    `waiting` counts sessions that only another app knows. `events` does not include them.
    """

    events: int
    waiting: int
    by_model: list[tuple[str, int]]
    by_version: list[tuple[str, int]]
    by_source: list[tuple[str, int]]
    by_hour: list[tuple[int, int]]
    examples: list[Event]

    @property
    def total(self) -> int:
        return self.events + self.waiting


def preview(selection: Selection) -> Preview:
    """Return the figures for the selected successes; changes nothing."""
    hour = F("received_at_ms") - F("received_at_ms") % HOUR_MS
    groups = selection.successes().annotate(hour_ms=hour).values_list("model", "app_version", "source", "hour_ms")
    figures: list[Counter[Any]] = [Counter(), Counter(), Counter(), Counter()]
    for *names, count in groups.annotate(count=Count("*")).order_by():
        for figure, name in zip(figures, names, strict=True):
            figure[name] += count
    by_model, by_version, by_source = (sorted(each.items(), key=lambda row: (-row[1], row[0])) for each in figures[:3])
    return Preview(
        events=figures[3].total(),
        waiting=sum(hooks.count_waiting(selection) for hooks in _hooks()),
        by_model=by_model,
        by_version=by_version,
        by_source=by_source,
        by_hour=sorted(figures[3].items()),
        examples=list(selection.successes().newest_first()[:EXAMPLES]),
    )


def nothing(selection: Selection) -> str:
    """Return the error message for a selection without a match."""
    return f"Nothing matches: no counted success was {selection}."


def history(limit: int) -> list[Correction]:
    """Return the newest corrections, newest first."""
    return list(Correction.objects.all()[:limit])


def void_now() -> int:
    """Return the number of void successes."""
    return Correction.objects.aggregate(sum=Sum(F("voided") - F("restored")))["sum"] or 0


# --- void ------------------------------------------------------------------------------------------------------------


def begin(selection: Selection, *, who: str, at: datetime, why: str) -> Correction:
    """Create a correction and its entry in the audit log; `carry_out` then voids. Raises NothingMatches."""
    matched = selection.successes().count() + sum(hooks.count_waiting(selection) for hooks in _hooks())
    if not matched:
        raise NothingMatches(nothing(selection))
    with transaction.atomic():
        correction = Correction.objects.create(
            since_ms=selection.since_ms,
            until_ms=selection.until_ms,
            model=selection.model,
            app_version=selection.app_version,
            source=selection.source,
            reason=why,
            made_by_name=who,
            made_at=at,
            matched=matched,
        )
        what = f"Correction {correction.pk} voids {matched:,} successes {selection}."
        audit.note(AuditKind.CORRECTION, what, who=who, at=at, why=why)
    return correction


def carry_out(correction: Correction) -> Iterator[int]:
    """Void what the correction selects, oldest first; yields the number of voided successes of each batch.

    Ends early if somebody undoes the correction in the meantime.
    """
    selection = selection_of(correction)
    for hooks in _hooks():
        hooks.bring(selection)
    for ids in batches(selection.successes(), BATCH_EVENTS):
        yield _void(correction.pk, ids)
    _finish(correction.pk)


def selection_of(correction: Correction) -> Selection:
    return Selection(
        correction.since_ms, correction.until_ms, correction.model, correction.app_version, correction.source
    )


@retried
@transaction.atomic
def _void(correction_id: int, ids: list[str]) -> int:
    rollups.lock([SUCCESS])
    if Correction.objects.filter(pk=correction_id, undone_at__isnull=False).exists():
        return 0
    events = list(Event.objects.counted().filter(pk__in=ids).values_list(*_COLUMNS, named=True))
    Event.objects.filter(pk__in=[event.id for event in events]).update(correction=correction_id)
    rollups.void(events)
    upsert(_SHARES, _rows(_shares_of(correction_id, events)))
    upsert(_FACETS, _facet_rows(correction_id, facets.names_of(events)))
    Correction.objects.filter(pk=correction_id).update(voided=F("voided") + len(events))
    for hooks in _hooks():
        hooks.void(correction_id, [(event.session_id, event.received_at_ms) for event in events])
    return len(events)


@retried
@transaction.atomic
def _finish(correction_id: int) -> None:
    rollups.lock(EventType.values)
    releases.settle()
    Correction.objects.filter(pk=correction_id, undone_at__isnull=True).update(finished_at=clock.now())


# --- undo ------------------------------------------------------------------------------------------------------------


def undo(correction: Correction, *, who: str, at: datetime, why: str) -> Iterator[tuple[str, int]]:
    """Let every success of a correction count again; raises AlreadyUndone. A second run finishes a killed undo.

    Yields the kind (STORED or GONE) and the number of successes that each step restored.
    """
    _begin_undo(correction.pk, who, at, why)
    for ids in batches(Event.objects.filter(correction=correction.pk), BATCH_EVENTS):
        yield STORED, _restore(correction.pk, ids)
    yield GONE, _restore_gone(correction.pk)


@retried
@transaction.atomic
def _begin_undo(correction_id: int, who: str, at: datetime, why: str) -> None:
    rollups.lock([SUCCESS])
    correction = Correction.objects.get(pk=correction_id)
    if correction.undone_at is not None and not correction.in_force:
        raise AlreadyUndone(f"Correction {correction_id} was undone already by {correction.undone_by_name}.")
    Correction.objects.filter(pk=correction_id).update(undone_at=at, undone_by_name=who, undo_reason=why)
    what = f"Undid correction {correction_id}: {correction.in_force:,} successes count again."
    audit.note(AuditKind.CORRECTION, what, who=who, at=at, why=why)


@retried
@transaction.atomic
def _restore(correction_id: int, ids: list[str]) -> int:
    rollups.lock(EventType.values)  # a version may become a release, which reopens failure groups of any type
    events = list(Event.objects.filter(pk__in=ids, correction=correction_id).values_list(*_COLUMNS, named=True))
    Event.objects.filter(pk__in=[event.id for event in events]).update(correction=None)
    _count_again(correction_id, events, _shares_of(correction_id, events), facets.names_of(events))
    for hooks in _hooks():
        hooks.restore(correction_id, [event.session_id for event in events])
    return len(events)


@retried
@transaction.atomic
def _restore_gone(correction_id: int) -> int:
    rollups.lock(EventType.values)  # a version may become a release, which reopens failure groups of any type
    rows = CorrectionShare.objects.filter(correction=correction_id, voided__gt=F("restored"))
    shares = {
        tuple(key): (first_ms, voided - restored)
        for *key, first_ms, voided, restored in rows.values_list(*_KEY, "first_ms", "voided", "restored")
    }
    events = [
        _Gone(first_ms, SUCCESS, model, app_version, write_mode, connected)
        for (_, _, model, app_version, write_mode, connected, _), (first_ms, count) in shares.items()
        for _ in range(count)
    ]
    _count_again(correction_id, events, shares, _gone_facets(correction_id))
    for hooks in _hooks():
        hooks.restore(correction_id, None)
    return len(events)


class _Gone(NamedTuple):
    """A void success that is no longer stored, rebuilt from its share."""

    received_at_ms: int
    event_type: str
    model: str
    app_version: str
    write_mode: int
    connected: int
    session_id: str | None = None
    metadata_json: str = "{}"  # `_gone_facets` counts it


def _gone_facets(correction_id: int) -> dict[FacetBucket, int]:
    rows = CorrectionFacet.objects.filter(correction=correction_id, voided__gt=F("restored"))
    return {
        FacetBucket(day_ms, SUCCESS, facet, name): voided - restored
        for day_ms, facet, name, voided, restored in rows.values_list(*_FACET_KEY[1:], "voided", "restored")
    }


def _count_again(
    correction_id: int, events: Sequence[Counted], shares: "_Shares", values: Mapping[FacetBucket, int]
) -> None:
    rollups.add(events)
    facets.add_counts(values)
    releases.forget()  # This process may have cached a release that the correction deleted.
    releases.note(releases.news(events))
    upsert(_RESTORED, _rows(shares, restored=True))
    upsert(_RESTORED_FACETS, _restored_facets(correction_id, values))
    Correction.objects.filter(pk=correction_id).update(restored=F("restored") + len(events))


# --- other changes of void successes ---------------------------------------------------------------------------------


class _Void(Counted, Protocol):
    """A void success: the fields for the rollups, its source and its correction."""

    @property
    def source(self) -> str: ...
    @property
    def correction(self) -> int | None: ...


def move(correction_id: int, old: Any, new: Any) -> None:
    """Move a void placeholder to the model and version of its `/event`. The caller has locked the total."""
    upsert(_LOWERED, _rows(_shares_of(correction_id, [old])))
    upsert(_SHARES, _rows(_shares_of(correction_id, [new])))
    _forget_facets(correction_id, [old])
    upsert(_FACETS, _facet_rows(correction_id, facets.names_of([new])))


def forget(events: Iterable[_Void]) -> None:
    """Remove deleted demo events from the shares, so that no undo counts them. The caller has locked the total."""
    by_correction: dict[int, list[_Void]] = {}
    for event in events:
        if event.correction is not None:
            by_correction.setdefault(event.correction, []).append(event)
    for correction_id, void in by_correction.items():
        upsert(_LOWERED, _rows(_shares_of(correction_id, void)))
        _forget_facets(correction_id, void)
        Correction.objects.filter(pk=correction_id).update(voided=F("voided") - len(void))


# --- shares ----------------------------------------------------------------------------------------------------------

# The key is correction, hour, model, version, mode, connection and source. The value is the first time, and the count.
_Shares = dict[tuple[Any, ...], tuple[int, int]]


def _shares_of(correction_id: int, events: Iterable[Any]) -> _Shares:
    shares: _Shares = {}
    for event in events:
        hour_ms = event.received_at_ms - event.received_at_ms % HOUR_MS
        names = (event.model, event.app_version, event.write_mode, event.connected, event.source)
        key = (correction_id, hour_ms, *names)
        first_ms, count = shares.get(key, (event.received_at_ms, 0))
        shares[key] = (min(first_ms, event.received_at_ms), count + 1)
    return shares


def _rows(shares: _Shares, *, restored: bool = False) -> list[tuple[Any, ...]]:
    return [(*key, first_ms, count, count if restored else 0) for key, (first_ms, count) in shares.items()]


def _facet_rows(correction_id: int, values: Mapping[FacetBucket, int]) -> list[tuple[Any, ...]]:
    return [(correction_id, day_ms, facet, name, n, 0) for (day_ms, _, facet, name), n in values.items()]


def _restored_facets(correction_id: int, values: Mapping[FacetBucket, int]) -> list[tuple[Any, ...]]:
    """Return the part of these counts that the correction has in force: FACETS may have other names since."""
    in_force = _gone_facets(correction_id)
    parts = {bucket: min(n, in_force.get(bucket, 0)) for bucket, n in values.items()}
    return [(correction_id, day_ms, facet, name, n, n) for (day_ms, _, facet, name), n in parts.items() if n]


def _forget_facets(correction_id: int, events: Iterable[Counted]) -> None:
    upsert(_LOWERED_FACETS, _restored_facets(correction_id, facets.names_of(events)))


_COLUMNS = ("id", "session_id", "source", *rollups.COUNTED)
_KEY = ("correction_id", "hour_ms", "model", "app_version", "write_mode", "connected", "source")
_SHARES = Upsert(
    CorrectionShare._meta.db_table,
    (*_KEY, "first_ms", "voided", "restored"),
    ", ".join(_KEY),
    f"{added('voided')}, {earliest('first_ms')}",
)
# The rows exist, because the transaction that voided the events created them.
_LOWERED = _SHARES._replace(update="voided = kept.voided - excluded.voided")
_RESTORED = _SHARES._replace(update=added("restored"))

_FACET_KEY = ("correction_id", "day_ms", "facet", "name")
_FACETS = Upsert(
    CorrectionFacet._meta.db_table, (*_FACET_KEY, "voided", "restored"), ", ".join(_FACET_KEY), added("voided")
)
_LOWERED_FACETS = _FACETS._replace(update="voided = kept.voided - excluded.voided")
_RESTORED_FACETS = _FACETS._replace(update=added("restored"))
