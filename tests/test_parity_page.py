"""Parity in the admin: the newest comparison, the window, what one side alone has, and a button for another."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

from events import clock, rollups
from events.rollups import DAY_MS
from legacy import old_tables, parity, translate
from legacy.models import LegacyCount, ParityRun
from tests.conftest import make_event, payload, sign_in, success, text_of
from tests.storage import read_only_database

pytestmark = pytest.mark.django_db
PATH = "/admin/legacy/parityrun/"
CHECK = PATH + "check/"


def success_on(days_ago: int, *, in_stream: bool = True) -> str:
    """Count a success on the old side and, unless it was lost, on the new one; return its session."""
    body, at_ms = success(), clock.now_ms() - days_ago * DAY_MS
    if in_stream:
        make_event(received_at_ms=at_ms, **body)
    old_tables.keep(LegacyCount(session_id=body["session_id"], counted_at_ms=at_ms, in_stream=in_stream))
    return str(body["session_id"])


def compare(days: int = 14) -> ParityRun:
    return parity.keep(parity.check(days, clock.today()), at=clock.now())


def marks(text: str) -> list[str]:
    """Return the row of day marks as it is read aloud, newest first, without the dates."""
    row = text.partition('<ol class="days"')[2].partition("</ol>")[0]
    words = [part.partition("</span>")[0] for part in row.split('<span class="visually-hidden">')[1:]]
    return [word.partition(": ")[2] for word in reversed(words)]


@pytest.mark.parametrize(("role", "status"), [(None, 403), ("Staff", 200), ("Maintainers", 200)])
def test_who_may_look_and_compare(client: Client, role: str | None, status: int) -> None:
    sign_in(client, role)
    assert client.get(PATH).status_code == status
    assert client.post(CHECK).status_code == (302 if status == 200 else status)
    assert ParityRun.objects.count() == (status == 200)
    key = compare().pk
    assert client.get(f"{PATH}{key}/").status_code == status


@pytest.mark.parametrize("path", [PATH, CHECK, PATH + "1/"])
def test_a_stranger_is_sent_to_the_login(client: Client, path: str) -> None:
    for answer in (client.get(path), client.post(path)):
        assert answer["Location"].startswith("/admin/login/")
    assert not ParityRun.objects.exists()


def test_a_comparison_needs_a_post_with_the_token_of_the_form(client: Client) -> None:
    sign_in(client, "Staff")
    assert client.get(CHECK)["Location"] == PATH
    client.handler.enforce_csrf_checks = True
    assert client.post(CHECK).status_code == 403
    assert not ParityRun.objects.exists()


def test_before_the_first_comparison_the_page_says_what_to_do(client: Client) -> None:
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "Not compared yet" in text
    assert "<code>manage.py check_parity</code>" in text
    assert f'action="{CHECK}"' in text


def test_the_button_compares_and_keeps_what_was_found(client: Client) -> None:
    success_on(1)
    sign_in(client, "Staff")
    text = text_of(client.post(CHECK, follow=True))
    assert "✓ Parity holds" in text
    assert "The unified stream has all the 1 successes and failures" in text
    run = ParityRun.objects.get()
    assert (run.holds, run.days_held, len(run.finding["days"])) == (True, 1, 14)


@pytest.mark.parametrize(("window", "days"), [(7, 14), (14, 28)])
def test_as_many_days_are_compared_as_the_window_could_need(client: Client, window: int, days: int) -> None:
    sign_in(client, "Staff")
    with override_settings(PARITY_DAYS=window):
        client.post(CHECK)
    assert len(ParityRun.objects.get().finding["days"]) == days


def test_the_window_is_a_row_of_days_that_can_be_read_aloud(client: Client) -> None:
    for days_ago in (1, 2, 4, 6):
        success_on(days_ago)
    success_on(5, in_stream=False)
    compare(8)
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "The window: 3 of 7 days</h3>" in text
    assert marks(text) == ["not over", "held", "held", "quiet", "held", "drifts", "held", "quiet"]
    assert text.count('<li class="counts"') == 3
    assert text.count('<li class="drifts"') == 1


def test_a_drift_of_today_is_seen_before_the_day_is_over(client: Client) -> None:
    success_on(0, in_stream=False)
    compare(2)
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "✕ Parity drifts" in text
    assert marks(text) == ["drifts so far", "quiet"]


def test_a_window_that_is_over_says_so(client: Client) -> None:
    for days_ago in range(1, 8):
        success_on(days_ago)
    compare()
    sign_in(client, "Staff")
    assert "The window: 7 of 7 days, so it is over" in text_of(client.get(PATH))


def test_each_day_and_the_whole_are_told_in_figures(client: Client) -> None:
    success_on(1)
    success_on(1, in_stream=False)
    make_event(**success(), received_at_ms=clock.now_ms() - DAY_MS)
    make_event(received_at_ms=clock.now_ms() - DAY_MS)
    compare(2)
    sign_in(client, "Staff")
    answer = client.get(PATH)
    today, yesterday = reversed(answer.context["days"])
    expected = [("successes", parity.Side(2, 2, 1, 1)), ("failures", parity.Side(0, 1, 0, 1))]
    assert yesterday.sides == expected
    assert answer.context["total"] == expected
    assert today.sides == [("successes", parity.Side()), ("failures", parity.Side())]
    text = text_of(answer)
    assert "The unified stream lacks <strong>1</strong> of the 2 successes and failures" in text
    assert "manage.py check_parity --repair" in text
    assert f'<th scope="row" class="nowrap">{yesterday.day:%a} {yesterday.day.day} {yesterday.day:%b}</th>' in text
    figures = '<td class="num" data-label="old">2</td><td class="num" data-label="new">2</td>'
    assert text.count(figures) == 2  # the day, and in all


def test_what_one_side_alone_has_is_shown_with_a_link_where_there_is_an_event(client: Client) -> None:
    lost = success_on(1, in_stream=False)
    at_ms = clock.now_ms() - DAY_MS
    body = payload(event_type="connect_fail", message="<b>no port</b>")
    row = translate.client_log_row(translate.event_from_client_log(body, at_ms), "connect_fail", in_stream=False)
    old_tables.keep(row)
    event = make_event(message="the stream alone has it")
    compare()
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert lost in text
    assert "&lt;b&gt;no port" in text
    assert '<span class="type connect_error">' in text
    url = f"/admin/events/event/{event.pk}/"
    assert f'<a href="{url}"><bdi class="message">the stream alone has it</bdi></a>' in text
    assert client.get(url).status_code == 200


def test_what_was_refused_is_told_by_reason_and_share(client: Client) -> None:
    make_event()
    rollups.add_tallies({(clock.today(), "invalid_fields"): 2, (clock.today(), "origin"): 1})
    compare()
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "75.0 %" in text
    assert "invalid fields 2 · origin 1" in text


def test_earlier_comparisons_are_a_link_away(client: Client) -> None:
    earlier = compare()
    success_on(0, in_stream=False)
    compare()
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "✕ Parity drifts" in text
    url = f"{PATH}{earlier.pk}/"
    assert f'<a href="{url}">' in text
    assert "✓ Parity holds" in text_of(client.get(url))
    assert client.get(PATH + "999/").status_code == 404


def test_a_kept_comparison_is_told_as_of_its_own_day(client: Client) -> None:
    success_on(1)
    run = compare(2)
    ParityRun.objects.update(checked_at=run.checked_at - timedelta(days=1))
    sign_in(client, "Staff")
    assert marks(text_of(client.get(PATH))) == ["not over", "not over"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_takes_no_writes_is_told_in_words(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    with read_only_database():
        text = text_of(client.post(CHECK, follow=True))
    assert "takes no writes, so nothing was kept. Try again." in text
    assert not ParityRun.objects.exists()


@pytest.mark.parametrize("was_compared", [True, False])
def test_dropped_tables_leave_what_was_found_and_no_button(
    client: Client, settings: Any, tmp_path: Path, was_compared: bool
) -> None:
    settings.DATA_DIR = tmp_path
    if was_compared:
        compare()
    call_command("legacy_mode", "gone", "--force", "--reason", "a test", stdout=io.StringIO())
    call_command("drop_legacy", stdout=io.StringIO())
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert ("✓ Parity holds" if was_compared else "nothing left to compare with") in text
    assert "Check now" not in text
    assert "The old tables are dropped" in text_of(client.post(CHECK, follow=True))


def test_the_page_reads_what_was_kept_and_no_event(client: Client) -> None:
    for _ in range(3):
        success_on(1)
        compare()
    sign_in(client, "Staff")
    with CaptureQueriesContext(connection) as queries:
        client.get(PATH)
    assert len(queries) <= 9, [query["sql"] for query in queries]
    assert not [query for query in queries if "telemetry_events" in query["sql"]]
