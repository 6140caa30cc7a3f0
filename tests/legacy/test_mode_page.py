"""The admin page of the mode: the current mode, a switch with a confirmation, and the history."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.ingest import writer
from legacy.cutover import modes, parity, switch
from legacy.models import Cutover, ParityRun
from tests.conftest import BANNER_QUERIES, VIEW_QUERIES, make_event, sign_in, success, text_of
from tests.fixtures.arrivals import success_arrived
from tests.fixtures.both_sides import dump
from tests.storage import locked_events

pytestmark = pytest.mark.django_db
PATH = "/admin/legacy/cutover/"
WANTED = {"mode": "separate", "reason": "the front end is not ready"}
CONFIRMED = WANTED | {"confirmed": "yes"}


def switch_to(mode: str) -> None:
    switch.to_mode(modes.Mode(mode), reason="a test", user=None, user_name="someone", at=clock.now())


def prove(days: int) -> None:
    """Send a success by an old route and by `/event` on each of these days before today, and compare."""
    for days_ago in range(1, days + 1):
        success_arrived(days_ago, by_event=True)
    parity.keep(parity.check(14, clock.today()), at=clock.now())


@pytest.mark.parametrize(
    ("role", "looks", "switches"),
    [(None, 403, 403), ("Staff", 200, 403), ("Maintainers", 200, 302)],
)
def test_permissions_to_view_and_to_switch(client: Client, role: str | None, looks: int, switches: int) -> None:
    sign_in(client, role)
    assert client.get(PATH).status_code == looks
    assert ("Switch to" in client.get(PATH).content.decode()) is (switches == 302)
    assert client.post(PATH, CONFIRMED).status_code == switches
    assert Cutover.objects.exists() is (switches == 302)


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_anonymous_user_is_redirected_to_the_login(client: Client, method: str) -> None:
    answer = getattr(client, method)(PATH, CONFIRMED)
    assert answer["Location"].startswith("/admin/login/")
    assert not Cutover.objects.exists()


def test_a_switch_requires_the_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    sign_in(client, "Maintainers")
    assert client.post(PATH, CONFIRMED).status_code == 403
    assert not Cutover.objects.exists()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("separate", "The old routes write to the old tables only, and read the old tables."),
        ("alias", "The old routes write to the unified stream and the old tables, and read the unified stream."),
        ("gone", "The old routes write to nothing, and read nothing: each answers 410."),
    ],
)
def test_the_current_mode_is_explained_and_the_others_are_offered(client: Client, mode: str, said: str) -> None:
    prove(7)
    switch_to(mode)
    sign_in(client, "Maintainers")
    text = text_of(client.get(PATH))
    assert said in text
    offered = {name for name in modes.Mode.values if f'type="radio" name="mode" value="{name}"' in text}
    assert offered == set(modes.Mode.values) - {mode}


def test_a_site_that_never_switched_says_so(client: Client) -> None:
    sign_in(client, "Staff")
    assert "Never switched: a new site begins in <code>alias</code>." in text_of(client.get(PATH))


def test_a_maintainer_first_sees_the_effect_of_a_switch(client: Client) -> None:
    make_event(**success())
    sign_in(client, "Maintainers")
    text = text_of(client.post(PATH, WANTED))
    assert "Switch from alias to separate?" in text
    assert "First, missing successes and failures are copied in both directions" in text
    assert "Then, the old routes write only to the old tables" in text
    assert "<strong>1</strong> now" in text
    assert not Cutover.objects.exists()


def test_a_confirmed_switch_takes_effect_and_records_user_and_reason(client: Client) -> None:
    make_event(**success())
    user = sign_in(client, "Maintainers")
    text = text_of(client.post(PATH, CONFIRMED, follow=True))
    assert (
        "The old routes are in separate. The public count was 1 before and is 1 after."
        " Copied: 0 to the unified stream, 1 to the old tables." in text
    )
    assert client.get("/count").json() == {"ok": True, "total": 1}
    kept = Cutover.objects.get()
    assert (kept.mode, kept.reason, kept.switched_by, kept.switched_by_name) == (
        "separate",
        "the front end is not ready",
        user,
        user.username,
    )
    for part in ("the front end is not ready", user.username, "1 → 1", "0 to the stream,<br> 1 to the old tables"):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": " "}, "This field is required"),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"mode": "alias"}, "alias is not one of the available choices"),
        ({"mode": "nonsense"}, "nonsense is not one of the available choices"),
        ({"mode": "gone"}, "Parity is proven on 0 of 7 days in a row."),
    ],
)
def test_an_invalid_form_shows_its_errors(client: Client, changes: dict[str, str], said: str) -> None:
    sign_in(client, "Maintainers")
    assert said in client.post(PATH, CONFIRMED | changes).content.decode()
    assert not Cutover.objects.exists()


def test_gone_is_not_offered_before_the_window_is_complete(client: Client) -> None:
    prove(6)
    sign_in(client, "Maintainers")
    text = text_of(client.get(PATH))
    assert 'value="gone"' not in text
    assert "after parity is proven on 7 days in a row. It is proven on 6: " in text
    assert "manage.py legacy_mode gone --force" in text


def test_a_switch_to_gone_compares_again_first(client: Client) -> None:
    prove(7)
    sign_in(client, "Maintainers")
    assert 'value="gone"' in text_of(client.get(PATH))
    success_arrived(1, sent_to_event=True)
    text = text_of(client.post(PATH, CONFIRMED | {"mode": "gone"}))
    assert "Parity is proven on 0 of 7 days in a row." in text
    assert modes.in_force().mode == "alias"


def test_the_confirmation_of_gone_shows_the_clients_that_it_would_cut_off(client: Client) -> None:
    prove(7)
    success_arrived(2)
    sign_in(client, "Maintainers")
    text = text_of(client.post(PATH, WANTED | {"mode": "gone"}))
    assert "<strong>1</strong> session in the last 7 days would be cut off by <code>gone</code>, and 0 failures" in text
    assert "would be cut off" not in text_of(client.post(PATH, WANTED))


def test_a_comparison_by_an_older_rule_does_not_count_for_the_window(client: Client) -> None:
    ParityRun.objects.create(checked_at=clock.now(), holds=True, days_held=9, finding={})
    sign_in(client, "Maintainers")
    text = text_of(client.get(PATH))
    assert 'value="gone"' not in text
    assert "It was not checked yet" in text


def test_gone_is_allowed_after_the_window_and_can_be_undone(client: Client) -> None:
    prove(7)
    sign_in(client, "Maintainers")
    assert "The old routes are in gone." in text_of(client.post(PATH, CONFIRMED | {"mode": "gone"}, follow=True))
    assert client.get("/count").status_code == 410
    client.post(PATH, CONFIRMED | {"mode": "alias"})
    assert client.get("/count").json() == {"ok": True, "total": 7}


def test_requests_that_got_410_are_shown_by_route(client: Client) -> None:
    sign_in(client, "Staff")
    assert "got 410" not in text_of(client.get(PATH))
    switch_to("gone")
    said = "Requests answered with 410 in the last 7 days: {}.</p>"
    assert said.format("none") in text_of(client.get(PATH))
    for path in ("/count", "/count", "/recent/"):
        client.get(path)
    writer.flush_refusals()
    assert said.format("<code>/count</code> 2, <code>/recent</code> 1") in text_of(client.get(PATH))


def test_no_switch_is_offered_after_the_tables_are_dropped(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    call_command("legacy_mode", "gone", "--force", "--reason", "a test", stdout=io.StringIO())
    call_command("drop_legacy", stdout=io.StringIO())
    sign_in(client, "Maintainers")
    text = text_of(client.get(PATH))
    assert "so the old routes stay gone" in text
    assert "Switch to" not in text
    for asked in (WANTED, CONFIRMED):
        answer = client.post(PATH, asked)
        assert answer.status_code == 409
        assert "The old tables were dropped, so the old routes stay gone." in text_of(answer)


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_reported_and_changes_nothing(client: Client) -> None:
    make_event(**success())
    client.force_login(User.objects.create_superuser("root"))
    before = dump()
    with locked_events():
        answer = client.post(PATH, CONFIRMED)
    assert answer.status_code == 503
    assert "The database is busy or refuses writes, so the mode did not change." in text_of(answer)
    assert "Switch from alias to separate?" in text_of(answer)  # the page offers the switch again
    assert dump() == before


def test_a_reason_is_escaped(client: Client) -> None:
    sign_in(client, "Maintainers")
    for confirmed in ({}, {"confirmed": "yes"}):
        answer = client.post(PATH, WANTED | confirmed | {"reason": "<script>1</script>"}, follow=True)
        assert "&lt;script&gt;1" in answer.content.decode()
        assert b"<script>1" not in answer.content


def test_the_page_does_not_compare_and_counts_no_events(client: Client) -> None:
    prove(2)
    sign_in(client, "Maintainers")
    with CaptureQueriesContext(connection) as queries:
        client.get(PATH)
    assert len(queries) <= 9 + BANNER_QUERIES + VIEW_QUERIES, [query["sql"] for query in queries]
    assert not [query for query in queries if "telemetry_events" in query["sql"]]
