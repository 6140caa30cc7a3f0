"""One event: everything that is known of it, whatever is in it."""

import json

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.models import Event
from tests.conftest import make_event, sign_in, success, text_of
from tests.plans import sought_by
from tests.sourcemaps.maps import V8, large_map, store_map

pytestmark = pytest.mark.django_db


def path_of(event: Event, model: str = "event") -> str:
    return f"/admin/events/{model}/{event.id}/"


def test_staff_without_the_right_may_not(client: Client) -> None:
    sign_in(client)
    assert client.get(path_of(make_event())).status_code == 403


def test_a_deleted_event_is_not_found(client: Client) -> None:
    sign_in(client, "Staff")
    answer = client.get("/admin/events/event/gone/")
    assert answer.status_code == 404
    assert b"Page not found" in answer.content


def test_a_success_is_no_recent_failure(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(**success())
    assert client.get(path_of(event)).status_code == 200
    assert client.get(path_of(event, "recentfailure")).status_code == 404


def test_a_failure_links_to_its_group_and_a_success_to_none(client: Client) -> None:
    sign_in(client, "Staff")
    make_event(message="No ACK for block 1")
    failure = make_event(message="No ACK for block 2")
    answer = client.get(path_of(failure))
    assert answer.context["group"].pk == failure.fingerprint
    assert f"group={failure.fingerprint}" in answer.content.decode()
    assert client.get(path_of(make_event(**success()))).context["group"] is None


def test_every_fact_is_there(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(
        session_id="sess/1",
        error_name="ProtocolError",
        stack="Error: no\n    at flash (app.js:1:2)",
        log_lines_json=json.dumps(["open port", {"level": 2}]),
        metadata_json=json.dumps({"browser": "Chromium", "nested": {"a": [1, None]}}),
    )
    text = client.get(path_of(event, "recentfailure")).content.decode()
    for part in (
        event.message, event.id, "2026-02-12T18:00:00.000Z", "ProtocolError",
        'href="/admin/events/event/?session=sess%2F1"',
        'href="/admin/events/recentfailure/?model=UV-5RM"',
        'href="/admin/events/recentfailure/?version=19afc18"',
        "<code>Error: no</code>", "<code>    at flash (app.js:1:2)</code>",
        "<code>open port</code>", "<code>{&quot;level&quot;: 2}</code>",
        "Chromium", "{&quot;a&quot;: [1, null]}",
    ):  # fmt: skip
        assert part in text


def test_a_bare_event_says_what_did_not_come(client: Client) -> None:
    sign_in(client, "Staff")
    text = client.get(path_of(make_event())).content.decode()
    for part in ("This event has no stack", "This event has no log lines", "This event has no metadata"):
        assert part in text


def test_of_a_long_log_the_end_is_shown_and_of_a_long_stack_the_beginning(client: Client) -> None:
    sign_in(client, "Staff")
    lines = [f"line {number}" for number in range(1, 101)]
    event = make_event(log_lines_json=json.dumps(lines), stack="\n".join(lines))
    text = client.get(path_of(event)).content.decode()
    assert "<summary>75 earlier lines</summary><ol><li><code>line 1</code>" in text
    assert '<ol start="76"><li><code>line 76</code>' in text
    assert '<summary>75 more lines</summary><ol start="26"><li><code>line 26</code>' in text


def test_before_and_after_stay_among_failures(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    older = make_event(message="older", received_at_ms=now_ms - 30)
    event = make_event(message="this", received_at_ms=now_ms - 20)
    make_event(**success(), received_at_ms=now_ms - 15)
    newer = make_event(message="newer", received_at_ms=now_ms - 10)
    context = client.get(path_of(event, "recentfailure")).context
    assert context["older_url"] == path_of(older, "recentfailure")
    assert context["newer_url"] == path_of(newer, "recentfailure")
    assert client.get(path_of(newer)).context["newer_url"] is None


@pytest.mark.parametrize("model", ["event", "recentfailure"])
def test_before_and_after_are_found_by_an_index_and_walk_past_nothing(client: Client, model: str) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    event, *_ = [make_event(message=f"failure {number}", received_at_ms=now_ms - number) for number in range(150)]
    with CaptureQueriesContext(connection) as captured:
        client.get(path_of(event, model))
    asked = [query["sql"] for query in captured if 'ORDER BY "telemetry_events"' in query["sql"]]
    assert len(asked) == 2
    for query in asked:
        (by,) = sought_by(query)
        assert "received_at_ms" in by


def test_neighbours_of_one_millisecond_are_ordered_by_their_ids(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    made = [make_event(message=f"failure {number}", received_at_ms=now_ms) for number in range(5)]
    events = sorted(made, key=lambda event: event.id)
    for at, event in enumerate(events):
        context = client.get(path_of(event)).context
        assert context["newer_url"] == (path_of(events[at + 1]) if at < 4 else None)
        assert context["older_url"] == (path_of(events[at - 1]) if at else None)


def test_a_long_message_is_folded_and_whole(client: Client) -> None:
    sign_in(client, "Staff")
    long, short = "無線機" * 166, "No ACK"
    text = client.get(path_of(make_event(message=long))).content.decode()
    assert f'<h1 class="long"><bdi>{long}</bdi></h1>' in text
    assert "<summary>Whole message</summary>" in text
    text = client.get(path_of(make_event(message=short))).content.decode()
    assert f"<h1><bdi>{short}</bdi></h1>" in text
    assert "Whole message" not in text


@pytest.mark.parametrize("message", ["\u200b\u2060", "\u2800\u3164", "\u202e \u202c"])
def test_a_message_without_a_visible_character_is_marked(client: Client, message: str) -> None:
    sign_in(client, "Staff")
    text = client.get(path_of(make_event(message=message))).content.decode()
    assert '<h1><bdi>–</bdi> <span class="quiet">no visible character</span></h1>' in text


def test_a_message_of_one_visible_character_is_shown(client: Client) -> None:
    sign_in(client, "Staff")
    text = client.get(path_of(make_event(message="\u200b👍\u200b"))).content.decode()
    assert "<h1><bdi>\u200b👍\u200b</bdi></h1>" in text


HOSTILE = "</code><script>alert(1)</script>"


def test_whatever_is_in_the_text_shows_as_text(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event(
        message=HOSTILE + "\u202eevil",
        model=HOSTILE,
        app_version=HOSTILE,
        error_name=HOSTILE,
        session_id=HOSTILE,
        stack=HOSTILE,
        log_lines_json=json.dumps([HOSTILE, "{{ settings.SECRET_KEY }}"]),
        metadata_json=json.dumps({HOSTILE: HOSTILE}),
    )
    answer = client.get(path_of(event))
    text = answer.content.decode()
    assert "<script>alert" not in text
    assert "{{ settings.SECRET_KEY }}" in text
    # The override that turns text round ends where the text ends.
    assert "<bdi>&lt;/code&gt;&lt;script&gt;alert(1)&lt;/script&gt;\u202eevil</bdi>" in text
    assert "style=" not in text


@pytest.mark.parametrize(
    ("log_lines", "shown"), [("not json", "not json"), ('{"a": "b"}', "a: b"), ('"one string"', "one string")]
)
def test_log_lines_of_any_shape_are_shown(client: Client, log_lines: str, shown: str) -> None:
    sign_in(client, "Staff")
    event = make_event()
    Event.objects.filter(pk=event.pk).update(log_lines_json=log_lines, metadata_json="[1]")
    assert f"<code>{shown}</code>" in client.get(path_of(event)).content.decode()


def test_a_page_is_a_few_queries_and_no_count(client: Client) -> None:
    sign_in(client, "Staff")
    event = make_event()
    with CaptureQueriesContext(connection) as queries:
        client.get(path_of(event))
    assert len(queries) <= 12
    assert not [q for q in queries if "COUNT(" in q["sql"]]


def test_an_id_with_nul_is_not_found(client: Client) -> None:
    sign_in(client, "Staff")
    assert client.get("/admin/events/event/%00/").status_code == 404


# --- frames ---------------------------------------------------------------------------------------------------


def test_the_top_frame_is_open_with_its_source_lines(client: Client) -> None:
    sign_in(client, "Staff")
    store_map()
    answer = client.get(path_of(make_event(stack=V8)))
    text = text_of(answer)
    assert answer.context["texts"].top_frame.place == "src/protocol.ts:8:32"
    assert text.count("<details open>") == 1
    assert '<li value="8" class="at"><code> if (ack[0] !== 0x06) throw <mark title="Column 32">n</mark>ew' in text
    assert '<li value="5"><code>export class Protocol {</code></li>' in text
    assert text.count('<li class="in-app">') == 4
    assert text.count('<li class="not-in-app">') == 2
    for words in ("in app", "not in app", "native code", "no map for other-A1b2C3d4.js of 19afc18"):
        assert f">{words}<" in text
    assert "at Ht.writeBlock (https://flash.example.org/assets/index-BxY3_kQ2.js:1:101)" in text


def test_a_group_shows_the_frames_of_its_newest_failure(client: Client) -> None:
    sign_in(client, "Staff")
    store_map()
    group = make_event(stack=V8).fingerprint
    assert "src/protocol.ts:8:32" in text_of(client.get(f"/admin/events/failuregroup/{group}/"))


def test_a_failure_without_frames_has_no_such_part(client: Client) -> None:
    sign_in(client, "Staff")
    for stack in (None, "Error: only text"):
        assert "frames-title" not in text_of(client.get(path_of(make_event(stack=stack))))


def test_frames_of_a_large_map_say_that_they_are_being_resolved(client: Client) -> None:
    sign_in(client, "Staff")
    text = json.dumps(large_map(2_000) | {"padding": "x" * 1_000_000}).encode()
    store_map("large", "large-A1b2C3d4.js", content=text)
    event = make_event(stack="at a (https://example.org/large-A1b2C3d4.js:1:5000)", app_version="large")
    assert "A large source map is being read." in text_of(client.get(path_of(event)))
    call_command("resolve_frames")
    assert "A large source map is being read." not in text_of(client.get(path_of(event)))


def test_hostile_frames_and_sources_are_text(client: Client) -> None:
    sign_in(client, "Staff")
    store_map(
        sources=["<img src=x>", "javascript:alert(1)", "\u202e"],
        sourcesContent=["<script>alert(1)</script>\n" * 20, None, None],
        names=["<b>"] * 4,
    )
    text = text_of(client.get(path_of(make_event(stack=V8.replace("Ht.writeBlock", "<i>")))))
    assert "&lt;script&gt;" in text
    for markup in ("<script>alert", "<img src=x", "<b>", "<i>", 'href="javascript'):
        assert markup not in text
