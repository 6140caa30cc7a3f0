"""A failure group compared with the flashes that are not in it: by value, in the same days, in words."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.counting import rollups
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import groups
from events.grouping.fingerprints import Fingerprint
from events.maintenance import regrouping
from events.models import FailureGroup, GroupShare
from events.reports.groups import breakdowns, ranking
from events.reports.groups.breakdowns import Comparison, Finding, Part
from events.rows import EventRow
from tests.plans import sought_by

pytestmark = pytest.mark.django_db

TODAY_MS = 1_770_854_400_000  # 2026-02-12 00:00 UTC
NOW_MS = TODAY_MS + 15 * HOUR_MS
ROW = EventRow(
    id="", received_at_ms=NOW_MS, occurred_at="", event_type="flash_error", session_id=None, model="UV-5RM",
    write_mode=1, connected=1, app_version="19afc18", message="", error_name=None, stack=None, log_lines_json="",
    metadata_json="", source="event",
)  # fmt: skip


def rows(count: int, *, days_ago: int = 0, **changes: Any) -> list[EventRow]:
    return [ROW._replace(received_at_ms=NOW_MS - days_ago * DAY_MS, **changes)] * count


def count_flashes(*flashes: list[EventRow]) -> None:
    """Count successes of other users; no event is stored, as after a prune."""
    rollups.add(row._replace(event_type="flash_success") for part in flashes for row in part)


def count_failures(*failures: list[EventRow], key: str = "group") -> FailureGroup:
    """Count failures of one group, as ingest does; return the group."""
    events: list[Any] = [row for part in failures for row in part]
    rollups.add(events)
    groups.join([(event, Fingerprint(key, "No ACK", "")) for event in events], reopening=False)
    return ranking.seen_until(NOW_MS).get(pk=key)


def compare(group: FailureGroup, *, days: int | None = 30) -> Comparison:
    return breakdowns.compare(group, None if days is None else TODAY_MS - (days - 1) * DAY_MS, NOW_MS)


def in_words(findings: Iterable[Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def shares(parts: list[Part]) -> dict[str, tuple[int, float, float | None]]:
    return {
        part.name: (part.events, round(part.of_group, 3), part.of_others and round(part.of_others, 3)) for part in parts
    }


# --- who is compared with whom --------------------------------------------------------------------------------------


def test_the_group_is_no_part_of_the_others() -> None:
    count_flashes(rows(80, model="a"), rows(20, model="b"))
    group = count_failures(rows(60, model="b"), rows(20, model="a"))
    assert shares(compare(group).parts["model"]) == {"b": (60, 0.75, 0.2), "a": (20, 0.25, 0.8)}


def test_other_failed_flashes_are_flashes_and_other_failures_are_not() -> None:
    count_failures(rows(10, model="a"), key="another group")
    count_failures(rows(50, model="c", event_type="connect_error"), key="a connection")
    group = count_failures(rows(10, model="b"))
    assert shares(compare(group).parts["model"]) == {"b": (10, 1.0, 0.0)}


@pytest.mark.parametrize("event_type", ["connect_error", "window_error", "unhandled_rejection"])
def test_a_group_of_another_type_is_compared_with_all_flashes(event_type: str) -> None:
    count_flashes(rows(300, model="a"), rows(100, model="b"))
    group = count_failures(rows(90, model="b", event_type=event_type))
    compared = compare(group)
    assert shares(compared.parts["model"]) == {"b": (90, 1.0, 0.25)}
    assert (compared.is_flash, compared.others) == (False, "flashes")
    assert in_words(compared.findings) == ["only b (25 % of flashes)"]


@pytest.mark.parametrize(
    ("days", "events", "of_others"), [(1, 1, 0.0), (2, 3, 1 / 5), (7, 3, 1 / 5), (30, 7, 4 / 8), (None, 15, 10 / 16)]
)
def test_both_sides_cover_the_days_of_the_span(days: int | None, events: int, of_others: float) -> None:
    """Flashes of tomorrow, which come from a wrong clock, count on neither side."""
    count_flashes(
        rows(4, model="b"), rows(1, model="a", days_ago=1), rows(3, model="a", days_ago=29),
        rows(6, model="a", days_ago=200), rows(2, model="b", days_ago=200), rows(9, model="b", days_ago=-1),
    )  # fmt: skip
    failures = [(1, 0), (2, 1), (4, 29), (8, 200)]
    group = count_failures(*(rows(count, model="a", days_ago=days_ago) for count, days_ago in failures))
    compared = compare(group, days=days)
    [part] = compared.parts["model"]
    assert compared.events == part.events == events
    assert part.of_others == of_others


def test_an_hour_of_a_day_covers_the_whole_day() -> None:
    count_flashes(rows(4, model="a", days_ago=1))
    group = count_failures(rows(1, model="b"))
    start_ms = NOW_MS - DAY_MS + 5 * HOUR_MS
    compared = breakdowns.compare(group, start_ms, NOW_MS)
    assert compared.start_ms == TODAY_MS - DAY_MS
    assert shares(compared.parts["model"]) == {"b": (1, 1.0, 0.0)}


def test_failures_of_unknown_days_count_over_all_time_alone() -> None:
    count_flashes(rows(10, app_version="old", days_ago=50), rows(10, app_version="new"))
    group = count_failures(rows(6, app_version="old", days_ago=50), rows(4, app_version="new"))
    GroupShare.objects.filter(day_ms__lt=TODAY_MS).update(day_ms=groups.UNKNOWN_DAY)
    assert compare(group, days=90).events == 4
    compared = compare(group, days=None)
    assert compared.events == 10
    # Each version was used on one day, on which no other version was.
    assert shares(compared.parts["version"]) == {"old": (6, 1.0, 1.0), "new": (4, 1.0, 1.0)}


def test_a_group_without_failures_in_the_span_has_no_parts() -> None:
    group = count_failures(rows(3, days_ago=40))
    compared = compare(group)
    assert compared == Comparison(TODAY_MS - 29 * DAY_MS, True, 0, {facet: [] for facet in compared.parts}, [])


def test_without_other_flashes_nothing_stands_out() -> None:
    compared = compare(count_failures(rows(500)))
    [part] = compared.parts["model"]
    assert (part.of_others, part.others_interval, part.distance) == (None, (0.0, 1.0), 0.0)
    assert compared.findings == []


def test_a_count_that_rebuilt_rollups_give_another_name_is_not_below_zero() -> None:
    count_flashes(rows(10, model="a"))
    group = count_failures(rows(5, model="b"))
    GroupShare.objects.filter(facet="model").update(name="renamed")
    assert shares(compare(group).parts["model"]) == {"renamed": (5, 1.0, 0.0)}


def test_a_facet_that_only_the_group_counts_is_listed() -> None:
    group = count_failures(rows(5))
    GroupShare.objects.create(fingerprint=group.pk, facet="f.usb", name="1a86:7523", day_ms=TODAY_MS, accepted=5)
    assert shares(compare(group).parts["f.usb"]) == {"1a86:7523": (5, 1.0, None)}


# --- versions -------------------------------------------------------------------------------------------------------


def test_a_new_release_with_all_of_a_new_group_stands_out_on_its_first_day() -> None:
    count_flashes(
        *(rows(100, app_version="19afc18", days_ago=days_ago) for days_ago in range(1, 30)),
        rows(78, app_version="19afc18"), rows(22, app_version="c0ffee1"),
    )  # fmt: skip
    group = count_failures(rows(12, app_version="c0ffee1"))
    compared = compare(group)
    assert shares(compared.parts["version"]) == {"c0ffee1": (12, 1.0, 0.22)}
    assert in_words(compared.findings) == ["only c0ffee1 (22 % of other flashes)"]


def test_a_version_is_compared_in_the_days_of_its_use() -> None:
    """Between the first and the last day with a flash or a failure of the version, days without one included."""
    count_flashes(
        rows(50, app_version="long", days_ago=20),
        rows(30, app_version="long", days_ago=9), rows(10, app_version="short", days_ago=9),
        rows(40, app_version="long", days_ago=8),
        rows(20, app_version="long", days_ago=6),
        rows(60, app_version="long"),
    )  # fmt: skip
    group = count_failures(
        rows(7, app_version="long", days_ago=20),
        rows(3, app_version="long", days_ago=8),
        rows(6, app_version="short", days_ago=6),  # its last day
        rows(4, app_version="long"),
    )
    parts = shares(compare(group).parts["version"])
    assert parts == {"short": (6, round(6 / 9, 3), 0.1), "long": (14, 0.7, round(200 / 210, 3))}


def test_a_version_that_has_gone_is_not_hidden_by_later_days() -> None:
    count_flashes(
        *(rows(50, app_version="old", days_ago=days_ago) for days_ago in (22, 21, 20)),
        *(rows(50, app_version="new", days_ago=days_ago) for days_ago in range(20)),
    )
    group = count_failures(rows(20, app_version="old", days_ago=21), rows(20, app_version="new", days_ago=2))
    assert shares(compare(group).parts["version"]) == {"old": (20, 1.0, 1.0), "new": (20, 1.0, 1.0)}
    assert compare(group).findings == []


# --- what stands out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "of_group", "others", "of_others", "expected"),
    [
        (1, 1, 1_000, 220, None),
        (1, 1, 1_000, 0, None),
        (3, 3, 1_000, 900, None),
        (4, 4, 1_000, 10, None),
        (5, 5, 1_000, 220, "only x (22 % of other flashes)"),
        (5, 5, 9, 2, None),
        (5, 5, 0, 0, None),
        (5, 5, 1, 0, None),
        (5, 5, 30, 0, "only x (0 % of other flashes)"),
        (100, 100, 1_000, 980, None),
        (1_000, 1_000, 8_000, 7_840, None),
        (7, 10, 1_000, 40, "x: 70 % of these, 4 % of other flashes"),
        (71, 100, 1_000, 120, "x: 71 % of these, 12 % of other flashes"),
        (30, 100, 1_000, 250, None),
        (2_400, 8_000, 8_000, 2_160, None),
        (996, 1_000, 1_000, 5, "x: 99.6 % of these, 0.5 % of other flashes"),
        (10, 1_000, 1_000, 900, None),
    ],
)  # fmt: skip
def test_small_numbers_and_small_differences_do_not_stand_out(
    events: int, of_group: int, others: int, of_others: int, expected: str | None
) -> None:
    """Of `of_group` failures, `events` have the value `x`; of `others` flashes, `of_others`."""
    count_flashes(rows(of_others, model="x"), rows(others - of_others, model="y"))
    group = count_failures(rows(events, model="x"), rows(of_group - events, model="y"))
    found = [finding for finding in compare(group).findings if finding.part.name == "x"]
    assert in_words(found) == ([expected] if expected else [])


def test_the_parts_are_sorted_by_how_much_they_stand_out() -> None:
    """First the gap between the intervals, then the count. A value that is rarer in the group follows."""
    count_flashes(
        rows(100, model="common"), rows(880, model="rarer"), rows(10, model="first"), rows(10, model="second")
    )
    group = count_failures(
        rows(45, model="first"), rows(25, model="second"), rows(20, model="common"), rows(8, model="rarer"),
        rows(2, model="alone"),
    )  # fmt: skip
    parts = compare(group).parts["model"]
    assert [part.name for part in parts] == ["first", "second", "common", "alone", "rarer"]
    assert [part.is_striking for part in parts] == [True, True, False, False, False]
    first, *_, alone, rarer = parts
    assert first.distance == first.group_interval[0] - first.others_interval[1]
    assert alone.distance == 0
    assert rarer.distance == rarer.group_interval[1] - rarer.others_interval[0] < 0


@pytest.mark.parametrize("name", ["unknown", "dev", OTHER])
def test_a_name_that_says_nothing_is_last_and_does_not_stand_out(name: str) -> None:
    count_flashes(rows(100, app_version="19afc18"))
    group = count_failures(rows(90, app_version=name), rows(10, app_version="19afc18"))
    compared = compare(group)
    assert [part.name for part in compared.parts["version"]] == ["19afc18", name]
    assert compared.findings == []


def test_findings_are_in_words_of_their_facets_the_clearest_first() -> None:
    count_flashes(rows(100, model="a", write_mode=0, connected=1), rows(100, model="b", write_mode=1, connected=1))
    group = count_failures(
        rows(40, model="a", write_mode=1, connected=0), rows(10, model="b", write_mode=1, connected=0)
    )
    assert in_words(compare(group).findings) == [
        "only not connected (0 % of other flashes)",
        "only write mode (50 % of other flashes)",
        "a: 80 % of these, 50 % of other flashes",
    ]


def test_a_facet_without_words_of_its_own_is_named() -> None:
    part = Part("1a86:7523", events=9, total=10, others=10, others_total=100)
    words = {facet: str(Finding(facet, part, False, "flashes")) for facet in ("f.usb", "f.browser", "model")}
    assert words == {
        "f.usb": "usb 1a86:7523: 90 % of these, 10 % of flashes",
        "f.browser": "1a86:7523: 90 % of these, 10 % of flashes",
        "model": "1a86:7523: 90 % of these, 10 % of flashes",
    }


@pytest.mark.parametrize(
    ("of_100_000", "expected"),
    [
        (0, "0 %"), (40, "under 0.1 %"), (100, "0.1 %"), (949, "0.9 %"), (1_000, "1 %"), (12_500, "12 %"),
        (98_900, "99 %"), (99_120, "99.1 %"), (99_999, "99.9 %"), (100_000, "100 %"),
    ],
)  # fmt: skip
def test_only_a_whole_share_is_a_hundred_per_cent_and_only_an_empty_one_zero(of_100_000: int, expected: str) -> None:
    finding = Finding("model", Part("x", of_100_000, 100_000, of_100_000, 100_000), False, "flashes")
    assert (finding.of_group, finding.of_others) == (expected, expected)


# --- the queries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [30, None])
def test_a_comparison_takes_two_queries(days: int | None) -> None:
    count_flashes(*(rows(2, days_ago=days_ago, app_version=f"v{days_ago % 5}") for days_ago in range(20)))
    group = count_failures(*(rows(2, days_ago=days_ago, app_version=f"v{days_ago % 3}") for days_ago in range(20)))
    assert regrouping.compare() == []
    with CaptureQueriesContext(connection) as queries:
        compare(group, days=days)
    assert len(queries) == 2


def test_the_shares_of_a_group_are_sought_with_an_index() -> None:
    count_flashes(*(rows(2, days_ago=days_ago) for days_ago in range(20)))
    group = count_failures(*(rows(2, days_ago=days_ago) for days_ago in range(20)))
    with CaptureQueriesContext(connection) as queries:
        compare(group)
    assert "fingerprint" in sought_by(queries[0]["sql"])[0]
