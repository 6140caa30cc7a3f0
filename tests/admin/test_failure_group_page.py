"""One failure group: what it is, for whom, since when, what was decided; and decisions about it and others."""

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import groups
from events.models import AuditEntry, ExpectedRollup, FailureGroup
from events.reports.failures import ListPosition
from events.reports.groups import breakdowns
from events.reports.groups.breakdowns import Word
from tests.conftest import BANNER_QUERIES, make_event, sign_in, success

pytestmark = pytest.mark.django_db
LIST = "/admin/events/failuregroup/"
DECIDE = f"{LIST}decide/"


@pytest.fixture
def maintainer(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


def group(title: str = "No ACK for block … (got …)") -> FailureGroup:
    return FailureGroup.objects.get(title=title)


def path(title: str = "No ACK for block … (got …)") -> str:
    return f"{LIST}{group(title).pk}/"


def words(client: Client, title: str = "No ACK for block … (got …)", **query: str) -> str:
    answer = client.get(path(title), query)
    assert answer.status_code == 200
    return " ".join(unescape(answer.content.decode()).split())


# --- the page -------------------------------------------------------------------------------------------------------


def test_it_takes_the_right_to_look(client: Client) -> None:
    make_event()
    assert client.get(path()).status_code == 302
    sign_in(client)
    assert client.get(path()).status_code == 403


@pytest.mark.parametrize("key", ["0000000000000000", "a%00b", "decide/x", "..", "%F0%9F%8E%89"])
def test_a_group_that_is_not_there_is_a_404(maintainer: Client, key: str) -> None:
    assert maintainer.get(f"{LIST}{key}/").status_code == 404


def test_the_page_shows_the_newest_event_as_an_example(maintainer: Client) -> None:
    make_event(message="No ACK for block 0x0001 (got 0x15)", log_lines_json='["old line"]')
    make_event(
        message="No ACK for block 0x0002 (got 0x15)",
        log_lines_json='["TX block 0x0002"]',
        received_at_ms=clock.now_ms() + 1,
    )
    text = words(maintainer)
    assert "No ACK for block 0x0002 (got 0x15)" in text
    assert "<code>TX block 0x0002</code>" in text
    assert "old line" not in text


def facets(client: Client, **query: str) -> list[list[tuple[str, int, float, float | None]]]:
    """Return for each facet of the page the words, failures and both shares of each value."""
    tables = client.get(path(), query).context["facets"]
    return [[(words, part.events, part.of_group, part.of_others) for words, part in table.parts] for table in tables]


def test_the_group_is_broken_down_beside_other_flashes(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    for _ in range(24):
        make_event(**success(received_at_ms=now_ms, model="UV-5RM"))
    for number in range(10):
        make_event(
            message=f"No ACK for block {number} (got 1)",
            model="DM-32UV" if number < 7 else "UV-5RM",
            write_mode=number % 2,
            received_at_ms=now_ms,
        )
    assert facets(maintainer) == [
        [("DM-32UV", 7, 0.7, 0.0), ("UV-5RM", 3, 0.3, 1.0)],
        [("19afc18", 10, 1.0, 1.0)],
        [("no write", 5, 0.5, 0.0), ("write", 5, 0.5, 1.0)],
        [("yes", 10, 1.0, 1.0)],
    ]
    text = " ".join(words(maintainer).split())
    assert "<strong><bdi>DM-32UV</bdi></strong>: <strong>70 %</strong> of these, 0 % of other flashes" in text
    assert '<th scope="col" class="num">of others</th>' in text
    assert f"compared with other flashes, {clock.today() - timedelta(days=29)} to today, whole UTC days" in text


def test_the_comparison_covers_the_span_of_the_chart(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    for days, model in [(0, "a"), (1, "b"), (6, "c"), (29, "d"), (89, "e"), (200, "f")]:
        make_event(**success(model=model, received_at_ms=now_ms - days * DAY_MS))
        make_event(message=f"No ACK for block {days} (got 1)", model="x", received_at_ms=now_ms - days * DAY_MS)
    # In the last hour of a day, the last 24 hours begin at midnight.
    is_last_hour = now_ms % DAY_MS >= 23 * HOUR_MS
    expected = {"1": 1 if is_last_hour else 2, "7": 3, "30": 4, "90": 5, "all": 6, "x": 4}
    for span, events in expected.items():
        context = maintainer.get(path(), {"span": span}).context
        assert (context["compared"].events, context["last_day"]) == (events, 1)
        assert sum(count for _, count in context["timeline"]["rows"]) == (1 if span == "1" else events)
    assert "compared with other flashes, over all time" in " ".join(words(maintainer, span="all").split())


@pytest.mark.parametrize(
    ("days", "unit", "bars"),
    [(0, "day", 1), (1, "day", 2), (99, "day", 100), (100, "week", 15), (699, "week", 100), (700, "4 weeks", 26),
     (20_000, "52 weeks", 55)],
)  # fmt: skip
def test_the_chart_of_all_time_has_at_most_a_hundred_bars(maintainer: Client, days: int, unit: str, bars: int) -> None:
    make_event(message="No ACK for block 1 (got 1)", received_at_ms=max(clock.now_ms() - days * DAY_MS, 1))
    make_event(message="No ACK for block 2 (got 1)")
    timeline = maintainer.get(path(), {"span": "all"}).context["timeline"]
    assert (timeline["unit"], len(timeline["rows"])) == (unit, bars)
    assert sum(count for _, count in timeline["rows"]) == 2


def test_an_empty_span_says_so(maintainer: Client) -> None:
    make_event(received_at_ms=clock.now_ms() - 40 * DAY_MS)
    assert "No event in this span." in words(maintainer)
    assert "Nothing stands out in 1 event." in words(maintainer, span="90")


def test_a_name_that_says_nothing_is_grey_and_last(maintainer: Client) -> None:
    for number, model in enumerate(["unknown", "unknown", "UV-5RM"]):
        make_event(message=f"No ACK for block {number} (got 1)", model=model)
    assert [model for model, *_ in facets(maintainer)[0]] == ["UV-5RM", "unknown"]
    text = " ".join(words(maintainer).split())
    assert '<tr class="quiet"> <th scope="row"><bdi class="cut">unknown</bdi>' in text
    assert "unknown: no single value" in text


def test_a_failure_that_is_no_flash_is_not_among_the_flashes(maintainer: Client) -> None:
    make_event(event_type="window_error")
    assert facets(maintainer)[0] == [("UV-5RM", 1, 1.0, None)]
    make_event(**success())
    assert facets(maintainer)[0] == [("UV-5RM", 1, 1.0, 1.0)]
    assert '<th scope="col" class="num">of flashes</th>' in words(maintainer)


@pytest.mark.parametrize(
    ("span", "bars", "today"), [("1", 24, 1), ("7", 7, 2), ("30", 30, 2), ("90", 90, 2), ("x", 30, 2), ("0", 30, 2)]
)
def test_the_timeline_ends_with_now(maintainer: Client, span: str, bars: int, today: int) -> None:
    start_of_day_ms = clock.now_ms() // DAY_MS * DAY_MS
    make_event(received_at_ms=start_of_day_ms, message="No ACK for block 1 (got 1)")
    now_ms = clock.now_ms()
    make_event(received_at_ms=now_ms, message="No ACK for block 2 (got 1)")
    if now_ms // HOUR_MS == start_of_day_ms // HOUR_MS:
        today = 2
    timeline = maintainer.get(path(), {"span": span}).context["timeline"]
    assert len(timeline["bars"].bars) == len(timeline["rows"]) == bars
    assert timeline["rows"][0][1] == today


def test_next_and_previous_are_those_of_the_list_it_was_opened_from(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    for number, message in enumerate(["bravo", "delta", "alpha", "charlie"]):
        make_event(message=message, received_at_ms=now_ms - number)
    make_event(message="echo", event_type="connect_error")
    context = maintainer.get(path("bravo"), {"sort": "title", "type": "flash_error"}).context
    assert (context["before_key"], context["after_key"]) == (group("alpha").pk, group("charlie").pk)
    context = maintainer.get(path("delta"), {"sort": "title", "type": "flash_error"}).context
    assert (context["before_key"], context["after_key"]) == (group("charlie").pk, None)
    context = maintainer.get(path("delta"), {"sort": "-last", "type": "flash_error"}).context
    assert (context["before_key"], context["after_key"]) == (group("bravo").pk, group("alpha").pk)


def test_a_filter_chooses_the_events_and_the_export_but_not_the_figures(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    for number in range(6):
        make_event(
            message=f"No ACK for block {number} (got 1)",
            model="UV-17R" if number % 2 else "UV-5RM",
            received_at_ms=now_ms - number,
        )
    answer = maintainer.get(path(), {"model": "UV-17R", "span": "90"})
    assert [event.model for event in answer.context["events"]] == ["UV-17R"] * 3
    assert answer.context["event"].message == "No ACK for block 1 (got 1)"
    assert answer.context["position"] == ListPosition(1, 3, is_total_exact=True)
    assert answer.context["group"].accepted == 6
    text = answer.content.decode()
    assert f"/namedexport/of/failures/?model=UV-17R&amp;group={group().pk}" in text
    assert answer.context["older_url"].startswith("?model=UV-17R&span=90&event=")


def test_a_filter_without_a_match_says_so(maintainer: Client) -> None:
    make_event()
    text = words(maintainer, model="UV-17R")
    assert "No event of this group matches these filters." in text
    assert f'href="{path()}">Remove these filters</a>' in text
    assert "no longer stored" not in text


def test_one_event_can_be_shown_between_its_neighbours(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    events = [make_event(message=f"No ACK for block {n} (got 1)", received_at_ms=now_ms - n) for n in range(5)]
    other = make_event(message="another", received_at_ms=now_ms)
    context = maintainer.get(path(), {"event": events[2].pk}).context
    assert context["event"] == events[2]
    assert context["position"] == ListPosition(3, 5, is_total_exact=True)
    assert context["newer_url"] == f"?event={events[1].pk}#failure"
    assert context["older_url"] == f"?event={events[3].pk}#failure"
    for missing in (other.pk, "gone", "a\0b", ""):
        assert maintainer.get(path(), {"event": missing}).context["event"] == events[0]


def test_the_latest_events_show_what_differs(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    for number in range(3):
        make_event(
            message=f"No ACK for block 0x{number:04x} (got 0x15)",
            model=f"m{number % 2}",
            metadata_json='{"browser": "Chrome 139"}',
            received_at_ms=now_ms - number,
        )
    differences = maintainer.get(path()).context["differences"]
    assert differences.columns == ["block", "Model"]
    assert [cells for _, cells in differences.rows] == [["0x0000", "m0"], ["0x0001", "m1"], ["0x0002", "m0"]]
    assert ("browser", "Chrome 139") in differences.shared


def test_hostile_events_can_be_compared(maintainer: Client) -> None:
    hostile = "</td><script>alert(1)</script>\u202e"
    now_ms = clock.now_ms()
    for number in range(2):
        make_event(
            message=f"No ACK {hostile} {number}",
            model=f"{hostile}{number}",
            metadata_json=json.dumps({f"{hostile}{number}": hostile * 5}),
            received_at_ms=now_ms - number,
        )
    text = maintainer.get(f"{LIST}{FailureGroup.objects.get().pk}/").content.decode()
    assert "<script>alert" not in text
    assert "\u202e0</bdi>" in text


def test_a_decision_and_a_note_return_to_the_filtered_page(maintainer: Client) -> None:
    make_event(model="UV-17R")
    page = maintainer.get(path(), {"model": "UV-17R", "origin": "recentfailure"})
    back = page.context["page_query"]
    assert back == "model=UV-17R&origin=recentfailure"
    asked = maintainer.get(DECIDE, {"action": "mute", "id": group().pk, "back": back})
    assert f'href="{path()}?model=UV-17R&amp;origin=recentfailure">Cancel</a>' in asked.content.decode()
    decided = maintainer.post(DECIDE, {"action": "mute", "id": group().pk, "back": asked.context["back"]})
    noted = maintainer.post(f"{path()}note/", {"note": "a driver", "back": back})
    for answer in (decided, noted):
        assert answer["Location"] == f"{path()}?model=UV-17R&origin=recentfailure"


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil", "window=never", "model=a%00b&x=y", "&" * 50])
def test_to_return_takes_known_filters_only(maintainer: Client, back: str) -> None:
    make_event()
    answer = maintainer.post(f"{path()}note/", {"note": "x", "back": back})
    assert answer["Location"].partition("?")[0] == path()
    assert "?" not in answer["Location"]


def test_a_page_takes_few_queries(maintainer: Client) -> None:
    for number in range(30):
        make_event(message=f"No ACK for block {number} (got 1)", model=f"m{number % 5}")
    where = path()
    with CaptureQueriesContext(connection) as queries:
        assert maintainer.get(where).status_code == 200
    # Two are the permissions of the account. The first page of a process reads the releases and the mark of retention.
    assert len(queries) <= 11 + 2 + 2 + BANNER_QUERIES
    (counts,) = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert re.findall(r"LIMIT \d+\) AS counted", counts) == ["LIMIT 1000) AS counted", "LIMIT 1001) AS counted"]
    assert counts.count("COUNT(") == 2


# --- decisions ------------------------------------------------------------------------------------------------------


def test_to_ask_changes_nothing(maintainer: Client) -> None:
    make_event()
    before = FailureGroup.objects.values().get()
    questions = {
        "resolve": "Resolve 1 group?",
        "mute": "Mute 1 group?",
        "expect": "Mark 1 group as expected?",
        "reopen": "Open 1 group again?",
        "assign": "Assign 1 group?",
    }
    for action, question in questions.items():
        answer = maintainer.get(DECIDE, {"action": action, "id": group().pk})
        assert answer.status_code == 200
        assert f"<h1>{question}</h1>" in answer.content.decode()
    assert FailureGroup.objects.values().get() == before
    assert not AuditEntry.objects.exists()


def test_the_question_offers_the_releases_newest_first(maintainer: Client) -> None:
    make_event(app_version="only a failure")
    make_event(**success(app_version="aaa"), received_at_ms=clock.now_ms() - 2)
    make_event(**success(app_version="bbb"), received_at_ms=clock.now_ms() - 1)
    make_event(**success(app_version="dev"))
    answer = maintainer.get(DECIDE, {"action": "resolve", "id": group().pk})
    assert answer.context["releases"] == ["bbb", "aaa"]


def test_resolved_in_a_version_it_comes_back_as_a_regression_with_the_event_that_did_it(maintainer: Client) -> None:
    make_event(**success())
    make_event()
    answer = maintainer.post(DECIDE, {"action": "resolve", "id": group().pk, "fixed_in": "19afc18"}, follow=True)
    assert "Resolve: done for 1 group." in unescape(answer.content.decode())
    assert group().status == "resolved"
    assert "in <bdi>19afc18</bdi>" in words(maintainer)
    again = make_event(message="No ACK for block 0x0a20 (got 0x15)")
    text = words(maintainer)
    assert "<h2>Regression</h2>" in text
    assert f"/admin/events/event/{again.id}/" in text
    assert AuditEntry.objects.get().what == "Resolved in 19afc18."


@pytest.mark.parametrize("version", ["dev", "unknown", "(other)"])
def test_nothing_is_fixed_in_what_is_no_release(maintainer: Client, version: str) -> None:
    make_event()
    answer = maintainer.post(DECIDE, {"action": "resolve", "id": group().pk, "fixed_in": version})
    assert answer.status_code == 400
    assert "not a release" in unescape(answer.content.decode())
    assert group().status == "open"


def test_a_version_that_nobody_has_seen_is_told(maintainer: Client) -> None:
    """It may be the next one, or a slip of the pen after which nothing would ever come back."""
    make_event()
    answer = {"action": "resolve", "id": group().pk, "fixed_in": "7c1d2e3", "confirmed": "7c1d2e3"}
    maintainer.post(DECIDE, answer)
    assert "in <bdi>7c1d2e3</bdi>, which is not a release yet" in words(maintainer)
    make_event(**success(app_version="7c1d2e3"))
    assert "has not been seen" not in words(maintainer)


def test_a_decision_that_came_with_a_regrouping_is_not_denied(maintainer: Client) -> None:
    make_event()
    assert "There is no decision" in words(maintainer)
    maintainer.post(DECIDE, {"action": "resolve", "id": group().pk, "fixed_in": ""})
    FailureGroup.objects.update(fingerprint="0" * 16)  # its history stays with the old one
    text = words(maintainer)
    assert "There is no decision" not in text
    assert "The decision was made before the failures were regrouped" in text


def test_muted_until_a_day(maintainer: Client) -> None:
    make_event()
    until = clock.today() + timedelta(days=3)
    maintainer.post(DECIDE, {"action": "mute", "id": group().pk, "until": until.isoformat()})
    assert group().status == "muted"
    assert f"until {until} 00:00:00 UTC" in words(maintainer)
    assert AuditEntry.objects.get().what == f"Muted until {until}."


def test_expected_and_open_again(maintainer: Client) -> None:
    make_event()
    assert "Mark as expected…" in words(maintainer)
    maintainer.post(DECIDE, {"action": "expect", "id": group().pk})
    text = words(maintainer)
    assert group().status == "expected"
    assert "no failure figure includes these events" in text
    assert list(maintainer.get(path()).context["actions"]) == ["reopen", "assign"]
    maintainer.post(DECIDE, {"action": "reopen", "id": group().pk})
    assert group().status == "open"
    assert not ExpectedRollup.objects.exists()
    assert list(AuditEntry.objects.order_by("pk").values_list("what", flat=True)) == [
        "Marked as expected.", "Opened again.",
    ]  # fmt: skip


def test_an_overflow_group_is_not_offered_as_expected_and_left_out_of_many(maintainer: Client) -> None:
    for message in ("alpha", "bravo"):
        make_event(message=message)
    overflow = groups.overflow_of("flash_error").key
    FailureGroup.objects.filter(title="bravo").update(fingerprint=overflow)
    assert "expect" not in maintainer.get(f"{LIST}{overflow}/").context["actions"]
    answer = maintainer.post(DECIDE, {"action": "expect", "id": [group("alpha").pk, overflow]}, follow=True)
    assert "holds different failures" in unescape(answer.content.decode())
    assert dict(FailureGroup.objects.values_list("title", "status")) == {"alpha": "expected", "bravo": "open"}
    answer = maintainer.post(DECIDE, {"action": "expect", "id": overflow}, follow=True)
    assert "It was left out" in unescape(answer.content.decode())


@pytest.mark.parametrize("until", ["2020-01-01", "yesterday", "9999-99-99"])
def test_a_day_that_cannot_be_is_told_and_mutes_nothing(maintainer: Client, until: str) -> None:
    make_event()
    answer = maintainer.post(DECIDE, {"action": "mute", "id": group().pk, "until": until})
    assert answer.status_code == 400
    assert 'class="error"' in answer.content.decode()
    assert group().status == "open"


def test_many_at_once_each_in_the_audit_log(maintainer: Client) -> None:
    for message in ("alpha", "bravo", "charlie"):
        make_event(message=message)
    ids = [group("alpha").pk, group("bravo").pk, "not there", "a\0b"]
    answer = maintainer.post(DECIDE, {"action": "resolve", "id": ids, "fixed_in": ""})
    assert answer["Location"] == LIST
    assert dict(FailureGroup.objects.values_list("title", "status")) == {
        "alpha": "resolved",
        "bravo": "resolved",
        "charlie": "open",
    }
    entries = AuditEntry.objects.values_list("about", "what", "who")
    assert sorted(entries) == [
        ("alpha", "Resolved in the next version.", "someone-Maintainers"),
        ("bravo", "Resolved in the next version.", "someone-Maintainers"),
    ]


def test_all_that_the_filters_show_are_those_and_no_others(maintainer: Client) -> None:
    for message in ("alpha", "bravo"):
        make_event(message=message)
    make_event(message="charlie", event_type="connect_error")
    asked = {"action": "mute", "all": "1", "type": "flash_error", "q": "a", "id": group("charlie").pk}
    answer = maintainer.get(DECIDE, asked)
    assert {chosen.title for chosen in answer.context["chosen"]} == {"alpha", "bravo"}
    assert ("type", "flash_error") in answer.context["hidden"]
    maintainer.post(DECIDE, dict(answer.context["hidden"]) | {"action": "mute", "until": ""})
    assert set(FailureGroup.objects.filter(status="muted").values_list("title", flat=True)) == {"alpha", "bravo"}


def test_what_nobody_was_shown_is_not_decided_about(maintainer: Client) -> None:
    make_event(message="shown")
    asked = dict(maintainer.get(DECIDE, {"action": "mute", "all": "1"}).context["hidden"])
    make_event(message="came meanwhile")
    answer = maintainer.post(DECIDE, asked | {"action": "mute", "until": "2999-01-01"})
    assert answer.status_code == 409
    text = unescape(answer.content.decode())
    assert "The list has changed" in text
    assert "2999-01-01" in text
    assert {chosen.title for chosen in answer.context["chosen"]} == {"shown", "came meanwhile"}
    assert not FailureGroup.objects.filter(status="muted").exists()
    maintainer.post(DECIDE, dict(answer.context["hidden"]) | {"action": "mute", "until": ""})
    assert FailureGroup.objects.filter(status="muted").count() == 2


@pytest.mark.parametrize("asked", [{}, {"id": "not there"}, {"all": "1", "q": "unheard of"}, {"all": "1", "sort": "x"}])
def test_nothing_chosen_changes_nothing(maintainer: Client, asked: dict[str, str]) -> None:
    make_event()
    answer = maintainer.post(DECIDE, {"action": "resolve", **asked}, follow=True)
    assert "nothing was changed" in unescape(answer.content.decode())
    assert group().status == "open"


def test_too_many_at_once_are_refused(maintainer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.admin.groups.MAX_AT_ONCE", 1)
    for message in ("alpha", "bravo"):
        make_event(message=message)
    answer = maintainer.post(DECIDE, {"action": "resolve", "all": "1"}, follow=True)
    assert "Narrow the filters" in unescape(answer.content.decode())
    assert not FailureGroup.objects.exclude(status="open").exists()


@pytest.mark.parametrize("action", ["", "delete", "RESOLVE"])
def test_what_is_no_decision_is_a_404(maintainer: Client, action: str) -> None:
    make_event()
    assert maintainer.post(DECIDE, {"action": action, "id": group().pk}).status_code == 404


def test_staff_may_look_and_decide_nothing(client: Client) -> None:
    make_event()
    sign_in(client, "Staff")
    text = words(client)
    assert "Resolve…" not in text
    assert "Save the note" not in text
    for method in (client.get, client.post):
        assert method(DECIDE, {"action": "resolve", "id": group().pk}).status_code == 403
    assert client.post(f"{path()}note/", {"note": "mine"}).status_code == 403
    assert (group().status, group().note) == ("open", "")


def test_a_decision_needs_a_token_against_forgery() -> None:
    client = Client(enforce_csrf_checks=True)
    make_event()
    sign_in(client, "Maintainers")
    assert client.post(DECIDE, {"action": "resolve", "id": group().pk}).status_code == 403
    assert group().status == "open"


# --- the note ---------------------------------------------------------------------------------------------------------


def test_a_note_is_kept_shown_and_logged(maintainer: Client) -> None:
    make_event()
    maintainer.post(f"{path()}note/", {"note": "  <b>cable</b>\nnot ours  "})
    assert group().note == "<b>cable</b>\nnot ours"
    assert "&lt;b&gt;cable&lt;/b&gt;" in maintainer.get(path()).content.decode()
    assert AuditEntry.objects.get().what == "Noted: <b>cable</b>\nnot ours"


def test_a_note_that_is_too_long_is_told_and_the_old_one_stays(maintainer: Client) -> None:
    make_event()
    maintainer.post(f"{path()}note/", {"note": "short"})
    answer = maintainer.post(f"{path()}note/", {"note": "x" * 2_001}, follow=True)
    assert "The note was not saved" in unescape(answer.content.decode())
    assert group().note == "short"


def test_a_line_end_is_one_character_as_the_browser_counts_it(maintainer: Client) -> None:
    make_event()
    note = "\n".join(["x" * 99] * 20)
    maintainer.post(f"{path()}note/", {"note": note.replace("\n", "\r\n") + "x"})
    assert group().note == note + "x"


def test_to_open_the_address_of_the_note_changes_nothing(maintainer: Client) -> None:
    make_event()
    maintainer.post(f"{path()}note/", {"note": "short"})
    assert maintainer.get(f"{path()}note/").status_code == 302
    assert group().note == "short"


# --- the overflow group ----------------------------------------------------------------------------------------------


def overflow_with(monkeypatch: pytest.MonkeyPatch, *messages: str) -> str:
    """Store failures that exceed the capacity of the day; return the address of their group."""
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 0)
    monkeypatch.setattr(groups, "MAX_REPEATED_A_DAY", 0)
    events = [make_event(message=message, session_id=f"{number}") for number, message in enumerate(messages)]
    return f"{LIST}{quote(events[0].fingerprint or '')}/"


def test_an_overflow_group_shows_its_most_common_words(maintainer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    address = overflow_with(
        monkeypatch,
        "The radio was silent at block x1",
        "Radio silent, radio gone",
        "the RADIO and the cable",
        "Größe passt nicht",
        "größe unbekannt 123 123",
    )
    answer = maintainer.get(address)
    assert answer.context["words"] == [Word("radio", 3, 0.6), Word("größe", 2, 0.4), Word("silent", 2, 0.4)]
    text = unescape(answer.content.decode())
    assert "Most common words" in text
    assert "?group=overflow-flash_error&q=radio" in text
    assert len(maintainer.get("/failures?group=overflow-flash_error&q=radio").json()["results"]) == 3


def test_the_words_are_those_of_the_chosen_span(maintainer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    address = overflow_with(monkeypatch, "new words")
    for number in range(2):
        make_event(message="old words", session_id=f"old {number}", received_at_ms=clock.now_ms() - 40 * DAY_MS)
    assert maintainer.get(address).context["words"] == []
    assert "No word is in two of these failures." in maintainer.get(address).content.decode()
    assert [word.word for word in maintainer.get(address, {"span": "90"}).context["words"]] == ["words", "old"]


def test_the_words_are_read_from_a_bounded_number_of_failures(
    maintainer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakdowns, "WORDS_OF", 3)
    monkeypatch.setattr(breakdowns, "WORDS_SHOWN", 1)
    address = overflow_with(monkeypatch, *(f"alpha beta {'gamma' if number else ''}" for number in range(5)))
    assert maintainer.get(address).context["words"] == [Word("alpha", 3, 1.0)]


def test_no_other_group_has_words(maintainer: Client) -> None:
    make_event()
    assert maintainer.get(path()).context["words"] is None
    assert "Most common words" not in words(maintainer)


def test_the_facets_of_a_group_have_those_that_told_nothing(maintainer: Client) -> None:
    for number, browser in enumerate(["Chrome 139", "Chrome 139", "Edge 139", None]):
        make_event(message=f"No ACK for block {number} (got 1)", metadata_json=json.dumps({"browser": browser}))
    make_event(**success(metadata_json='{"browser":"Edge 139"}'))
    answer = maintainer.get(path())
    tables = {table.facet: table for table in answer.context["facets"]}
    assert list(tables) == ["model", "version", "mode", "connected", "f.browser"]
    assert tables["f.browser"].label == "Browser"
    assert [(name, part.events, part.of_group, part.of_others) for name, part in tables["f.browser"].parts] == [
        ("Chrome 139", 2, 2 / 3, 0.0),
        ("Edge 139", 1, 1 / 3, 1.0),
        ("(not told)", 1, 0.25, 0.0),
    ]


def test_a_name_that_was_removed_from_the_setting_has_no_table(maintainer: Client, settings: Any) -> None:
    make_event(metadata_json='{"browser":"Edge 139"}')
    settings.FACETS = ("os",)
    assert [table.facet for table in maintainer.get(path()).context["facets"]] == [
        "model", "version", "mode", "connected",
    ]  # fmt: skip
