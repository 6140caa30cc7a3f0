"""The page of the backups, and the banners about them."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.test import Client

from events import clock
from events.maintenance.backups import warnings
from events.maintenance.jobs import registry
from events.models import Backup, SiteDay
from telemetry_site import env
from tests.conftest import sign_in, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/events/backup/"
DAY_MS = 86_400_000


def keep(
    name: str, *, days_ago: float, proven_days_ago: float | None = None, problem: str = "", copied: bool = False
) -> None:
    now_ms = clock.now_ms()
    Backup.objects.create(
        name=name,
        folder="0123",
        made_ms=now_ms - int(days_ago * DAY_MS),
        proven_ms=None if proven_days_ago is None else now_ms - int(proven_days_ago * DAY_MS),
        problem=problem,
        copied_ms=now_ms if copied else None,
        file_bytes=1_048_576,
        sha256="",
        is_encrypted=name.endswith(".age"),
        events=1_234,
    )


def test_backups_are_listed_the_newest_first(client: Client) -> None:
    sign_in(client, "Staff")
    keep("old.sqlite3", days_ago=2, proven_days_ago=1)
    keep("new <b>.age", days_ago=1)
    keep("bad.sqlite3", days_ago=3, problem="bad.sqlite3 is damaged <i>")
    text = text_of(client.get(PATH))
    positions = [text.index(f"<bdi>{name}</bdi>") for name in ("new &lt;b&gt;.age", "old.sqlite3", "bad.sqlite3")]
    assert positions == sorted(positions)
    assert "3 backups" in text
    assert "3.0 MiB in" in text
    assert text.count('<span class="quiet">not proven yet</span>') == 1
    assert "bad.sqlite3 is damaged &lt;i&gt;" in text
    assert text.count("included, encrypted") == 1
    assert text.count("1,234") == 3
    assert "manage.py restore " in text


def test_the_empty_page_says_what_to_do(client: Client) -> None:
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "No backup yet" in text
    assert "manage.py backup" in text
    assert "Back up the database" in text


def test_only_staff_with_the_permission_sees_the_page(client: Client) -> None:
    sign_in(client)
    assert client.get(PATH).status_code == 403


NONE, FEW, PROVEN = "There is no backup.", "No backup was made for", "No backup was proven for"


@pytest.mark.parametrize(
    ("backups", "site_days", "banners"),
    [
        pytest.param([], 1, [], id="a new site"),
        pytest.param([], 3, [NONE], id="an older site"),
        pytest.param([{"days_ago": 1}], 9, [], id="a backup that no drill has reached"),
        pytest.param([{"days_ago": 1}, {"days_ago": 15.5}], 99, [f"{PROVEN} 15 days."], id="never proven"),
        pytest.param([{"days_ago": 3.5, "proven_days_ago": 1}], 9, [f"{FEW} 3 days."], id="an old backup"),
        pytest.param(
            [{"days_ago": 1}, {"days_ago": 20, "proven_days_ago": 16.5}], 99, [f"{PROVEN} 16 days."], id="old"
        ),
        pytest.param(
            [{"days_ago": 1, "proven_days_ago": 1}, {"days_ago": 2, "problem": "x"}],
            9,
            ["A backup is damaged: 1."],
            id="a damaged one",
        ),
        pytest.param([{"days_ago": 1, "problem": "x"}], 9, [NONE, "A backup is damaged: 0."], id="only a damaged one"),
    ],
)
def test_banners_name_the_problem(backups: list[dict], site_days: int, banners: list[str]) -> None:
    now = clock.now()
    SiteDay.objects.create(seen_on=(now - timedelta(days=site_days)).date(), database_bytes=1)
    for number, values in enumerate(backups):
        keep(f"{number}", **values)
    assert [banner.problem for banner in warnings.find(now)] == banners


def test_without_nightly_backups_none_is_missed_and_a_damaged_one_is_reported(
    client: Client, settings: LazySettings
) -> None:
    settings.NIGHTLY_BACKUP = False
    SiteDay.objects.create(seen_on=(clock.now() - timedelta(days=99)).date(), database_bytes=1)
    assert list(warnings.find(clock.now())) == []
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "switches the nightly" in text
    assert "Back up the database" not in text
    keep("0", days_ago=30, problem="x")
    assert [banner.problem for banner in warnings.find(clock.now())] == ["A backup is damaged: 0."]
    assert not {"backup", "restore-drill"} & registry.registered().keys()


def test_copies_and_their_place_are_shown(client: Client, settings: LazySettings) -> None:
    sign_in(client, "Staff")
    keep("0", days_ago=4, copied=True)
    keep("1", days_ago=3)
    assert 'data-label="copy"' not in text_of(client.get(PATH))
    settings.BACKUP_URL = env._parse_copy_target("s3://a-bucket/sites?endpoint=https://s3.example.org")
    settings.BACKUP_S3_KEY_ID, settings.BACKUP_S3_SECRET = "a-key-id", "a-secret"
    text = text_of(client.get(PATH))
    assert text.count('<td data-label="copy">') == 2
    assert text.count('<span class="quiet">none yet</span>') == 1
    assert "<bdi>s3://a-bucket/sites at https://s3.example.org</bdi>" in text
    assert "Copy the backups into the bucket" in text
    assert "manage.py fetch_backup" in text
    assert "a-key-id" not in text
    assert "a-secret" not in text
    assert "No backup was copied to BACKUP_URL for 3 days." in [banner.problem for banner in warnings.find(clock.now())]
    assert {"backup-copies", "backup-copies-check"} <= registry.registered().keys()
