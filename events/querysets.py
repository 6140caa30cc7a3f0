"""Named queries for events. Filters are adjectives and can be chained; aggregates are nouns and end the chain."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Self, TypeVar

from django.db import models

from events import keyset

SUCCESS = "flash_success"
MAX_VALUE = 64  # characters of a value that is counted as a facet
_to_json = json.JSONEncoder(ensure_ascii=False).encode

# The models import this module, so it cannot import them.
Row = TypeVar("Row", bound=models.Model)


class FramePosition(NamedTuple):
    """A position in a file of a version, as the engine wrote it."""

    app_version: str
    file: str
    line: int
    column: int


class _Literal(models.Value):
    """A constant in the text of the SQL, and not a parameter. For our own names only.

    The index of failures contains a row if its type is not this constant. SQLite cannot know that a parameter has the
    same value, so it would read the row of each entry of the index.
    """

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        return f"'{self.value}'", ()


class NumberOf(models.Subquery):
    """The number of rows of a query with a limit, as an expression. So one statement can count several queries."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = models.IntegerField()


class EventQuerySet(models.QuerySet[Row]):
    def failures(self) -> Self:
        return self.exclude(event_type=_Literal(SUCCESS))

    def successes(self) -> Self:
        return self.filter(event_type=SUCCESS)

    def counted(self) -> Self:
        """Exclude void successes."""
        return self.filter(correction__isnull=True)

    def demo(self) -> Self:
        return self.filter(source="demo")

    def between(self, start_ms: int, end_ms: int) -> Self:
        """Keep events received in [start_ms, end_ms), epoch milliseconds by our clock."""
        return self.filter(received_at_ms__gte=start_ms, received_at_ms__lt=end_ms)

    def of_type(self, event_type: str) -> Self:
        return self.filter(event_type=event_type)

    def of_sessions(self, *session_ids: str) -> Self:
        return self.filter(self._sessions(*session_ids))

    def of_group(self, fingerprint: str) -> Self:
        return self.filter(fingerprint=fingerprint)

    def of_groups(self, keys: Any) -> Self:
        """Keep the events of the groups that a query or a list of keys selects."""
        return self.filter(fingerprint__in=keys)

    def of_no_group(self, keys: Any) -> Self:
        """Keep the events of all other groups, and those without a group."""
        return self.exclude(fingerprint__in=keys)

    def mentioning(self, text: str, places: Iterable[FramePosition] = ()) -> Self:
        """Keep the events that contain the text in a text column, except log lines and metadata.

        Also keep those whose stack has one of these generated places.
        """
        anywhere = models.Q()
        for column in ("message", "error_name", "stack", "session_id", "model", "app_version"):
            anywhere |= models.Q(**{f"{column}__icontains": text})
        for place in places:
            position = f":{place.line}:{place.column}"
            has_position = models.Q(stack__endswith=position)
            for end in (")", "\n", "\r"):
                has_position |= models.Q(stack__contains=f"{position}{end}")
            # The file is apart from the position, because a query can be between them.
            anywhere |= models.Q(app_version=place.app_version, stack__contains=place.file) & has_position
        return self.filter(anywhere)

    def with_facet(self, key: str, value: str) -> Self:
        """Keep the events whose metadata has this string, integer or boolean under a key of the top level.

        Compares JSON text, because metadata is stored in one form: compact, without needless escapes.
        """
        has_value = self._has_facet(key, value)
        return self.none() if has_value is None else self.filter(has_value)

    def without_facet(self, key: str, value: str) -> Self:
        """Keep the events that do not have this value under the key, and those without the key."""
        has_value = self._has_facet(key, value)
        if has_value is None:
            return self.all()
        # A negation would drop the events without the key: on PostgreSQL the condition is NULL for them.
        return self.filter(models.Case(models.When(has_value, then=models.Value(False)), default=models.Value(True)))

    def _has_facet(self, key: str, value: str) -> models.Case | None:
        """Return the condition that an event has this value, None if no event can have it."""
        if not 1 <= len(value) <= MAX_VALUE:
            return None
        values = [_to_json(value)]
        if value in ("true", "false") or re.fullmatch("-?[1-9][0-9]*|0", value):
            values.append(value)
        # The search for the text is fast, and guards the parser of PostgreSQL, which fails on invalid JSON.
        texts = [f"{_to_json(key)}:{text}" for text in values]
        may_match = models.Q(metadata_json__startswith="{", metadata_json__endswith="}")
        may_match &= reduce(or_, (models.Q(metadata_json__contains=text) for text in texts))
        return models.Case(
            models.When(may_match, then=_IsMember("metadata_json", key=key, values=values)), default=models.Value(False)
        )

    def named(self, name: str) -> Self:
        """Keep the event with this id and the events of the session with this name. Uses indexes; returns few rows."""
        return self.filter(models.Q(id=name) | self._sessions(name))

    def _sessions(self, *session_ids: str) -> models.Q:
        # The only index with sessions is the idempotency key. It begins with the type, so the query lists every type.
        # An index on the session alone would nearly double the cost of a batch, because session ids are random.
        event_type: Any = self.model._meta.get_field("event_type")
        types = [name for name, _ in event_type.flatchoices]
        return models.Q(event_type__in=types, session_id__in=session_ids)

    def newest_first(self) -> Self:
        return self.order_by("-received_at_ms", "-id")


class _IsMember(models.Func):
    """Whether a text is a JSON object with one of these JSON texts under a key of the top level."""

    output_field = models.BooleanField()

    def __init__(self, column: str, *, key: str, values: list[str]) -> None:
        super().__init__(column)
        self.key, self.values = key, values

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, list[Any]]:
        sql, parameters = compiler.compile(self.source_expressions[0])
        # The type `json` keeps the text of a value; `jsonb` does not.
        return f"(({sql})::json -> %s)::text IN ({_slots(self.values)})", [*parameters, self.key, *self.values]

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, tuple[Any, ...]]:
        sql, parameters = compiler.compile(self.source_expressions[0])
        # With one path, json_extract converts the value: a long integer becomes a float. With two it returns JSON.
        path = f"$.{self.key}"
        pairs = [f"[{value},{value}]" for value in self.values]
        return (
            f"CASE WHEN json_valid({sql}) THEN json_extract({sql}, %s, %s) IN ({_slots(pairs)}) ELSE 0 END",
            (*parameters, *parameters, path, path, *pairs),
        )


def _slots(values: list[str]) -> str:
    return ", ".join(["%s"] * len(values))


class FailureGroupQuerySet(models.QuerySet[Row]):
    def expected(self) -> Self:
        """Keep the groups whose events are no failures, by a decision."""
        return self.filter(status="expected")

    def mentioning(self, text: str) -> Self:
        """Keep the groups whose title, error or frame contains the text."""
        anywhere = models.Q()
        for column in ("title", "canonical", "error_name", "frame"):
            anywhere |= models.Q(**{f"{column}__icontains": text})
        return self.filter(anywhere)


class FormerGroupQuerySet(models.QuerySet[Row]):
    def merged(self) -> Self:
        """Keep the groups that maintainers merged."""
        return self.filter(is_merged=True)

    def within(self, fingerprint: str) -> list[Row]:
        """Return the former groups whose events belong to this group, also through other former groups."""
        found: dict[str, Row] = {}
        keys = [fingerprint]
        while keys:
            rows = list(self.filter(joined__in=keys).exclude(pk__in=[fingerprint, *found]).order_by("pk"))
            keys = [str(row.pk) for row in rows]
            found.update(zip(keys, rows, strict=True))
        return list(found.values())

    def successor(self, fingerprint: str) -> str:
        """Return the group that the events of this group belong to now: the same one, unless it is a former group."""
        passed = {fingerprint}
        while key := self.filter(pk=fingerprint).values_list("joined", flat=True).first():
            if key in passed:
                break
            passed.add(key)
            fingerprint = key
        return fingerprint


def batches(rows: models.QuerySet[Any], at_once: int) -> Iterator[list[str]]:
    """Yield the ids of rows with `received_at_ms` and `id`, oldest first, in batches of `at_once`.

    Each batch is selected before the caller takes its locks, because the query may skip many rows. No row repeats.
    """
    ordered = rows.order_by("received_at_ms", "id").values_list("received_at_ms", "id")
    for batch in keyset.in_batches(ordered, at_once):
        yield [row_id for _, row_id in batch]
