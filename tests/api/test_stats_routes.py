"""`GET /stats` and `GET /stats.json`: what everybody may see with PUBLIC_STATS=1."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, override_settings

from events import clock, process_memory
from events.counting import corrections, rollups
from events.counting.buckets import DAY_MS
from events.counting.corrections import Selection
from events.models import DailyRollup, Event
from events.reports import public
from tests.conftest import make_event, success
from tests.refusals import expect_answer

pytestmark = pytest.mark.django_db
PATHS = ["/stats", "/stats.json"]


@pytest.fixture(autouse=True)
def _stats_are_public(settings: Any) -> None:
    settings.PUBLIC_STATS = True


def figures(client: Client) -> dict[str, Any]:
    process_memory.clear()
    return client.get("/stats.json").json()  # type: ignore[no-any-return]


def by_day(client: Client) -> dict[str, int]:
    return {row["day"]: row["flashes"] for row in figures(client)["by_day"] if row["flashes"]}


def by_model(client: Client) -> dict[str, int]:
    return {row["model"]: row["flashes"] for row in figures(client)["by_model"]}


@override_settings(PUBLIC_STATS=False)
@pytest.mark.parametrize("path", PATHS)
def test_without_the_setting_there_are_no_such_routes(client: Client, path: str) -> None:
    for slash in ("", "/"):
        expect_answer(client.get(path + slash), 404, {"ok": False, "error": "Not found"})


def test_an_empty_site_has_ninety_empty_days(client: Client) -> None:
    today = clock.today()
    found = figures(client)
    assert [row["day"] for row in found["by_day"]] == [
        (today - timedelta(days=ago)).isoformat() for ago in range(89, -1, -1)
    ]
    assert {row["flashes"] for row in found["by_day"]} == {0}
    assert {name: found[name] for name in ("ok", "total", "days", "by_model")} == {
        "ok": True, "total": 0, "days": 90, "by_model": [],
    }  # fmt: skip
    assert b"No flash in the last 90 days" in client.get("/stats").content


def test_flashes_are_counted_by_day_and_by_model_and_failures_are_not(client: Client) -> None:
    now_ms, today = clock.now_ms(), clock.today()
    for days_ago, model in ((0, "UV-5RM"), (0, "UV-5RM"), (3, "UV-17R"), (89, "UV-5RM"), (90, "gone")):
        make_event(**success(model=model), received_at_ms=now_ms - days_ago * DAY_MS)
    make_event(model="fails only", message="a secret message", app_version="v-secret")
    assert by_day(client) == {
        (today - timedelta(days=89)).isoformat(): 1, (today - timedelta(days=3)).isoformat(): 1, today.isoformat(): 2,
    }  # fmt: skip
    assert by_model(client) == {"UV-5RM": 3, "UV-17R": 1}
    assert figures(client)["total"] == 5
    for path in PATHS:
        text = client.get(path).content.decode()
        assert "UV-17R" in text
        for secret in ("fails only", "secret", "19afc18", "No ACK", "gone"):
            assert secret not in text


def test_days_are_read_by_their_sums_too(client: Client) -> None:
    at_ms = clock.now_ms() - 5 * DAY_MS
    make_event(**success(), received_at_ms=at_ms)
    expected = by_day(client)
    DailyRollup.objects.create(
        day_ms=at_ms - at_ms % DAY_MS, event_type="flash_success", model="UV-5RM", app_version="19afc18", accepted=7
    )
    assert by_day(client) == dict.fromkeys(expected, 7)


def test_void_flashes_and_a_late_baseline_change_what_the_public_count_changes(client: Client) -> None:
    now_ms = clock.now_ms()
    for session in ("forged", "real"):
        make_event(**success(session_id=session, model=session), received_at_ms=now_ms)
    correction = corrections.begin(
        Selection(now_ms, now_ms + 1, model="forged"), who="someone", at=clock.now(), why="forged"
    )
    list(corrections.carry_out(correction))
    assert (figures(client)["total"], by_model(client)) == (1, {"real": 1})
    rollups.set_baseline(412, note="from before", user=None, user_name="command", at=clock.now())
    Event.objects.all().delete()
    found = figures(client)
    assert found["total"] == client.get("/metrics/flash-count").json()["total"] == 413
    assert by_model(client) == {"real": 1}


def test_fifty_models_are_named_and_the_rest_is_other(client: Client) -> None:
    now_ms = clock.now_ms()
    for number in range(40):
        for days_ago in (1, 2):
            make_event(**success(model=f"model-{days_ago}-{number:02}"), received_at_ms=now_ms - days_ago * DAY_MS)
    for model in ("model-1-00", "unknown", "unknown", "unknown"):
        make_event(**success(model=model), received_at_ms=now_ms)
    rows = figures(client)["by_model"]
    assert len(rows) == public.MAX_MODELS + 1
    assert rows[0] == {"model": "model-1-00", "flashes": 2}
    assert rows[-1] == {"model": "(other)", "flashes": 33}
    assert sum(row["flashes"] for row in rows) == 84


def test_the_unknown_model_comes_after_the_known_ones(client: Client) -> None:
    for model in ("unknown", "unknown", "UV-5RM"):
        make_event(**success(model=model))
    assert list(by_model(client)) == ["UV-5RM", "unknown"]
    assert "model not known" in client.get("/stats").content.decode()


def test_the_count_is_new_and_the_rest_is_at_most_a_minute_old(client: Client, django_assert_num_queries: Any) -> None:
    client.get("/stats.json")
    make_event(**success())
    for path in PATHS:
        with django_assert_num_queries(1):
            client.get(path)
    found = client.get("/stats.json").json()
    assert (found["total"], found["by_model"]) == (1, [])


def test_the_page_has_no_script_and_says_nothing_of_the_admin(client: Client) -> None:
    make_event(**success(model="<b>UV</b>"))
    answer = client.get("/stats")
    text = answer.content.decode()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "&lt;b&gt;UV&lt;/b&gt;" in text
    assert re.findall(r"<script|<style| style=| on\w+=|/admin/(?!css)", text) == []
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; style-src 'self'" in answer.headers["Content-Security-Policy"]
    assert {url.partition("/")[0] for url in re.findall(r'(?:src|href)="/([^"]*)"', text)} == {"static", "stats.json"}


@pytest.mark.parametrize("path", PATHS)
def test_the_figures_may_be_kept_until_they_change(client: Client, path: str) -> None:
    first = client.get(path)
    assert first.headers["Cache-Control"] == "public, max-age=300"
    tag = first.headers["ETag"]
    assert client.get(path, headers={"if-none-match": tag}).status_code == 304
    make_event(**success())
    assert client.get(path, headers={"if-none-match": tag}).status_code == 200


@override_settings(READ_RATE="1/d")
@pytest.mark.parametrize("path", PATHS)
def test_a_client_over_the_rate_gets_429(client: Client, path: str) -> None:
    client.get(path)
    expect_answer(client.get(path), 429, {"ok": False, "error": "Too many requests"})


@pytest.mark.parametrize("path", PATHS)
def test_the_figures_are_only_read(client: Client, path: str) -> None:
    expect_answer(client.post(path), 405, {"ok": False, "error": "Method not allowed"})
