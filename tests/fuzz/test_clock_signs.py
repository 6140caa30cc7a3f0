"""A prune with a clock that jumped ahead. It deletes only if an event or a start of the last day confirms the clock."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from events import clock
from events.counting import site_days
from events.models import Event, RetentionMark
from tests.conftest import make_event, success
from tests.fuzz.judge import case, check, rolled_back, share

pytestmark = pytest.mark.django_db

# The clock was right until then, and so are the times of earlier events and starts.
JUMP = datetime(2026, 11, 26, 12, tzinfo=UTC)
LONG_AGO = JUMP - timedelta(days=200)
DAY = timedelta(days=1)


def up_to(days: int) -> st.SearchStrategy[timedelta]:
    """Return durations around one day, and any up to `days` days, in whole milliseconds."""
    return st.sampled_from([timedelta(0), DAY, DAY + timedelta(milliseconds=1)]) | st.integers(
        0, days * 86_400_000
    ).map(lambda milliseconds: timedelta(milliseconds=milliseconds))


A_YEAR = timedelta(days=366)


def receive(at: datetime, *, sent_at: datetime) -> None:
    make_event(**success(occurred_at=sent_at.isoformat()), received_at_ms=int(at.timestamp() * 1_000))


@pytest.mark.fault("a clock that is ahead, and a prune")
@share(1, short=15)
@given(
    events=st.lists(up_to(9), max_size=3),
    starts=st.lists(up_to(9), max_size=3),
    ahead=up_to(26_000),
    later_events=st.integers(0, 3),
    starts_again=st.booleans(),
)
def test_a_prune_after_a_jump(
    events: list[timedelta], starts: list[timedelta], ahead: timedelta, later_events: int, starts_again: bool
) -> None:
    """After a jump of more than a year, events from after the jump do not confirm the clock either."""
    now = JUMP + ahead
    with rolled_back():
        receive(LONG_AGO, sent_at=LONG_AGO)
        for age in events:
            receive(JUMP - age, sent_at=JUMP - age)
        for age in sorted(starts, reverse=True):
            site_days.note_start(JUMP - age)
        signs = [ahead + age for age in [*events, *starts]]
        if ahead > A_YEAR + timedelta(days=10):
            for _ in range(later_events):
                receive(now, sent_at=JUMP)
            if starts_again:
                site_days.note_start(now)
        stored = Event.objects.count()
        is_confirmed = min(signs, default=DAY * 2) <= DAY
        with pytest.MonkeyPatch.context() as patch, case():
            patch.setattr(clock, "now", lambda: now)
            try:
                call_command("prune_events", "--older-than-days", "100", stdout=StringIO(), stderr=StringIO())
                is_pruned = True
            except CommandError:
                is_pruned = False
        check("else", is_pruned is is_confirmed, is_pruned, now, signs)
        left = Event.objects.count()
        check("else", left == (stored - 1 if is_confirmed else stored), left, stored, now)
        check("else", RetentionMark.objects.exists() is is_confirmed, now)
