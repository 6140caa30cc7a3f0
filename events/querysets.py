"""The read vocabulary of events: filters are adjectives and chain, aggregates are nouns and end the chain."""

from collections.abc import Iterator
from typing import Any, Self, TypeVar

from django.db import models

SUCCESS = "flash_success"

# A model names its QuerySet, so the QuerySet does not import the model.
Row = TypeVar("Row", bound=models.Model)


class EventQuerySet(models.QuerySet[Row]):
    def failures(self) -> Self:
        return self.exclude(event_type=SUCCESS)

    def successes(self) -> Self:
        return self.filter(event_type=SUCCESS)

    def counted(self) -> Self:
        """Leave out void successes."""
        return self.filter(correction__isnull=True)

    def made_up(self) -> Self:
        return self.filter(source="demo")

    def between(self, start_ms: int, end_ms: int) -> Self:
        """Keep what came in [start_ms, end_ms), epoch milliseconds by our clock."""
        return self.filter(received_at_ms__gte=start_ms, received_at_ms__lt=end_ms)

    def of_type(self, event_type: str) -> Self:
        return self.filter(event_type=event_type)

    def for_model(self, model: str) -> Self:
        return self.filter(model=model)

    def of_version(self, app_version: str) -> Self:
        return self.filter(app_version=app_version)

    def of_sessions(self, *session_ids: str) -> Self:
        return self.filter(self._sessions(*session_ids))

    def of_group(self, fingerprint: str) -> Self:
        return self.filter(fingerprint=fingerprint)

    def mentioning(self, text: str) -> Self:
        """Keep the events that hold the text anywhere in what they tell, log lines and metadata aside."""
        anywhere = models.Q()
        for column in ("message", "error_name", "stack", "session_id", "model", "app_version"):
            anywhere |= models.Q(**{f"{column}__icontains": text})
        return self.filter(anywhere)

    def named(self, name: str) -> Self:
        """Keep the event with this id and the events of the session with this name: a handful, by index."""
        return self.filter(models.Q(id=name) | self._sessions(name))

    def _sessions(self, *session_ids: str) -> models.Q:
        # The one index over sessions is the key of idempotency, which begins with the type: so every type is named.
        # Another one would find them without, and nearly double the price of a batch: sessions come in no order.
        event_type: Any = self.model._meta.get_field("event_type")
        types = [name for name, _ in event_type.flatchoices]
        return models.Q(event_type__in=types, session_id__in=session_ids)

    def newest_first(self) -> Self:
        return self.order_by("-received_at_ms", "-id")

    def older_than(self, received_at_ms: int, event_id: str) -> Self:
        """Keep what stands after this event in `newest_first()`: one step of a keyset page."""
        return self.filter(_before(received_at_ms, event_id))

    def newer_than(self, received_at_ms: int, event_id: str) -> Self:
        """Keep what stands before this event in `newest_first()`."""
        return self.filter(_after(received_at_ms, event_id, strictly=True))

    def down_to(self, received_at_ms: int, event_id: str) -> Self:
        """Keep what stands before this event in `newest_first()`, and the event itself."""
        return self.filter(_after(received_at_ms, event_id, strictly=False))


# The plain bound on the time is what the index understands; the pair settles equal milliseconds.


def _before(received_at_ms: int, event_id: str) -> models.Q:
    return models.Q(received_at_ms__lte=received_at_ms) & (
        models.Q(received_at_ms__lt=received_at_ms) | models.Q(id__lt=event_id)
    )


def _after(received_at_ms: int, event_id: str, *, strictly: bool) -> models.Q:
    same = models.Q(id__gt=event_id) if strictly else models.Q(id__gte=event_id)
    return models.Q(received_at_ms__gte=received_at_ms) & (models.Q(received_at_ms__gt=received_at_ms) | same)


class FailureGroupQuerySet(models.QuerySet[Row]):
    def mentioning(self, text: str) -> Self:
        """Keep the groups whose masked words, error or place in the code hold the text."""
        return self.filter(
            models.Q(title__icontains=text) | models.Q(error_name__icontains=text) | models.Q(frame__icontains=text)
        )


def batches(rows: models.QuerySet[Any], at_once: int) -> Iterator[list[str]]:
    """Yield the ids of rows that have `received_at_ms` and `id`, oldest first, so many at a time.

    Each batch is found before the caller takes its locks, for what stays may be many rows to walk over; no row twice.
    """
    after = (0, "")
    ordered = rows.order_by("received_at_ms", "id").values_list("received_at_ms", "id")
    while True:
        rest = ordered.filter(received_at_ms__gte=after[0]).exclude(received_at_ms=after[0], id__lte=after[1])
        batch = list(rest[:at_once])
        if not batch:
            return
        yield [row_id for _, row_id in batch]
        after = batch[-1]


def in_pages(rows: models.QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """Yield the rows in lists of `size`, the last one shorter; no more than one list is held."""
    page: list[Any] = []
    for row in rows.iterator(size):
        page.append(row)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
