"""The admin's index: how it goes today, from rollups alone."""

import json
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.admin import charts
from events.admin.overview import visits
from events.counting import rollups
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import EventType, Visit
from events.reports import metrics
from legacy.models import ModeInForce, ParityRun
from tests.conftest import make_event, sign_in, success, text_of, turn_clock_to

pytestmark = pytest.mark.django_db


def page(client: Client, path: str = "/admin/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_the_login_page_wears_the_theme(client: Client) -> None:
    assert "/static/events/tokens.css" in page(client, "/admin/login/")


def test_staff_without_a_right_sees_no_figure(client: Client) -> None:
    make_event(**success())
    sign_in(client)
    text = page(client)
    assert "You can sign in, but you have no permission to view events" in text
    assert "Public count" not in text


def test_an_empty_site_says_what_makes_the_first_event_come(client: Client) -> None:
    sign_in(client, "Staff")
    text = page(client)
    assert "No event yet" in text
    assert "curl http://testserver/event" in text


def test_the_count_and_what_it_is_made_of(client: Client) -> None:
    sign_in(client, "Staff")
    rollups.set_baseline(1234, note="the old counter", user=None, user_name="command", at=clock.now())
    make_event(**success())
    text = page(client)
    assert "1,235" in text
    assert "= 1,234 baseline + 1 accepted" in text


def test_today_counts_flashes_failures_and_their_rate(client: Client) -> None:
    sign_in(client, "Staff")
    for _ in range(3):
        make_event(**success())
    make_event()
    make_event(**success(), received_at_ms=clock.now_ms() - 3 * DAY_MS)
    answer = client.get("/admin/")
    assert (answer.context["successes"], answer.context["failures"], answer.context["rate"]) == (3, 1, 0.25)
    assert "25.0 %" in answer.content.decode()


@pytest.mark.parametrize("days", ["1", "30"])
def test_expected_events_have_figures_of_their_own(client: Client, days: str) -> None:
    user = sign_in(client, "Staff")
    for _ in range(3):
        make_event(**success())
    make_event()
    make_event(event_type="connect_error", message="Port busy")
    without = client.get("/admin/", {"days": days}).context
    for number in range(5):
        picker = make_event(event_type="connect_error", message="No port selected", session_id=f"{number}")
    assert client.get("/admin/", {"days": days}).context["failures"] > 2
    triage.expect([str(picker.fingerprint)], user=user, at=clock.now())
    answer = client.get("/admin/", {"days": days})
    for name in (
        "successes",
        "failures",
        "rate",
        "rate_interval",
        "flash_rate",
        "connect_rate",
        "failures_line",
    ):
        assert answer.context[name] == without[name], name
    assert (answer.context["flash_rate"], answer.context["connect_rate"]) == (0.25, 0.2)
    worst = [worst.row for panel in answer.context["worst"] for worst in panel.rows]
    assert [(row.successes, row.failures, row.failure_rate) for row in worst] == [(3, 2, 0.4)] * 2
    number = answer.context["expected"]
    text = " ".join(answer.content.decode().split())
    assert f"{number} expected</a>" in text
    assert f"1 flash_error, 1 connect_error, {number} expected" in text
    assert {name: total for name, total, _ in answer.context["chart"]["totals"]}["connect_error"] == 1


def test_a_longer_span_is_a_link_away(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(**success(), received_at_ms=clock.now_ms() - 3 * DAY_MS)
    make_event(**success(), received_at_ms=clock.now_ms() - 8 * DAY_MS)
    answer = client.get("/admin/?days=7")
    assert answer.context["successes"] == 1
    assert answer.context["successes_change"] == (False, 0)
    assert answer.context["before_name"] == "the 7 days before"
    assert client.get("/admin/?days=1").context["before_name"] == "yesterday by this time"
    for nonsense in ("?days=nonsense", "?days=", ""):
        assert client.get(f"/admin/{nonsense}").context["days"] == "24h"


def test_the_span_before_ends_with_the_same_hour_of_its_last_day(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 2, 12, 10, 30, tzinfo=UTC)
    turn_clock_to(monkeypatch, int(now.timestamp()))
    sign_in(client, "Staff")
    yesterday_ms = metrics.day_start_ms(now.date()) - DAY_MS
    for hour in (0, 9, 10, 11, 23):
        make_event(**success(), received_at_ms=yesterday_ms + hour * HOUR_MS + HOUR_MS - 1)
    for _ in range(4):
        make_event(**success())
    context = client.get("/admin/?days=1").context
    assert (context["successes"], context["successes_change"]) == (4, (True, 33))


@pytest.mark.parametrize(
    ("days", "bars", "unit"),
    [
        ("24h", 24, "hour"),
        ("1", 24, "hour"),
        ("7", 7, "day"),
        ("30", 30, "day"),
        ("90", 90, "day"),
        ("all", 24, "hour"),
    ],
)
def test_the_chart_has_a_bar_for_each_step_and_its_figures_in_a_table(
    client: Client, days: str, bars: int, unit: str
) -> None:
    sign_in(client, "Staff")
    make_event(**success())
    make_event(event_type="connect_error")
    text = " ".join(client.get("/admin/", {"days": days}).content.decode().split())
    assert f"Events by {unit}" in text
    assert text.count('<g class="bar">') == bars
    assert text.count("(incomplete)") == 1
    assert "1 flash_success, 1 connect_error (incomplete)" in text
    assert text.count('<th scope="row"><a href="/admin/events/event/?since=') == bars


def test_a_release_is_marked_at_its_first_event(client: Client) -> None:
    sign_in(client, "Staff")
    midnight_ms = metrics.day_start_ms(clock.today())
    make_event(**success(app_version="7c1d2e3"), received_at_ms=midnight_ms - 2 * DAY_MS)
    make_event(**success(app_version="dev"))
    answer = client.get("/admin/?days=7")
    (tick,) = answer.context["chart"]["releases"]
    assert (tick.x, tick.name, tick.has_room) == (f"{400 / 7:.2f}%", "7c1d2e3", True)
    assert tick.title.startswith("7c1d2e3 was first seen ")
    assert [row[3] for row in answer.context["chart"]["rows"]] == [[], [], ["7c1d2e3"], [], [], [], []]
    assert "release <bdi>7c1d2e3</bdi></small></th>" in answer.content.decode()


@pytest.mark.parametrize("released", ["", "1"])
@pytest.mark.parametrize("days", ["24h", "1", "7", "30", "90", "all"])
def test_every_number_is_the_total_of_the_list_that_it_links_to(client: Client, days: str, released: str) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    for number, age_ms in enumerate([0, 0, 3 * DAY_MS, 9 * DAY_MS, 40 * DAY_MS, 100 * DAY_MS]):
        version = ("19afc18", "dev", "unknown")[number % 3]
        make_event(**success(app_version=version), received_at_ms=now_ms - age_ms)
        make_event(message=f"fault {number}", app_version=version, model="UV-17R", received_at_ms=now_ms - age_ms)
    picker = make_event(event_type="connect_error", message="No port selected")
    triage.expect([str(picker.fingerprint)], user=User.objects.get(), at=clock.now())
    context = client.get("/admin/", {"days": days, "released": released}).context
    rows = [(sum(numbers), url) for _, numbers, url, _ in context["chart"]["rows"]]
    assert len(rows) >= 7
    linked = [
        (context["successes"], context["successes_url"]),
        (context["failures"], context["failures_url"]),
        (context["expected"], context["expected_url"]),
        (context["successes"] + context["failures"], context["events_url"]),
        (context["accepted"], context["accepted_url"]),
        *((total, url) for _, total, url in context["chart"]["totals"]),
        *(row for row in rows if row[0]),
        rows[0],
        rows[len(rows) // 2],
        *((worst.row.failures, worst.url) for panel in context["worst"] for worst in panel.rows),
    ]
    assert len(linked) >= 10
    lists = {url: client.get(url).context for _, url in linked}  # several numbers lead to one list
    for number, url in linked:
        listed = lists[url]
        assert (listed["total"], len(listed["page"].events)) == (number, number), url


@pytest.mark.parametrize(
    ("successes", "failures", "expected"),
    [
        (0, 0, None),
        (1, 0, (0.0, 0.945)),
        (0, 1, (0.055, 1.0)),
        (1, 1, (0.027, 0.973)),
        (860, 40, (0.032, 0.061)),
        (1_000_000, 0, (0.0, 0.0)),
        (0, 1_000_000, (1.0, 1.0)),
        (500_000, 500_000, (0.499, 0.501)),
    ],
)
def test_the_interval_of_a_rate(successes: int, failures: int, expected: tuple[float, float] | None) -> None:
    interval = metrics.failure_rate_interval(successes, failures)
    assert (interval and tuple(round(end, 3) for end in interval)) == expected


def test_versions_that_are_no_release_can_be_left_out(client: Client) -> None:
    sign_in(client, "Staff")
    for version in ("19afc18", "dev", "unknown"):
        make_event(message=version, app_version=version)
    assert client.get("/admin/").context["failures"] == 3
    context = client.get("/admin/?released=1").context
    assert context["failures"] == 1
    assert [worst.row.name for worst in context["worst"][1].rows] == ["19afc18"]


def test_what_fails_most_surely_comes_first(client: Client) -> None:
    sign_in(client, "Staff")
    failing = {"lucky": (1, 1), "known": (40, 860), "well": (1, 900)}
    rollups.add(
        SimpleNamespace(
            received_at_ms=clock.now_ms(),
            event_type=event_type,
            model=model,
            app_version="19afc18",
            write_mode=1,
            connected=1,
        )
        for model, counts in failing.items()
        for event_type, count in zip(("flash_error", "flash_success"), counts, strict=True)
        for _ in range(count)
    )
    models = client.get("/admin/").context["worst"][0].rows
    assert [worst.row.name for worst in models] == ["known", "lucky", "well"]
    low = {worst.row.name: round(worst.row.interval[0], 3) for worst in models}
    assert low == {"lucky": 0.027, "known": 0.032, "well": 0.0}
    widest = models[1].row.interval[1]
    assert [worst.interval.middle for worst in models] == [
        f"{100 * rate / widest:.2f}%" for rate in (40 / 900, 1 / 2, 1 / 901)
    ]


def test_refusals_and_duplicates_are_listed_by_reason(client: Client) -> None:
    sign_in(client, "Staff")
    make_event()
    rollups.add_tallies({(clock.today(), "duplicate"): 4, (clock.today(), "invalid_fields"): 2})
    rollups.add_tallies({(date(2020, 1, 1), "origin"): 9, (clock.today(), "gone /client-log"): 3})
    answer = client.get("/admin/")
    assert answer.context["duplicates"] == 4
    assert answer.context["refusals"] == {"gone /client-log": 3, "invalid fields": 2}


def test_text_of_an_event_stays_text(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(message="<script>alert(1)</script>", model='"><img src=x>')
    text = page(client)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;alert(…)&lt;/script&gt;" in text


def test_failures_come_first_among_the_pages(client: Client) -> None:
    sign_in(client, "Maintainers")
    apps = client.get("/admin/").context["app_list"]
    names = [str(model["name"]) for model in apps[0]["models"]]
    assert names == [
        "Failure groups",
        "Releases",
        "Recent failures",
        "Events",
        "Baseline history",
        "Corrections of the count",
        "Exports",
        "Source maps",
        "Jobs",
        "Backups",
        "Retention",
        "Alert channels",
        "Outbox of alerts",
        "Tokens",
        "Audit log",
    ]


def test_the_page_of_one_app_lists_its_pages(client: Client) -> None:
    sign_in(client, "Staff")
    text = page(client, "/admin/events/")
    assert '<a href="/admin/events/recentfailure/">Recent failures</a>' in text
    assert "You can sign in" not in text


def test_nothing_inline_that_the_policy_forbids(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(**success())
    answer = client.get("/admin/")
    text = answer.content.decode()
    assert "style-src 'self'" in answer["Content-Security-Policy"]
    assert "style=" not in text
    assert "<style" not in text
    assert text.count("<script ") == text.count("<script src=")


def test_the_index_reads_rollups_and_never_counts_events(client: Client) -> None:
    sign_in(client, "Maintainers")
    make_event(**success())
    client.get("/admin/")  # the first page of a process and day records the proxy headers
    with CaptureQueriesContext(connection) as queries:
        client.get("/admin/")
    # Two of them are the permissions of an account that is no superuser.
    assert len(queries) <= 12, [query["sql"] for query in queries]
    assert not [q for q in queries if "COUNT(" in q["sql"] and "telemetry_events" in q["sql"]]


def test_a_superuser_sees_it_all(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    make_event()
    assert "Needs attention" in page(client)


# --- ranges ----------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 2, 12, 12, 30, tzinfo=UTC)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch, client: Client) -> User:
    turn_clock_to(monkeypatch, int(NOON.timestamp()))
    return sign_in(client, "Staff")


def received(*ages: timedelta) -> None:
    for age in ages:
        make_event(session_id=str(age), received_at_ms=int((NOON - age).timestamp() * 1000))


@pytest.mark.usefixtures("noon")
def test_the_last_24_hours_are_the_first_range_and_cross_midnight(client: Client) -> None:
    hours = (0.1, 13, 23.4, 24.5, 47)
    received(*(timedelta(hours=hour) for hour in hours))
    answer = client.get("/admin/")
    assert next(iter(answer.context["ranges"])) == answer.context["days"] == "24h"
    assert (answer.context["failures"], answer.context["failures_change"]) == (3, (True, 50))
    assert client.get("/admin/?days=1").context["failures"] == 1


@pytest.mark.usefixtures("noon")
def test_a_range_of_days_includes_both_ends(client: Client) -> None:
    received(*(timedelta(days=day) for day in (0, 1, 3, 5, 6)))
    answer = client.get("/admin/?first=2026-02-07&last=2026-02-11")
    context = answer.context
    assert (context["failures"], context["range_name"]) == (3, "7 to 11 Feb 2026")
    assert context["before_name"] == "the 5 days before"
    assert len(context["chart"]["rows"]) == 5
    assert client.get(context["failures_url"]).context["total"] == 3
    text = answer.content.decode()
    assert 'name="first" value="2026-02-07"' in text
    # Another range forgets the days; everything else keeps them.
    assert 'href="?days=30"' in text
    assert 'href="?first=2026-02-07&amp;last=2026-02-11&amp;released=1"' in text


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize(
    ("query", "name", "failures"),
    [
        ("first=2026-02-12", "12 Feb 2026", 1),
        ("first=2026-02-11&last=2026-02-11", "11 Feb 2026", 1),
        ("first=2025-12-30&last=2026-02-11", "30 Dec 2025 to 11 Feb 2026", 2),
        ("first=2026-01-30&last=2030-01-01", "30 Jan to 12 Feb 2026", 3),
        ("days=all", "since 3 Feb 2026", 3),
    ],
)
def test_the_words_of_a_range(client: Client, query: str, name: str, failures: int) -> None:
    received(*(timedelta(days=day) for day in (0, 1, 9)))
    context = client.get(f"/admin/?{query}").context
    assert (context["range_name"], context["failures"]) == (name, failures)


@pytest.mark.usefixtures("noon")
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("first=2026-02-30", "From: Enter a day as YYYY-MM-DD."),
        ("first=yesterday&last=2026-02-01", "From: Enter a day as YYYY-MM-DD."),
        ("last=2026-02-01", "From: Enter the first day too."),
        ("first=2026-02-13", "From: This day is in the future."),
        ("first=2026-02-11&last=2026-02-10", "To: This day is before 2026-02-11."),
        ("first=1999-01-01", "From: A range has at most 3,660 days."),
        ("first=0001-01-01&last=0001-01-02", ""),
    ],
)
def test_an_invalid_range_says_why_and_shows_the_last_24_hours(client: Client, query: str, error: str) -> None:
    make_event()
    answer = client.get(f"/admin/?days=7&{query}")
    assert answer.status_code == 200
    assert error in answer.content.decode()
    assert answer.context["days"] == ("24h" if error else "custom")


@pytest.mark.usefixtures("noon")
def test_a_long_range_has_bars_of_weeks_that_begin_with_its_first_day(client: Client) -> None:
    received(timedelta(days=199), timedelta(days=200), timedelta())
    context = client.get("/admin/?first=2025-07-28").context
    assert (context["failures"], context["chart"]["unit"]) == (2, "week")
    rows = context["chart"]["rows"]
    assert (len(rows), sum(rows[-1][1])) == (29, 1)
    assert client.get(rows[-1][2]).context["total"] == 1


@pytest.mark.usefixtures("noon")
def test_all_time_has_no_span_before(client: Client) -> None:
    received(timedelta(days=9), timedelta(days=1))
    context = client.get("/admin/?days=all").context
    assert (context["failures_change"], context["rate_before"], context["before_name"]) == (None, None, "")
    assert [line.entry.reason for line in context["listed"]] == ["waiting"]


@pytest.mark.usefixtures("noon")
def test_the_page_says_when_its_figures_were_read(client: Client) -> None:
    make_event()
    assert "Figures read at 12:30:00 UTC" in page(client)


# --- needs attention -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("noon")
def test_each_entry_shows_its_reason_its_size_since_when_and_for_whom(client: Client) -> None:
    for number in range(30):
        make_event(**success(session_id=f"{number}", model="UV-5RM"))
    for number in range(12):
        make_event(message="Radio rejected the clock", session_id=f"{number}", model="DM-32UV", app_version="c0ffee1")
    for number in range(9):
        make_event(message=f"One-off {'abcdefghi'[number]}", session_id=f"one {number}")
    text = page(client)
    assert text.index("Needs attention") < text.index("Public count")
    first = text[text.index('<ol class="needs"') :].split("</li>")[0]
    for part in ("</span> new", "Radio rejected the clock", "<strong>12</strong>", ">12:30</time>"):
        assert part in first
    assert ">only DM-32UV</bdi>" in first
    assert "10 groups, last 24 hours" in text
    assert "… and 2 more that are new (one event each)." in text
    assert '<a href="?attention=all">Show all 10</a>' in text
    everything = client.get("/admin/?attention=all")
    assert len(everything.context["listed"]) == 10
    assert "Show fewer" in everything.content.decode()


@pytest.mark.usefixtures("noon")
def test_a_quiet_night_says_so(client: Client) -> None:
    make_event(**success())
    assert "No new failures in the last 24 hours. Nothing came back, nothing rises" in page(client)


@pytest.mark.usefixtures("noon")
def test_unknown_and_other_never_head_a_list(client: Client) -> None:
    for number in range(9):
        make_event(model="unknown", app_version="dev", session_id=f"{number}")
    make_event(model="UV-17R", app_version="19afc18", session_id="one")
    context = client.get("/admin/").context
    for panel in context["worst"][:2]:
        assert [bool(worst.remark) for worst in panel.rows] == [False, True]
    assert [line.names for line in context["listed"]] == ["UV-17R · 19afc18"]


@pytest.mark.usefixtures("noon")
def test_the_newest_releases_have_a_verdict_in_words(client: Client) -> None:
    make_event(**success(app_version="2c87cac", session_id="a"), received_at_ms=clock.now_ms() - DAY_MS)
    make_event(**success(app_version="19afc18", session_id="b"))
    text = page(client).split("Compared with the one before")[1]
    assert text.index("19afc18") < text.index("2c87cac")
    assert "first release" in text
    assert "too few to tell" in text


# --- visits ----------------------------------------------------------------------------------------------------------


def minutes_later(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    turn_clock_to(monkeypatch, int(NOON.timestamp() + 60 * minutes))


def test_what_is_new_since_the_last_visit_is_marked(
    client: Client, noon: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_event(message="Before", session_id="a")
    assert "your last visit" not in page(client)  # the first one
    minutes_later(monkeypatch, 40)
    make_event(message="After", session_id="b")
    text = page(client)
    assert "<strong>1</strong> new since your last visit" in text
    shown = {line.entry.title: line.is_new_to_reader for line in client.get("/admin/").context["listed"]}
    assert shown == {"Before": False, "After": True}
    minutes_later(monkeypatch, 90)
    assert "Nothing new since your last visit" in page(client)


def test_views_without_a_pause_are_one_visit_with_few_writes(
    client: Client, noon: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/admin/")
    minutes_later(monkeypatch, 40)
    for minutes in (40, 41, 44, 60, 80):
        minutes_later(monkeypatch, minutes)
        with CaptureQueriesContext(connection) as queries:
            client.get("/admin/")
        assert any(query["sql"].startswith("UPDATE") for query in queries) == (minutes in (40, 60, 80))
        assert Visit.objects.get().before_ms == int(NOON.timestamp() * 1000)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Requested-With": "XMLHttpRequest"},
        {"Sec-Fetch-Dest": "empty"},
        {"Sec-Purpose": "prefetch"},
        {"Purpose": "prefetch"},
    ],
)
def test_scripts_and_prefetches_are_no_visits(client: Client, noon: User, headers: dict[str, str]) -> None:
    assert client.get("/admin/", headers=headers).status_code == 200
    assert client.head("/admin/").status_code == client.post("/admin/").status_code == 200
    assert not Visit.objects.exists()
    client.get("/admin/", headers={"Sec-Fetch-Dest": "document"})
    assert Visit.objects.get().user == noon


def test_each_reader_has_visits_of_their_own_that_go_with_the_account(
    client: Client, noon: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/admin/")
    minutes_later(monkeypatch, 60)
    other = sign_in(client, "Maintainers")
    assert client.get("/admin/").context["last_visit_ms"] is None
    assert Visit.objects.count() == 2
    other.delete()
    assert Visit.objects.get().user == noon


def test_two_views_at_once_begin_one_visit(client: Client, noon: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client.get("/admin/")
    minutes_later(monkeypatch, 40)
    first_ms, now_ms = int(NOON.timestamp() * 1000), clock.now_ms()
    read = visits._after

    def overtaken(row: Visit | None, user_id: int, at_ms: int) -> Visit:
        Visit.objects.update(seen_ms=now_ms - 1, before_ms=first_ms)  # the other view was faster
        return read(row, user_id, at_ms)

    monkeypatch.setattr(visits, "_after", overtaken)
    assert client.get("/admin/").context["last_visit_ms"] == first_ms
    assert (Visit.objects.get().seen_ms, Visit.objects.get().before_ms) == (now_ms - 1, first_ms)


def test_a_visit_of_the_future_begins_no_other_one(client: Client, noon: User, monkeypatch: pytest.MonkeyPatch) -> None:
    Visit.objects.create(user=noon, seen_ms=clock.now_ms() + 9 * DAY_MS, before_ms=5)
    assert client.get("/admin/").context["last_visit_ms"] == 5
    assert Visit.objects.get().seen_ms == clock.now_ms()


# --- what an app adds: the old system's panel ------------------------------------------------------------------------

PANEL = '<h2 id="old-system">Old system</h2>'


@pytest.mark.parametrize("days", [{}, {"days": "7"}])
def test_the_panel_of_the_old_system_shows_its_mode_and_parity(client: Client, days: dict[str, str]) -> None:
    sign_in(client, "Staff")
    ParityRun.objects.create(checked_at=clock.now(), verdict="drift", holds=False, days_held=5, finding={})
    ParityRun.objects.create(checked_at=clock.now(), holds=True, days_held=9, finding={})  # by an older rule
    text = " ".join(client.get("/admin/", days).content.decode().split())
    assert '<a href="/admin/legacy/parityrun/">5 of 7 days proven</a>' in text
    assert '<a href="/admin/legacy/cutover/">alias</a>' in text
    assert "✕ drift" in text


def test_the_panel_says_that_parity_was_never_checked_also_on_an_empty_site(client: Client) -> None:
    sign_in(client, "Staff")
    text = page(client)
    assert "No event yet" in text
    assert '<a href="/admin/legacy/parityrun/">not checked yet</a>' in text


def test_the_panel_shows_dropped_tables_instead_of_parity(client: Client) -> None:
    ModeInForce.objects.create(id=1, mode="gone", tables_dropped=True)
    sign_in(client, "Staff")
    text = page(client)
    assert "archived and dropped" in text
    assert '<a href="/admin/legacy/parityrun/">not checked' not in text


def test_users_without_permission_do_not_see_the_panel_of_the_old_system(client: Client) -> None:
    user = sign_in(client)
    assert PANEL not in page(client)
    user.user_permissions.add(Permission.objects.get(codename="view_parityrun"))
    text = page(client)
    assert PANEL in text
    assert "/admin/legacy/cutover/" not in text


def test_pages_are_listed_under_their_own_headings(client: Client) -> None:
    sign_in(client, "Staff")
    apps = client.get("/admin/").context["app_list"]
    names = {app["name"]: [str(model["name"]) for model in app["models"]] for app in apps}
    assert names["The old system"] == ["Mode of the old routes", "Old log", "Parity", "The count's history"]


COUNTS = dict.fromkeys(EventType.values, 0)


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0, ["0"]),
        (1, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (530, ["0", "150", "300", "450"]),
        (930, ["0", "300", "600", "900"]),
    ],
)
def test_grid_lines_are_round_numbers(most: int, labels: list[str]) -> None:
    chart = charts.stacked_bars([charts.Column("1 Jan", "", COUNTS | {"flash_success": most}, "")], label_every=1)
    assert [line.label for line in chart.grid][: len(labels)] == labels


def test_failures_are_below_the_line_in_the_order_of_types() -> None:
    counts = COUNTS | {"flash_success": 6, "flash_error": 2, "connect_error": 1}
    bar = charts.stacked_bars([charts.Column("1 Jan", "", counts, "")], label_every=1).bars[0]
    up, first, second = (
        (part.event_type, float(part.y.rstrip("%")), float(part.height.rstrip("%"))) for part in bar.segments
    )
    assert [up[0], first[0], second[0]] == ["flash_success", "flash_error", "connect_error"]
    assert up[1] + up[2] == pytest.approx(first[1], abs=0.02)
    assert first[1] + first[2] == pytest.approx(second[1], abs=0.02)
    assert up[2] == pytest.approx(3 * first[2], abs=0.02)


def test_who_fails_is_ranked_by_facet_and_names_that_tell_nothing_are_last(client: Client) -> None:
    sign_in(client, "Staff")
    by_browser = [("Chrome 139", 1, 20), ("Edge 139", 6, 2), ("unknown", 9, 0), ("Safari 18", 0, 4), (None, 8, 0)]
    for browser, failures, successes in by_browser:
        metadata = json.dumps({"browser": browser})
        for number in range(failures):
            # No success has the step, so there is no rate by step.
            make_event(message=f"{browser} {number}", metadata_json=json.dumps({"browser": browser, "step": 3}))
        for _ in range(successes):
            make_event(**success(metadata_json=metadata))
    answer = client.get("/admin/")
    panels = {panel.parameter: panel for panel in answer.context["worst"]}
    assert list(panels) == ["model", "version", "f.browser"]
    rows = [(worst.row.name, worst.row.failures, worst.row.events) for worst in panels["f.browser"].rows]
    assert rows == [("Edge 139", 6, 8), ("Chrome 139", 1, 21), ("unknown", 9, 9), ("(not told)", 8, 8)]
    assert [bool(worst.remark) for worst in panels["f.browser"].rows] == [False, False, True, True]
    assert "f.browser=Edge+139" in panels["f.browser"].rows[0].url
    assert panels["f.browser"].rows[3].url == ""
    assert "Failures by browser" in text_of(answer)
    followed = client.get(panels["f.browser"].rows[0].url)
    assert len(followed.context["page"].events) == 6


def test_builds_that_are_no_release_are_last(client: Client) -> None:
    sign_in(client, "Staff")
    for number, version in enumerate(["dev", "dev", "19afc18"]):
        make_event(message=f"failure {number}", app_version=version)
    make_event(**success(app_version="19afc18"))
    versions = client.get("/admin/").context["worst"][1].rows
    assert [(worst.row.name, bool(worst.remark)) for worst in versions] == [("19afc18", False), ("dev", True)]
