"""The writer of FacetRollup: the facets of an event, its counts through every change, and the caps."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum

from events import clock, process_memory
from events.counting import buckets, corrections, facets, rollups
from events.counting.buckets import DAY_MS, OTHER
from events.counting.corrections import Selection
from events.grouping import merges
from events.ingest import contract, writer
from events.maintenance import regrouping, retention
from events.models import CorrectionFacet, Event, FacetRollup, FailureGroup, GroupShare, KnownName, Source
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
DAY = Selection(NOON_MS - DAY_MS, NOON_MS + DAY_MS)


def meta(**values: Any) -> str:
    return json.dumps(values)


def failure(number: int = 0, *, at_ms: int = NOON_MS, **metadata: Any) -> Any:
    return contract.parse(
        payload(occurred_at=f"2026-02-12T18:00:00.{number:03}Z", metadata_json=meta(**metadata)), received_at_ms=at_ms
    )


def counts() -> dict[tuple[str, str, str], int]:
    rows = FacetRollup.objects.filter(accepted__gt=0).values_list("event_type", "facet", "name", "accepted")
    return {(event_type.removeprefix("flash_"), facet, name): n for event_type, facet, name, n in rows}


def shares() -> dict[tuple[str, str], int]:
    rows = GroupShare.objects.filter(facet__startswith="f.").values_list("facet", "name")
    return {(facet, name): n for facet, name, n in rows.annotate(n=Sum("accepted"))}


def assert_counts_are_events() -> None:
    for day_ms in rollups.days_in_use(0, None):
        assert rollups.compare(day_ms) == []
    assert regrouping.compare() == []


TOLD = [
    ('{"browser":"Chrome 139"}', "Chrome 139"),
    ('{"browser":" "}', " "),
    ('{"browser":"' + "x" * 64 + '"}', "x" * 64),
    ('{"browser":"' + "\U0001f600" * 64 + '"}', "\U0001f600" * 64),
    ('{"browser":"' + "x" * 65 + '"}', None),
    ('{"browser":""}', None),
    ('{"browser":1}', "1"),
    ('{"browser":-1}', "-1"),
    ('{"browser":-0}', "0"),
    ('{"browser":' + "9" * 64 + "}", "9" * 64),
    ('{"browser":' + "9" * 65 + "}", None),
    ('{"browser":1.0}', None),
    ('{"browser":1e3}', None),
    ('{"browser":true}', "true"),
    ('{"browser":false}', "false"),
    ('{"browser":null}', None),
    ('{"browser":["Chrome 139"]}', None),
    ('{"browser":{"browser":"Chrome 139"}}', None),
    ('{"page":{"browser":"Chrome 139"}}', None),
    ('{"page":{"browser":"Edge"},"browser":"Chrome 139"}', "Chrome 139"),
    ('[{"browser":"Chrome 139"}]', None),
    ('["browser","Chrome 139"]', None),
    ('{"Browser":"Chrome 139"}', None),
    (r'{"br\u006fwser":"Chrome\u0020139"}', "Chrome 139"),
    (r'{"browser":"a\u0000b\ud800c"}', "a\ufffdb\ufffdc"),
    (r'{"browser":"say \"hi\"\n\u0001\\"}', 'say "hi"\n\x01\\'),
    ('{"browser":"\u0085\u2028é"}', "\u0085\u2028é"),
    ('{"browser":"%_\'"}', "%_'"),
]


@pytest.mark.parametrize(("metadata_json", "expected"), TOLD)
def test_a_value_is_a_short_string_an_integer_or_a_boolean_at_the_top(metadata_json: str, expected: str | None) -> None:
    make_event(**success(metadata_json=metadata_json))
    assert list(FacetRollup.objects.values_list("facet", "name")) == ([("f.browser", expected)] if expected else [])


@pytest.mark.parametrize("text", ["", "{", '"browser"', "null", "[" * 10_000, '{"browser":' * 4_000, "9" * 5_000])
def test_text_that_is_no_json_object_tells_nothing(text: str) -> None:
    assert facets.values_in(text) == ()


def test_successes_and_failures_are_counted_by_day_type_and_value() -> None:
    writer.record_many(
        [
            failure(1, browser="Chrome 139", os="Windows", flashMs=12),
            failure(2, browser="Chrome 139", os="Linux"),
            failure(3, at_ms=NOON_MS + DAY_MS, browser="Chrome 139"),
            contract.parse(success(metadata_json=meta(browser="Chrome 139", step=3)), received_at_ms=NOON_MS),
            contract.parse(success(), received_at_ms=NOON_MS),
        ]
    )
    assert counts().keys() == {
        ("error", "f.browser", "Chrome 139"),
        ("error", "f.os", "Windows"),
        ("error", "f.os", "Linux"),
        ("success", "f.browser", "Chrome 139"),
        ("success", "f.step", "3"),
    }
    assert set(FacetRollup.objects.filter(facet="f.browser").values_list("day_ms", "event_type", "accepted")) == {
        (NOON_MS - NOON_MS % DAY_MS, "flash_error", 2),
        (NOON_MS - NOON_MS % DAY_MS, "flash_success", 1),
        (NOON_MS - NOON_MS % DAY_MS + DAY_MS, "flash_error", 1),
    }
    assert shares() == {("f.browser", "Chrome 139"): 3, ("f.os", "Windows"): 1, ("f.os", "Linux"): 1}
    assert_counts_are_events()


def test_a_duplicate_is_not_counted_again() -> None:
    writer.record_many([failure(browser="Safari 18"), failure(browser="Safari 18")])
    writer.record(failure(browser="Edge 139"))
    assert counts() == {("error", "f.browser", "Safari 18"): 1}
    assert shares() == {("f.browser", "Safari 18"): 1}


def test_a_changed_setting_counts_from_then_on_and_keeps_the_rows(settings: Any) -> None:
    writer.record(failure(1, browser="Chrome 139", firmware="2.1"))
    settings.FACETS = ("firmware",)
    writer.record(failure(2, browser="Chrome 139", firmware="2.1"))
    assert counts() == {("error", "f.browser", "Chrome 139"): 1, ("error", "f.firmware", "2.1"): 1}
    assert_counts_are_events()  # the first day of a facet may lack events
    settings.FACETS = ()
    writer.record(failure(3, browser="Chrome 139", firmware="2.1"))
    assert counts() == {("error", "f.browser", "Chrome 139"): 1, ("error", "f.firmware", "2.1"): 1}
    assert_counts_are_events()


def test_values_beyond_the_capacity_of_a_day_are_counted_as_other_and_known_ones_are_not() -> None:
    writer.record(failure(0, at_ms=NOON_MS - DAY_MS, browser="Chrome 139"))
    writer.record_many([failure(number, browser=f"invented {number}") for number in range(1, 100)])
    process_memory.clear()
    writer.record_many([failure(200, browser="Chrome 139"), failure(201, browser="late"), failure(202, os="Linux")])
    today = FacetRollup.objects.filter(day_ms=NOON_MS - NOON_MS % DAY_MS)
    names = dict(today.filter(facet="f.browser").values_list("name", "accepted"))
    new = buckets.MAX_VALUES_A_DAY - 2  # "unknown" and "Chrome 139" have a place of their own
    assert len(names) == new + 2
    assert names[OTHER] == 99 - new + 1
    assert names["Chrome 139"] == 1
    assert list(today.filter(facet="f.os").values_list("name", flat=True)) == ["Linux"]
    assert shares()["f.browser", OTHER] == names[OTHER]
    assert_counts_are_events()


def test_the_facet_model_is_not_the_model(settings: Any) -> None:
    settings.FACETS = ("model",)
    writer.record(failure(model="mine"))
    assert set(KnownName.objects.values_list("facet", "name")) >= {("model", "UV-5RM"), ("f.model", "mine")}
    assert shares() == {("f.model", "mine"): 1}


def test_a_placeholder_that_is_completed_counts_its_facets() -> None:
    event = contract.parse(success(session_id="s", metadata_json=meta(browser="Chrome 139")), received_at_ms=NOON_MS)
    writer.record(event._replace(metadata_json="{}", model="unknown", source=Source.INCREMENT.value))
    assert counts() == {}
    writer.record_many([event, event])
    assert counts() == {("success", "f.browser", "Chrome 139"): 1}
    assert KnownName.objects.filter(facet="f.browser", name="Chrome 139").exists()
    assert_counts_are_events()


def test_a_failure_of_the_old_log_that_is_completed_counts_its_facets() -> None:
    event = failure(browser="Chrome 139", os="Windows")
    writer.record(event._replace(metadata_json='{"os":"Linux"}', source=Source.CLIENT_LOG.value))
    writer.record(event)
    assert counts() == {("error", "f.browser", "Chrome 139"): 1, ("error", "f.os", "Linux"): 1}
    assert shares() == {("f.browser", "Chrome 139"): 1, ("f.os", "Linux"): 1}
    assert_counts_are_events()


def test_a_correction_takes_the_facets_and_its_undo_gives_them_back(settings: Any) -> None:
    for _ in range(3):
        make_event(**success(metadata_json=meta(browser="Chrome 139", os="Windows")), received_at_ms=NOON_MS)
    before = counts()
    correction = corrections.begin(DAY, who="m", at=clock.now(), why="forged")
    list(corrections.carry_out(correction))
    assert counts() == {}
    assert_counts_are_events()
    # Before the undo, one success is deleted and FACETS changes.
    erased = Event.objects.values_list("session_id", flat=True).first()
    retention.erase(erased, who="m", at=clock.now(), why="asked")
    settings.FACETS = ("browser", "os", "usb")
    list(corrections.undo(correction, who="m", at=clock.now(), why="real"))
    assert counts() == before
    assert set(CorrectionFacet.objects.values_list("name", "voided", "restored")) == {
        ("Chrome 139", 3, 3), ("Windows", 3, 3)
    }  # fmt: skip


def test_a_name_added_after_a_correction_is_counted_by_its_undo(settings: Any) -> None:
    settings.FACETS = ()
    make_event(**success(metadata_json=meta(browser="Chrome 139")), received_at_ms=NOON_MS)
    correction = corrections.begin(DAY, who="m", at=clock.now(), why="forged")
    list(corrections.carry_out(correction))
    settings.FACETS = ("browser",)
    list(corrections.undo(correction, who="m", at=clock.now(), why="real"))
    assert counts() == {("success", "f.browser", "Chrome 139"): 1}


def test_deleting_demo_data_deletes_its_facet_counts() -> None:
    writer.record(failure(1, browser="Chrome 139"))
    demo = [failure(2, browser="Chrome 139", os="Windows"), failure(3, browser="Made up")]
    writer.record_many([event._replace(source=Source.DEMO.value) for event in demo])
    list(retention.delete_demo())
    assert set(FacetRollup.objects.values_list("facet", "name", "accepted")) == {("f.browser", "Chrome 139", 1)}
    assert shares() == {("f.browser", "Chrome 139"): 1}
    assert set(KnownName.objects.filter(facet__startswith="f.").values_list("name", flat=True)) == {"Chrome 139"}


def test_a_merge_and_a_split_move_the_shares(django_user_model: Any) -> None:
    user = django_user_model.objects.create(username="m")
    for number, (message, browser) in enumerate([("First fault", "Edge 139"), ("Other cause", "Chrome 139")]):
        make_event(**payload(message=message, metadata_json=meta(browser=browser)), received_at_ms=NOON_MS + number)
    first, other = FailureGroup.objects.order_by("first_seen_ms")
    merges.merge(first.pk, other.pk, user=user, at=clock.now())
    assert shares() == {("f.browser", "Edge 139"): 1, ("f.browser", "Chrome 139"): 1}
    assert_counts_are_events()
    list(retention.prune(NOON_MS + DAY_MS, imported_too=True, who="m", at=clock.now(), why="old"))
    merges.split(first.pk, user=user, at=clock.now())
    assert list(GroupShare.objects.filter(fingerprint=first.pk, facet="f.browser").values_list("name", flat=True)) == [
        "Edge 139"
    ]


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda rows: rows.filter(day_ms__gte=NOON_MS).update(accepted=7), "Chrome 139: 7 counted, 1 events"),
        (lambda rows: rows.filter(day_ms__gte=NOON_MS).update(accepted=0), "Chrome 139: 0 counted, 1 events"),
        (lambda rows: rows.filter(day_ms__lt=NOON_MS).update(accepted=2), "Chrome 139: 2 counted, 1 events"),
        (lambda rows: rows.filter(day_ms__gte=NOON_MS).update(name="Edge"), "Edge: 1 counted, 0 events"),
    ],
)
def test_a_wrong_count_is_found_and_rebuilt(harm: Callable[[Any], Any], found: str, capsys: Any) -> None:
    writer.record_many([failure(1, browser="Chrome 139"), failure(2, at_ms=NOON_MS + DAY_MS, browser="Chrome 139")])
    expected = counts()
    harm(FacetRollup.objects.all())
    with pytest.raises(CommandError):
        call_command("rebuild_rollups", "--check")
    assert f"flash_error f.browser {found}" in capsys.readouterr().out
    call_command("rebuild_rollups")
    assert counts() == expected
    assert_counts_are_events()


def test_wrong_shares_are_found() -> None:
    writer.record_many([failure(1, browser="Chrome 139"), failure(2, at_ms=NOON_MS + DAY_MS, browser="Edge 139")])
    assert_counts_are_events()
    for name, n in (("Chrome 139", 2), ("Edge 139", 0)):
        rows = GroupShare.objects.filter(facet="f.browser", name=name)
        rows.update(accepted=n)
        found = [(one.what, one.counted, one.actual) for one in regrouping.compare()]
        assert (f"its share of f.browser {name}", n, 1) in found
        # More shares on a day than failures are found in a second way.
        assert len(found) == n or n == 0
        rows.update(accepted=1)


def test_a_rebuild_keeps_the_rows_of_a_name_that_was_removed(settings: Any) -> None:
    writer.record(failure(1, browser="Chrome 139", os="Windows"))
    settings.FACETS = ("os",)
    rollups.rebuild(NOON_MS - NOON_MS % DAY_MS)
    assert counts() == {("error", "f.browser", "Chrome 139"): 1, ("error", "f.os", "Windows"): 1}
