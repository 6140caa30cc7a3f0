"""`manage.py set_baseline`: what the public count begins with."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events.models import CounterBaseline
from events.reports import metrics
from tests.conftest import make_event, success

pytestmark = pytest.mark.django_db


def test_it_says_the_count_before_and_after_and_what_it_is_made_of() -> None:
    make_event(**success())
    make_event(**success())
    out = StringIO()
    call_command("set_baseline", "1412", "--note", "the old counter", stdout=out)
    assert out.getvalue().splitlines() == [
        "before  2 = 0 from before + 2 counted here",
        "now     1,414 = 1,412 from before + 2 counted here",
    ]
    assert metrics.flash_count() == metrics.FlashCount(1412, 2)


def test_the_change_is_kept_with_its_note_and_who_made_it() -> None:
    call_command("set_baseline", "412", "--note", "the old counter", stdout=StringIO())
    kept = CounterBaseline.objects.get()
    assert (kept.value, kept.note, kept.set_by) == (412, "the old counter", None)
    assert kept.set_by_name


@pytest.mark.parametrize(
    ("value", "note", "words"),
    [
        ("-1", "n", "value: Ensure this value is greater than or equal to 0."),
        ("many", "n", "value: Enter a whole number."),
        ("4.5", "n", "value: Enter a whole number."),
        ("", "n", "value: This field is required."),
        ("9" * 20, "n", "value: Ensure this value is less than or equal to 1000000000000."),
        ("412", "", "note: This field is required."),
        ("412", "  ", "note: This field is required."),
        ("412", "n" * 501, "note: Ensure this value has at most 500 characters (it has 501)."),
    ],
)
def test_what_is_no_baseline_is_refused_in_words(value: str, note: str, words: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("set_baseline", value, "--note", note)
    assert str(refused.value) == words
    assert refused.value.returncode == 1
    assert not CounterBaseline.objects.exists()


def test_a_note_is_needed() -> None:
    with pytest.raises(CommandError, match="--note"):
        call_command("set_baseline", "412")
