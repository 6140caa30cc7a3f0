"""The page of the retention: the rule in force, what the next run would delete, and the last runs."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client

from events import clock
from events.counting import site_days
from events.maintenance import disk
from events.models import JobRun, RetentionDefault
from telemetry_site.env import Periods
from tests.conftest import make_event, payload, sign_in, success, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/events/retentionmark/"


def days_ago(days: int) -> int:
    return clock.now_ms() - days * 86_400_000


def test_the_page_shows_the_rule_and_what_a_run_would_delete(client: Client, settings: LazySettings) -> None:
    sign_in(client, "Staff")
    site_days.note_start(clock.now())
    for number in range(3):
        make_event(**payload(message=f"old {number}"), received_at_ms=days_ago(100))
    make_event(**success(), received_at_ms=days_ago(100))
    make_event(**payload())
    settings.RETENTION_DAYS = Periods(90, {"flash_success": 365})
    text = text_of(client.get(PATH))
    assert '<code class="wrap">RETENTION_DAYS=90,flash_success=365</code>' in text
    day = f"{clock.today() - timedelta(days=90):%Y-%m-%d}"
    assert (
        '<th scope="row">flash_error</th> <td data-label="kept for">90 days</td>'
        f' <td class="nowrap" data-label="deleted if received before">{day}</td>'
        ' <td class="num" data-label="old events">3</td>'
    ) in text
    assert (
        '<th scope="row">imported events of any type</th> <td data-label="kept for">ever</td>'
        ' <td class="nowrap" data-label="deleted if received before">–</td>'
        ' <td class="num" data-label="old events">0</td>'
    ) in text
    assert "By age: 3 events, which take about" in text
    assert "<code>RETENTION_BYTES</code> is off" in text
    assert "No run yet." in text
    assert client.post(PATH).status_code == 403


def test_an_older_site_is_told_to_decide(client: Client) -> None:
    sign_in(client, "Maintainers")
    RetentionDefault.objects.update_or_create(id=1, defaults={"days": None})
    text = text_of(client.get(PATH))
    assert "<strong>This site keeps every event.</strong> It is older than the setting" in text
    assert "By age: no event." in text
    RetentionDefault.objects.update(days=90)
    assert "The default of this site is <code>90</code>." in text_of(client.get(PATH))


def test_a_limit_that_cannot_be_met_and_a_doubtful_clock_are_shown(client: Client, settings: LazySettings) -> None:
    sign_in(client, "Staff")
    make_event(**payload(), received_at_ms=days_ago(100))
    settings.RETENTION_DAYS = Periods(90, {})
    settings.RETENTION_BYTES = 1
    text = text_of(client.get(PATH))
    assert "Deleting events cannot free that much, so none is deleted for it." in text
    assert '<p class="bad">Nothing, because no event, no start of the server' in text


def test_the_last_runs_are_listed(client: Client) -> None:
    sign_in(client, "Staff")
    now_ms = clock.now_ms()
    JobRun.objects.create(job="retention", started_ms=now_ms, outcome="failed", message="<b>No</b>")
    JobRun.objects.create(job="reclaim-space", started_ms=now_ms, outcome="succeeded", message="5 MiB freed.")
    JobRun.objects.create(job="another", started_ms=now_ms, outcome="succeeded", message="Something else.")
    JobRun.objects.create(job="retention", started_ms=now_ms)
    text = text_of(client.get(PATH))
    assert '<strong class="bad">failed:</strong> &lt;b&gt;No&lt;/b&gt;' in text
    assert "Reclaim disk space" in text
    assert "5 MiB freed." in text
    assert '<span class="quiet">running</span>' in text
    assert "Something else." not in text


def test_only_those_who_may_view_events_see_the_page(client: Client) -> None:
    sign_in(client)
    assert client.get(PATH).status_code == 403


@pytest.mark.parametrize(
    ("free", "words"),
    [
        (899, "<strong>The disk is filling up: 899 B are free, less than 900 B.</strong> Failures lose their stack"),
        (224, "<strong>The disk is nearly full: 224 B are free, less than 900 B.</strong> Nothing is stored"),
        (900, ""),
    ],
)
def test_every_page_warns_while_the_disk_is_low(
    client: Client, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, free: int, words: str
) -> None:
    sign_in(client, "Staff")
    settings.MIN_FREE_BYTES = 900
    monkeypatch.setattr(disk, "free_bytes", lambda: free)
    for path in ("/admin/", "/admin/events/event/", PATH):
        disk.forget()
        text = text_of(client.get(path))
        assert words in text
        assert ('class="banners"' in text) == bool(words)
    disk.forget()
