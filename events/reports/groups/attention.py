"""The failure groups that need attention: one list for all reasons, ranked by the people hit.

The measure is the number of failures in the span. A session names one flash attempt, and the unique key of events is
the type and the session. So within a group, a session counts once, and an event without a session counts as one.

Muted, resolved and expected groups are left out, except resolved ones that are still failing. Groups of browser
extensions and browser noise are listed only when they came back or are still failing. Source: FailureGroup, GroupHour.
"""

from enum import StrEnum
from typing import NamedTuple

from events import replica
from events.models import FailureGroup, GroupHour

# Smaller increases do not count as a rise.
LEAST_GROWTH = 3


class Reason(StrEnum):
    """Why a group needs attention. The first one that applies; of equal groups, an earlier reason ranks first."""

    REGRESSION = "regression"  # it came back after it was resolved, and nobody has decided since
    STILL_FAILING = "still_failing"  # resolved, but it fails in releases that should contain the fix
    NEW = "new"  # first seen in the span
    RISING = "rising"  # at least LEAST_GROWTH more failures than in the span before
    WAITING = "waiting"  # it fails in the span, and nobody has decided about it


class Entry(NamedTuple):
    """A group with its failures in the span and in the span before. No time is after now.

    `regressed_ms` is the time at which it came back, or was found to be still failing.
    """

    fingerprint: str
    title: str
    event_type: str
    first_ms: int
    regressed_ms: int | None
    fixed_in: str | None
    reason: Reason
    hits: int
    before: int

    def is_newer_than(self, at_ms: int | None) -> bool:
        """Return whether the group was first seen, or came back, after this time. Nothing is newer than None."""
        return at_ms is not None and max(self.first_ms, self.regressed_ms or 0) > at_ms


class Rest(NamedTuple):
    """The groups of one reason that are not listed, and their failures in the span."""

    reason: Reason
    groups: int
    hits: int


class Attention(NamedTuple):
    """The first entries, most failures first; the rest by reason; how many groups there are by reason.

    `newer` of all these groups were first seen, or came back, after the time that the caller asked for.
    """

    entries: list[Entry]
    rest: list[Rest]
    totals: dict[Reason, int]
    newer: int

    @property
    def total(self) -> int:
        return sum(self.totals.values())


def attention(
    start_ms: int, end_ms: int, now_ms: int, *, limit: int, is_compared: bool = True, newer_than_ms: int | None = None
) -> Attention:
    """Return up to `limit` groups for [start_ms, end_ms), bounds at whole hours, in one query.

    An incomplete span is compared with an equally long part of the span before it: today until 9:00 with yesterday
    until 9:00. Without a comparison, no group is new or rising.
    """
    known_ms, span_ms = min(end_ms, now_ms), end_ms - start_ms
    new_since_ms = start_ms if is_compared else _NEVER_MS
    least_growth = LEAST_GROWTH if is_compared else _NEVER_MS
    newer_ms = _NEVER_MS if newer_than_ms is None else newer_than_ms
    span, span_before = (start_ms, known_ms), (start_ms - span_ms, known_ms - span_ms)
    with replica.cursor(FailureGroup) as cursor:
        cursor.execute(
            _RANKED,
            [
                *span,
                *span,
                start_ms,
                *span_before,
                now_ms,
                start_ms,
                new_since_ms,
                least_growth,
                limit,
                newer_ms,
                newer_ms,
            ],
        )
        rows = cursor.fetchall()
    newer, entries, counted = 0, [], {reason: Rest(reason, 0, 0) for reason in Reason}
    for is_entry, key, title, event_type, first_ms, regressed_ms, fixed_in, rank, hits, before in rows:
        reason = _REASONS[rank]
        if is_entry:
            regressed_ms = None if regressed_ms is None else min(regressed_ms, now_ms)
            first_ms = min(first_ms, now_ms)
            entries.append(
                Entry(key, title, event_type, first_ms, regressed_ms, fixed_in, reason, int(hits), int(before))
            )
        else:  # the sums of a reason: `first_ms` is the number of groups, `before` that of the newer ones
            newer += int(before)
            counted[reason] = Rest(reason, int(first_ms), int(hits))
    entries.sort(key=lambda entry: (-entry.hits, _REASONS.index(entry.reason), -entry.first_ms, entry.fingerprint))
    rest = [_without(counted[reason], [entry for entry in entries if entry.reason == reason]) for reason in Reason]
    return Attention(
        entries,
        [part for part in rest if part.groups],
        {reason: part.groups for reason, part in counted.items() if part.groups},
        newer,
    )


def _without(whole: Rest, listed: list[Entry]) -> Rest:
    return whole._replace(groups=whole.groups - len(listed), hits=whole.hits - sum(entry.hits for entry in listed))


_NEVER_MS = 2**62
_REASONS = list(Reason)
_GROUPS, _HOURS = FailureGroup._meta.db_table, GroupHour._meta.db_table
_FAILURES = f"""COALESCE((
    SELECT SUM(accepted) FROM {_HOURS}
    WHERE {_HOURS}.fingerprint = {_GROUPS}.fingerprint AND hour_ms >= %s AND hour_ms < %s
), 0)"""  # noqa: S608 (our own names)
# One statement, so that the totals fit the entries. `reason` is an index of Reason. A group that began and ended in the
# span needs no sum of its hours; most groups are such rare ones.
_RANKED = f"""
WITH counted AS (
    SELECT fingerprint, title, event_type, first_seen_ms, fixed_in,
        CASE status WHEN 'open' THEN regressed_at_ms WHEN 'resolved' THEN unfixed_at_ms END AS regressed_ms, status,
        CASE WHEN first_seen_ms >= %s AND last_seen_ms < %s THEN accepted ELSE {_FAILURES} END AS hits,
        CASE WHEN first_seen_ms >= %s THEN 0 ELSE {_FAILURES} END AS earlier
    FROM {_GROUPS}
    WHERE ((status = 'open' OR (status = 'muted' AND muted_until_ms <= %s)) AND noise = '' AND last_seen_ms >= %s)
        OR (status = 'open' AND regressed_at_ms IS NOT NULL)
        OR (status = 'resolved' AND unfixed_at_ms IS NOT NULL)
), judged AS (
    SELECT *, CASE
        WHEN regressed_ms IS NOT NULL THEN CASE status WHEN 'open' THEN 0 ELSE 1 END
        WHEN first_seen_ms >= %s THEN 2
        WHEN hits - earlier >= %s THEN 3
        ELSE 4 END AS reason
    FROM counted WHERE hits > 0 OR regressed_ms IS NOT NULL
)
SELECT * FROM (
    SELECT 1, fingerprint, title, event_type, first_seen_ms, regressed_ms, fixed_in, reason, hits, earlier
    FROM judged ORDER BY hits DESC, reason, first_seen_ms DESC, fingerprint LIMIT %s
) AS entries
UNION ALL
SELECT 0, '', '', '', COUNT(*), NULL, NULL, reason, SUM(hits),
    SUM(CASE WHEN first_seen_ms > %s OR regressed_ms > %s THEN 1 ELSE 0 END)
FROM judged GROUP BY reason
"""  # noqa: S608 (our own names)
