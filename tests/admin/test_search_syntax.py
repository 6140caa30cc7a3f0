"""The search syntax on the pages, in exports and in the API: everywhere the same events and groups."""

import csv
import io
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils.http import urlencode

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.grouping import triage
from events.models import AuditEntry, Event, FailureGroup
from events.reports.forms import GroupFilter
from events.reports.groups import ranking
from tests.conftest import make_event, sign_in

pytestmark = pytest.mark.django_db
FAILURES = "/admin/events/recentfailure/"
EVENTS = "/admin/events/event/"
GROUPS = "/admin/events/failuregroup/"


@pytest.fixture
def stored(client: Client) -> Any:
    """Store four failures; the group of `d` is expected."""
    user = sign_in(client, "Maintainers")
    now_ms = clock.now_ms()
    chrome, mac = '{"browser":"Chrome 139","os":"Windows"}', '{"os":"macOS","deep":{"browser":"Chrome 139"}}'
    make_event(message="a No ACK", model="UV-17R", metadata_json=chrome, received_at_ms=now_ms - 3 * DAY_MS)
    make_event(message="b No ACK", error_name="TypeError", metadata_json=mac, received_at_ms=now_ms - 2 * HOUR_MS)
    make_event(message="c see http://x", app_version="dev", event_type="connect_error", write_mode=0)
    make_event(message="d picker closed", model="UV-17R", connected=0)
    triage.expect([str(Event.objects.get(message="d picker closed").fingerprint)], user=user, at=clock.now())
    return user


def initials(client: Client, path: str, **query: str) -> str:
    answer = client.get(path, query)
    assert answer.status_code == 200, answer.context["form"].errors
    return "".join(sorted(event.message[0] for event in answer.context["page"].events))


def exported(client: Client, path: str, **query: str) -> str:
    text = b"".join(client.get(f"{path}export/", query).streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return "".join(sorted(row["message"][0] for row in csv.DictReader(io.StringIO(text, newline=""))))


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("model:UV-17R expected:any", "ad"),
        ("-model:UV-17R", "bc"),
        ("-model:UV-17R -version:dev", "b"),
        ("-type:connect_error", "ab"),
        ('browser:"Chrome 139"', "a"),
        ('-browser:"Chrome 139"', "bc"),
        ("-os:macOS expected:any", "acd"),
        (f"-os:{'x' * 64}", "abc"),
        ("mode:no-write", "c"),
        ("-connected:no expected:any", "abc"),
        ("is:expected", "d"),
        ("-expected", "abc"),
        ("since:24h", "bc"),
        ("since:71h -version:dev", "b"),
        ("no ack since:4d", "ab"),
        ('"no ack" "typeerror"', "b"),
        ('"no ack" "a no"', "a"),
        ("http://x", "c"),
        ("no ack -model:UV-17R", "b"),
        ("until:2026-01-01", ""),
        ("since:2026-01-01 until:2999-12-31", "abc"),
    ],
)
def test_a_search_finds_the_same_on_every_way(client: Client, stored: Any, q: str, found: str) -> None:
    assert initials(client, FAILURES, q=q) == found
    assert exported(client, FAILURES, q=q) == found
    answer = client.get("/failures", {"q": q})
    assert "".join(sorted(item["message"][0] for item in answer.json()["results"])) == found
    if "expected" not in q:
        assert initials(client, EVENTS, q=f"{q} -expected") == found


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("model:UV-17R", "a"),
        ("model:UV-17R is:all", "ad"),
        ("-model:UV-17R", "bc"),
        ("is:expected", "d"),
        ("is:all -expected", "abc"),
        ("is:all -is:open", "d"),
        ('-browser:"Chrome 139"', "bc"),
        ("mode:no-write", "c"),
        ("-mode:no-write", "ab"),
        ("connected:no is:all", "d"),
        ("fixed:19afc18 is:all", ""),
        ("-fixed:19afc18 -assigned:anna", "abc"),
        ("assigned:(nobody)", "abc"),
        ("since:24h", "bc"),
        ("since:4d No ACK", "ab"),
        ("until:2026-01-01", ""),
        ('"no ack" "typeerror"', "b"),
    ],
)
def test_a_search_finds_groups(client: Client, stored: Any, q: str, found: str) -> None:
    answer = client.get(GROUPS, {"q": q})
    assert answer.status_code == 200
    assert "".join(sorted(row.group.title[0] for row, _ in answer.context["rows"])) == found


def test_the_filters_show_what_the_search_means_and_every_link_keeps_it(client: Client, stored: Any) -> None:
    query = {"q": "model:UV-17R -version:dev since:30d No ACK"}
    answer = client.get(FAILURES, query)
    text = answer.content.decode()
    assert 'name="model" value="UV-17R"' in text
    assert '<option value="30d" selected>' in text
    assert 'name="q" value="-version:dev &quot;No ACK&quot;"' in text
    assert re.search(r"Not version</span> <bdi[^>]*>dev<", text)
    assert "Filters (2 active)" in text
    kept = urlencode({"q": '-version:dev "No ACK"', "model": "UV-17R", "window": "30d"})
    for link in ("/admin/events/namedexport/of/failures/?", f"{Event.objects.get(message='a No ACK').pk}/?"):
        assert link + kept.replace("&", "&amp;") in text
    event = Event.objects.get(message="a No ACK")
    # A page that is opened with the search itself keeps the same.
    for parameters in (kept, urlencode(query)):
        page = client.get(f"{FAILURES}{event.pk}/?{parameters}").content.decode()
        (back,) = re.findall(rf'href="({FAILURES}\?[^"]*)">‹ Recent failures', page)
        assert set(unescape(back).partition("?")[2].split("&")) == set(kept.split("&"))


def test_the_next_page_has_the_same_meaning(client: Client, stored: Any) -> None:
    for number in range(60):
        make_event(message=f"e {number}", model="DM-32UV")
    answer = client.get(FAILURES, {"q": "model:DM-32UV -os:macOS"})
    (older,) = re.findall(r'href="(\?[^"]*)" rel="next"', answer.content.decode())
    assert initials(client, FAILURES + unescape(older)) == "e" * 10
    listed = client.get("/failures", {"q": "model:DM-32UV -os:macOS", "limit": "55"}).json()
    assert len(client.get(listed["next"]).json()["results"]) == 5


def test_a_page_of_groups_continues_a_search_for_the_last_hours(client: Client, stored: Any) -> None:
    now_ms, cursor, found = clock.now_ms(), None, []
    for minutes in range(3):
        form = GroupFilter({"q": "since:71h is:all"})
        assert form.is_valid()
        page = ranking.page(form.ranking(now_ms + minutes * 60_000, None), limit=1, after=cursor)
        found += [row.group.title[0] for row in page.rows]
        cursor = page.next
    assert (sorted(found), cursor) == (["b", "c", "d"], None)


def test_a_decision_about_all_matching_groups_keeps_the_search(client: Client, stored: Any) -> None:
    answer = client.get(f"{GROUPS}decide/", {"action": "mute", "all": "1", "q": "-model:UV-17R type:flash_error"})
    assert [group.title[0] for group in answer.context["chosen"]] == ["b"]
    hidden = dict(answer.context["hidden"])
    assert (hidden["type"], hidden["q"]) == ("flash_error", "-model:UV-17R")
    client.post(f"{GROUPS}decide/", {**hidden, "action": "mute", "until": ""})
    assert [group.title[0] for group in FailureGroup.objects.filter(status="muted")] == ["b"]


def test_tabs_replace_the_status_of_a_search(client: Client, stored: Any) -> None:
    answer = client.get(GROUPS, {"q": "is:expected"})
    tabs = {tab.label: tab for tab in answer.context["statuses"]}
    assert tabs["expected"].is_current
    assert tabs["muted"].query == "status=muted"


def test_the_audit_log_names_filters_and_hides_the_rest(client: Client, stored: Any) -> None:
    exported(client, FAILURES, q="model:UV-17R secret session")
    assert AuditEntry.objects.latest("id").what == "Exported Recent failures: q=…&model=UV-17R"


@pytest.mark.parametrize("path", [FAILURES, EVENTS, GROUPS])
def test_a_fault_is_shown_beside_the_field(client: Client, stored: Any, path: str) -> None:
    answer = client.get(path, {"q": 'since:2026-13-01 "<b>"', "model": "UV-17R"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert 'aria-invalid="true"' in text
    assert 'aria-describedby="id_q_error"' in text
    assert text.index("since:2026-13-01 is not a date") > text.index('id="id_q_error"')
    assert "since:2026-13-01 &quot;&lt;b&gt;&quot;" in text
    assert "<b>" not in text
    assert client.get(f"{path}export/", {"q": "since:never"}).status_code == 302


def test_the_api_names_the_field(client: Client, stored: Any) -> None:
    answer = client.get("/failures", {"q": "model:A model:B", "mode": "1"})
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "ok": False,
            "error": "Invalid parameters",
            "fields": {"q": ["model:A and model:B contradict each other. Keep one of them."]},
        },
    )


def test_a_page_of_one_object_ignores_a_search_that_cannot_be_read(client: Client, stored: Any) -> None:
    event = Event.objects.get(message="a No ACK")
    for path in (f"{FAILURES}{event.pk}/", f"{GROUPS}{event.fingerprint}/"):
        assert client.get(path, {"q": 'since:never "', "model": "UV-17R"}).status_code == 200


def test_links_to_a_list_search_for_the_text_itself(client: Client, stored: Any) -> None:
    make_event(message="model:x failed")
    text = client.get(FAILURES, {"q": '"model:x" "failed"'}).content.decode()
    assert "?status=all&amp;q=%22model%3Ax%22%20%22failed%22" in text
