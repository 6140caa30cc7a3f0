"""`manage.py rebuild_rollups`: the hourly rollups compared with the events, and rebuilt."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import F

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS, OTHER
from events.grouping import triage
from events.models import Event, ExpectedRollup, FailureGroup, HourlyRollup, LifetimeTotal
from tests.conftest import make_event, payload, success

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC


@pytest.fixture(autouse=True)
def _three_days() -> None:
    for day in range(3):
        for number in range(4):
            at_ms = NOON_MS + day * DAY_MS + number * HOUR_MS
            make_event(**payload(message=f"{day}/{number}", model=f"m{number}"), received_at_ms=at_ms)
            make_event(**success(), received_at_ms=at_ms)


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("rebuild_rollups", *arguments, stdout=out)
    return out.getvalue()


def fail(*arguments: str) -> tuple[str, str]:
    """Run the command, which must end with 1; return what it printed and its last word."""
    out = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("rebuild_rollups", *arguments, stdout=out)
    assert failed.value.returncode == 1
    return out.getvalue(), str(failed.value)


def hours() -> set[tuple[int | str, ...]]:
    return set(HourlyRollup.objects.values_list("hour_ms", "event_type", "model", "app_version", "accepted"))


def test_what_was_ingested_agrees() -> None:
    assert run("--check") == "3 days: 3 agree, 0 differ.\n"


def test_a_wrong_count_is_reported_and_not_changed() -> None:
    HourlyRollup.objects.filter(hour_ms=NOON_MS, event_type="flash_error").update(accepted=0)
    off = hours()
    out, last = fail("--check")
    assert out.splitlines() == [
        "2026-02-12: 2 differences",
        f"  {clock.iso(NOON_MS)} flash_error: 0 counted, 1 events",
        f"  {clock.iso(NOON_MS)} flash_error m0 19afc18: 0 counted, 1 events",
        "lifetime total of flash_error: 12, but the sum of its hours is 11",
        "3 days: 2 agree, 1 differ.",
    ]
    assert last == "1 days differ from their events. 1 lifetime totals differ from their hours."
    assert hours() == off


def test_a_count_under_the_wrong_name_is_reported() -> None:
    HourlyRollup.objects.filter(hour_ms=NOON_MS, event_type="flash_error").update(model="m9")
    out, _ = fail("--check")
    assert "m0 19afc18: 0 counted, 1 events" in out
    assert "m9 19afc18: 1 counted, 0 events" in out


def test_days_that_differ_are_rebuilt() -> None:
    right = hours()
    HourlyRollup.objects.filter(hour_ms=NOON_MS, event_type="flash_error").update(model="m9")
    HourlyRollup.objects.filter(hour_ms=NOON_MS + DAY_MS).delete()
    assert "3 days: 1 agree, 2 differ, 2 rebuilt." in run()
    assert hours() == right
    assert run("--check") == "3 days: 3 agree, 0 differ.\n"


def test_a_day_whose_events_are_gone_is_left_as_it_is() -> None:
    right = hours()
    Event.objects.filter(received_at_ms=NOON_MS).delete()
    HourlyRollup.objects.filter(hour_ms=NOON_MS + DAY_MS).update(model="m9")
    out, last = fail()
    assert "unchanged: 2 of the events that were counted are gone" in out
    assert last == "1 days differ from their events."
    assert hours() == right


def test_a_lifetime_total_is_raised_and_never_lowered() -> None:
    LifetimeTotal.objects.filter(event_type="flash_error").update(accepted=F("accepted") - 1)
    HourlyRollup.objects.filter(hour_ms=NOON_MS, event_type="flash_error").delete()
    LifetimeTotal.objects.filter(event_type="flash_success").update(accepted=100)
    _, last = fail()
    assert last == "1 lifetime totals differ from their hours."
    assert dict(LifetimeTotal.objects.values_list("event_type", "accepted")) == {
        "flash_error": 12,
        "flash_success": 100,
    }


def test_a_day_with_other_is_compared_by_hour_and_type_alone() -> None:
    for number in range(60):
        make_event(**payload(message=f"more {number}", model=f"x{number}"), received_at_ms=NOON_MS)
    assert HourlyRollup.objects.filter(model=OTHER).exists()
    assert "0 differ" in run("--check")
    HourlyRollup.objects.filter(model=OTHER).update(accepted=F("accepted") - 1)
    assert "flash_error: 60 counted, 61 events" in fail("--check")[0]


def test_a_day_over_the_limits_is_rebuilt_within_them() -> None:
    for number in range(60):
        at_ms = NOON_MS + 5 * HOUR_MS + number
        make_event(**payload(message=f"more {number}", model=f"x{number}"), received_at_ms=at_ms)
    right = hours()
    HourlyRollup.objects.filter(model=OTHER).delete()
    run()
    assert hours() == right


def test_days_can_be_chosen() -> None:
    HourlyRollup.objects.update(model="m9")
    assert "1 days: 0 agree, 1 differ" in fail("--check", "--from", "2026-02-13", "--to", "2026-02-14")[0]
    assert "2 days: 0 agree, 2 differ" in fail("--check", "--from", "2026-02-13")[0]
    assert run("--check", "--to", "2026-02-12") == "0 days: 0 agree, 0 differ.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--from", "yesterday"], "'yesterday' is not a date such as 2026-02-12"),
        (["--from", "2026-02-13", "--to", "2026-02-13"], "--to must be after --from."),
    ],
)
def test_what_are_no_days_is_refused_in_words(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run(*arguments)


# --- expected events ----------------------------------------------------------------------------------------------


def expect() -> str:
    """Store a failure on the second day, mark its group as expected, and return the group."""
    key = str(make_event(message="No port selected", model="m1", received_at_ms=NOON_MS + DAY_MS).fingerprint)
    triage.expect([key], user=User.objects.get_or_create(username="olga")[0], at=clock.now())
    return key


def test_expected_events_agree_and_stay() -> None:
    expect()
    before = set(ExpectedRollup.objects.values_list("fingerprint", "hour_ms", "accepted"))
    assert run("--check") == "3 days: 3 agree, 0 differ.\n"
    HourlyRollup.objects.filter(model="m1").update(model="m9")
    run()
    assert set(ExpectedRollup.objects.values_list("fingerprint", "hour_ms", "accepted")) == before


@pytest.mark.parametrize("damage", ["deleted", "renamed", "of another group"])
def test_wrong_counts_of_expected_events_are_found_and_rebuilt(damage: str) -> None:
    key = expect()
    rows = ExpectedRollup.objects.filter(fingerprint=key)
    if damage == "deleted":
        rows.delete()
    elif damage == "renamed":
        rows.update(model="m7")
    else:
        FailureGroup.objects.filter(pk=key).update(status="open")
    printed, last = fail("--check")
    assert "expected" in printed
    assert last == "1 days differ from their events."
    assert run().endswith("3 days: 2 agree, 1 differ, 1 rebuilt.\n")
    assert run("--check") == "3 days: 3 agree, 0 differ.\n"


def test_a_count_of_an_erased_expected_event_is_kept() -> None:
    expect()
    Event.objects.get(message="No port selected").delete()
    printed, last = fail()
    assert "unchanged: 1 of the expected events that were counted are gone" in printed
    assert last == "1 days differ from their events."
    assert ExpectedRollup.objects.count() == 1


def test_an_interrupted_decision_is_found_and_completed() -> None:
    key = expect()
    ExpectedRollup.objects.all().delete()
    FailureGroup.objects.filter(pk=key).update(uncounted_before_ms=NOON_MS + 5 * DAY_MS)
    _, last = fail("--check")
    assert last == "1 days differ from their events. The events of 1 expected groups are not all counted as expected."
    assert "were not all counted as expected. Counted." in run()
    assert run("--check") == "3 days: 3 agree, 0 differ.\n"


def test_counts_of_a_group_that_is_not_expected_go_even_if_other_events_are_gone() -> None:
    expect()
    Event.objects.get(message="No port selected").delete()
    other = str(Event.objects.filter(received_at_ms__gte=NOON_MS + DAY_MS, event_type="flash_error")[0].fingerprint)
    triage.expect([other], user=User.objects.get(), at=clock.now())
    FailureGroup.objects.filter(pk=other).update(status="open")
    fail()
    assert ExpectedRollup.objects.count() == 1
