"""The figures of the rows of a list of groups: the process keeps those of past days, and they are always current."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events import process_memory
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import merges
from events.maintenance import retention
from events.models import Event, FailureGroup, FormerGroup, Source
from events.reports.groups import ranking
from events.reports.groups.ranking import RankedGroup, Ranking
from tests.conftest import make_event, turn_clock_to

pytestmark = pytest.mark.django_db
NOW_MS = int(datetime(2026, 2, 12, 10, 30, tzinfo=UTC).timestamp() * 1000)
AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)


def store(
    message: str, *, days_ago: float, model: str = "UV-5RM", app_version: str = "19afc18", number: int = 0
) -> None:
    """Store a failure of the group of this message."""
    at_ms, session = NOW_MS - int(days_ago * DAY_MS) - number, f"{message} {days_ago} {number}"
    make_event(message=message, model=model, app_version=app_version, session_id=session, received_at_ms=at_ms)


def rows(now_ms: int = NOW_MS) -> dict[str, RankedGroup]:
    page = ranking.page(Ranking(now_ms), limit=50)
    return {row.group.title: row for row in page.rows}


def key(title: str) -> str:
    return FailureGroup.objects.get(title=title).pk


@pytest.fixture
def two_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    turn_clock_to(monkeypatch, NOW_MS // 1000)
    for number in range(3):
        store("Slow cable", days_ago=3, number=number)
    for number in range(2):
        store("Slow cable", days_ago=2, model="UV-17R", number=number)
        store("Wrong radio", days_ago=40, app_version="7c1d2e3", number=number)
    store("Slow cable", days_ago=0)


@pytest.mark.usefixtures("two_groups")
def test_a_row_has_its_days_and_its_most_common_names() -> None:
    found = rows()
    slow, wrong = found["Slow cable"], found["Wrong radio"]
    assert (slow.days[-4:], sum(slow.days), slow.last_day) == ([3, 2, 0, 1], 6, 1)
    assert (slow.models, slow.versions) == (["UV-5RM", "UV-17R"], ["19afc18"])
    assert (sum(wrong.days), len(wrong.days), wrong.versions) == (0, ranking.LINE_DAYS, ["7c1d2e3"])


@pytest.mark.usefixtures("two_groups")
def test_kept_figures_follow_each_change() -> None:
    user = User.objects.create(username="ada")
    changes: list[Callable[[], object]] = [
        lambda: store("Slow cable", days_ago=0.1, model="UV-17R"),
        lambda: [store("Slow cable", days_ago=1, model="UV-17R", number=number) for number in range(5)],
        lambda: store("Wrong radio", days_ago=5, model="UV-82"),
        lambda: merges.merge(key("Wrong radio"), key("Slow cable"), user=user, at=AT),
        lambda: merges.split(FormerGroup.objects.get().pk, user=user, at=AT),
        lambda: (Event.objects.update(source=Source.DEMO), list(retention.delete_demo())),
    ]
    for change in changes:
        before = rows()
        change()
        found = rows()
        assert found != before
        process_memory.clear()
        assert found == rows()


@pytest.mark.usefixtures("two_groups")
def test_on_the_next_day_today_is_a_past_day() -> None:
    rows()
    tomorrow = rows(NOW_MS + DAY_MS)["Slow cable"]
    assert (tomorrow.days[-5:], tomorrow.last_day) == ([3, 2, 0, 1, 0], 0)
    late = rows(NOW_MS - NOW_MS % DAY_MS + DAY_MS + HOUR_MS)["Slow cable"]
    assert (late.days[-2:], late.last_day) == ([1, 0], 1)


@pytest.mark.usefixtures("two_groups")
def test_past_days_are_read_once() -> None:
    counts = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as captured:
            rows()
        counts.append(len(captured))
        store("Slow cable", days_ago=0, number=len(counts))
    assert counts == [counts[1] + 2, counts[1], counts[1]]
