"""The admin page *Parity*: the newest comparison, the window, the examples, and a button to compare again."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting import rollups
from events.counting.rollups import DAY_MS
from legacy.cutover import parity
from legacy.models import ParityRun
from tests.conftest import BANNER_QUERIES, make_event, sign_in, text_of
from tests.fixtures.arrivals import failure_arrived, success_arrived
from tests.storage import read_only_database

pytestmark = pytest.mark.django_db
PATH = "/admin/legacy/parityrun/"
CHECK = PATH + "check/"


def compare(days: int = 14) -> ParityRun:
    return parity.keep(parity.check(days, clock.today()), at=clock.now())


def marks(text: str) -> list[str]:
    """Return the states of the days as a screen reader reads them, newest first."""
    row = text.partition('<ol class="days"')[2].partition("</ol>")[0]
    words = [part.partition("</span>")[0] for part in row.split('<span class="visually-hidden">')[1:]]
    return [word.partition(": ")[2] for word in reversed(words)]


@pytest.mark.parametrize(("role", "status"), [(None, 403), ("Staff", 200), ("Maintainers", 200)])
def test_permissions_to_view_and_to_compare(client: Client, role: str | None, status: int) -> None:
    sign_in(client, role)
    assert client.get(PATH).status_code == status
    assert client.post(CHECK).status_code == (302 if status == 200 else status)
    assert ParityRun.objects.count() == (status == 200)
    key = compare().pk
    assert client.get(f"{PATH}{key}/").status_code == status


@pytest.mark.parametrize("path", [PATH, CHECK, PATH + "1/"])
def test_an_anonymous_user_is_redirected_to_the_login(client: Client, path: str) -> None:
    for answer in (client.get(path), client.post(path)):
        assert answer["Location"].startswith("/admin/login/")
    assert not ParityRun.objects.exists()


def test_a_comparison_requires_a_post_with_the_csrf_token(client: Client) -> None:
    sign_in(client, "Staff")
    assert client.get(CHECK)["Location"] == PATH
    client.handler.enforce_csrf_checks = True
    assert client.post(CHECK).status_code == 403
    assert not ParityRun.objects.exists()


def test_the_page_says_what_to_do_before_the_first_comparison(client: Client) -> None:
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "Not compared yet" in text
    assert "compares every night" in text
    assert f'action="{CHECK}"' in text


def test_the_button_compares_and_stores_the_result(client: Client) -> None:
    success_arrived(1, by_event=True)
    sign_in(client, "Staff")
    text = text_of(client.post(CHECK, follow=True))
    assert "✓ Proven on 1 day<" in text
    assert "<code>/event</code> received all 1 successes and failures that it should have received" in text
    run = ParityRun.objects.get()
    assert (run.verdict, run.days_held, len(run.finding["days"])) == ("proven", 1, 14)


@pytest.mark.parametrize(("window", "days"), [(7, 14), (14, 28)])
def test_enough_days_for_the_window_are_compared(client: Client, window: int, days: int) -> None:
    sign_in(client, "Staff")
    with override_settings(PARITY_DAYS=window):
        client.post(CHECK)
    assert len(ParityRun.objects.get().finding["days"]) == days


def test_the_days_of_the_window_are_readable_by_a_screen_reader(client: Client) -> None:
    for days_ago in (1, 2, 4, 6):
        success_arrived(days_ago, by_event=True)
    success_arrived(3)
    success_arrived(5, sent_to_event=True)
    compare(8)
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "The window: 3 of 7 days</h3>" in text
    assert "✕ Drift on 1 of 8 days<" in text
    assert marks(text) == [
        "not over",
        "proven",
        "proven",
        "no evidence",
        "proven",
        "drift",
        "proven",
        "no evidence",
    ]
    assert text.count('<li class="counts"') == 3
    assert text.count('<li class="drifts"') == 1


def test_drift_of_today_is_shown_before_the_day_is_over(client: Client) -> None:
    success_arrived(0, sent_to_event=True)
    compare(2)
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "✕ Drift on 1 of 2 days" in text
    assert marks(text) == ["drift so far", "no evidence"]


def test_a_complete_window_is_shown_as_complete(client: Client) -> None:
    for days_ago in range(1, 8):
        success_arrived(days_ago, by_event=True)
    compare()
    sign_in(client, "Staff")
    assert "The window: 7 of 7 days, complete" in text_of(client.get(PATH))


def figures(answer: Any) -> list[list[int]]:
    """Return the figures of each day, newest first, then the sums. Each list has successes, then failures."""
    rows = [*(day.sides for day in reversed(answer.context["days"])), answer.context["total"]]
    return [[cell.figure for side in sides for cell in side.cells] for sides in rows]


def test_the_figures_of_each_day_and_their_sums_are_shown(client: Client) -> None:
    success_arrived(1, by_event=True)
    success_arrived(1, sent_to_event=True)
    success_arrived(1)
    make_event(received_at_ms=clock.now_ms() - DAY_MS, app_version="new")
    failure_arrived(1, app_version="4778589")
    failure_arrived(1, message=" ")
    compare(2)
    sign_in(client, "Staff")
    answer = client.get(PATH)
    yesterday = [3, 2, 1, 1, 0, 2, 0, 0, 1, 1]
    assert figures(answer) == [[0] * 10, yesterday, yesterday]
    text = text_of(answer)
    assert "<strong>1</strong> of the 2 successes and failures" in text
    assert "<strong>1</strong> session in the last 7 days would be cut off by <code>gone</code>, and 1 failure:" in text
    assert "refuses 1 failure by contract, because of <code>message</code> (1)." in text
    assert "manage.py check_parity --repair" in text
    day = answer.context["days"][0].day
    assert f'<th scope="row" class="nowrap">{day:%a} {day.day} {day:%b}</th>' in text
    assert (
        text.count('<td class="num" data-label="missing"><span class="bad">1</span></td>') == 2
    )  # the day and the sum


def test_nothing_expected_is_no_evidence(client: Client) -> None:
    success_arrived(1)
    compare(2)
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "– No evidence<" in text
    assert "No arrival by an old route in these days is expected at <code>/event</code>." in text
    assert "--repair" not in text


def test_examples_of_one_side_have_a_link_if_the_event_is_stored(client: Client) -> None:
    lost = success_arrived(1, sent_to_event=True)
    failure_arrived(1, event_type="connect_error", message="<b>no port</b>", sent_to_event=True)
    event = make_event(message="only by the new route")
    compare()
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert lost in text
    assert "&lt;b&gt;no port" in text
    assert '<span class="type connect_error">' in text
    url = f"/admin/events/event/{event.pk}/"
    assert f'<a href="{url}"><bdi class="message">only by the new route</bdi></a>' in text
    assert client.get(url).status_code == 200


def test_a_comparison_by_the_rule_of_earlier_releases_is_shown_with_a_note(client: Client) -> None:
    """Release 1 stored no verdict. It stored the rows of both sides, and examples of rows that one side lacked."""
    none = {"old": 0, "new": 0, "only_old": 0, "only_new": 0}
    lost = {"old": 4, "new": 5, "only_old": 1, "only_new": 2}
    example = {"received": "2026-01-05 10:00:00", "type": "flash_error", "id": "a", "message": "<b>lost</b>"}
    ParityRun.objects.create(
        checked_at=datetime(2026, 1, 6, 12, tzinfo=UTC),
        holds=False,
        days_held=1,
        finding={
            "days": [
                {"day": "2026-01-03", "successes": none, "failures": none},
                {"day": "2026-01-04", "successes": lost, "failures": none},
                {"day": "2026-01-05", "successes": none | {"old": 2, "new": 2}, "failures": none},
                {"day": "2026-01-06", "successes": none, "failures": none},
            ],
            "total": {"day": "in all", "successes": lost | {"old": 6, "new": 7}, "failures": none},
            "tolerance": 0.005,
            "old_count": 6,
            "new_count": 7,
            "examples_only_old": [example],
            "examples_only_new": [example | {"id": "b", "message": "new"}],
            "refused": {},
            "refused_share": 0.0,
            "holds": False,
        },
    )
    sign_in(client, "Staff")
    answer = client.get(PATH)
    text = text_of(answer)
    assert "This comparison was made by an older rule." in text
    assert "The unified stream lacked 1 of the 6 successes and failures of the old tables." in text
    assert "The window:" not in text
    assert marks(text) == ["not over", "held", "drift", "no traffic"]
    assert figures(answer)[2] == [4, 5, 1, 2, 0, 0, 0, 0]
    assert "&lt;b&gt;lost" in text
    assert "by an older rule</span>" in text


def test_refused_requests_are_shown_by_reason_and_share(client: Client) -> None:
    make_event()
    rollups.add_tallies({(clock.today(), "invalid_fields"): 2, (clock.today(), "origin"): 1})
    compare()
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "75.0 %" in text
    assert "invalid fields 2 · origin 1" in text


def test_earlier_comparisons_are_a_link_away(client: Client) -> None:
    earlier = compare()
    success_arrived(0, sent_to_event=True)
    compare()
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "✕ Drift on 1 of 14 days" in text
    url = f"{PATH}{earlier.pk}/"
    assert f'<a href="{url}">' in text
    assert "– No evidence<" in text_of(client.get(url))
    assert client.get(PATH + "999/").status_code == 404


def test_a_stored_comparison_is_shown_as_of_its_day(client: Client) -> None:
    success_arrived(1, by_event=True)
    run = compare(2)
    ParityRun.objects.update(checked_at=run.checked_at - timedelta(days=1))
    sign_in(client, "Staff")
    assert marks(text_of(client.get(PATH))) == ["not over", "not over"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_refuses_writes_is_reported(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    with read_only_database():
        text = text_of(client.post(CHECK, follow=True))
    assert "refuses writes, so nothing was stored. Try again." in text
    assert not ParityRun.objects.exists()


@pytest.mark.parametrize("was_compared", [True, False])
def test_stored_comparisons_remain_after_the_tables_are_dropped_without_a_button(
    client: Client, settings: Any, tmp_path: Path, was_compared: bool
) -> None:
    settings.DATA_DIR = tmp_path
    if was_compared:
        compare()
    call_command("legacy_mode", "gone", "--force", "--reason", "a test", stdout=io.StringIO())
    call_command("drop_legacy", stdout=io.StringIO())
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert ("– No evidence<" if was_compared else "nothing can be compared") in text
    assert "Check now" not in text
    assert "The old tables were dropped" in text_of(client.post(CHECK, follow=True))


def test_the_page_reads_stored_comparisons_and_no_events(client: Client) -> None:
    for _ in range(3):
        success_arrived(1, by_event=True)
        compare()
    sign_in(client, "Staff")
    with CaptureQueriesContext(connection) as queries:
        client.get(PATH)
    assert len(queries) <= 9 + BANNER_QUERIES, [query["sql"] for query in queries]
    assert not [query for query in queries if "telemetry_events" in query["sql"]]
