"""The page of the source maps: a list by version, and the deletion of a version's maps."""

import hashlib
import zlib
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.models import AuditEntry, SourceMap
from events.sourcemaps import store
from events.sourcemaps.intake import CheckedMap
from events.sourcemaps.store import Key
from tests.conftest import sign_in, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/events/sourcemap/"
DELETE = f"{PATH}delete/"


def keep(version: str, *files: str, hours_ago: int = 0, who: str = "token ci", size: int = 123_456) -> None:
    for file in files:
        checked = CheckedMap(zlib.compress(b"{}"), hashlib.sha256(file.encode()).hexdigest(), size, 53)
        at = clock.now() - timedelta(hours=hours_ago)
        store.put(Key(version, file), checked, replace=False, who=who, at=at)


def test_the_maps_are_listed_by_version_the_newest_first(client: Client) -> None:
    sign_in(client, "Staff")
    keep("old <b>", "a.js", hours_ago=2)
    keep("new", "b-<i>.js", "c.js", who="token <u>")
    SourceMap.objects.filter(file="c.js").update(last_used_at_ms=clock.now_ms())
    text = text_of(client.get(PATH))
    assert text.index("<bdi>new</bdi>") < text.index("<bdi>old &lt;b&gt;</bdi>")
    assert "2 source maps, 241 KiB" in text
    assert "<bdi>b-&lt;i&gt;.js</bdi>" in text
    assert "<bdi>token &lt;u&gt;</bdi>" in text
    assert text.count(">53<") == 3
    assert text.count('<span class="quiet">never</span>') == 2
    assert "Delete the source maps of" not in text


def test_the_page_loads_no_map(client: Client) -> None:
    sign_in(client, "Staff")
    keep("new", "a.js")
    with CaptureQueriesContext(connection) as queries:
        client.get(PATH)
    selects = [query["sql"] for query in queries if "events_sourcemap" in query["sql"]]
    assert len(selects) == 2
    assert not [sql for sql in selects if '"content"' in sql]


def test_the_empty_page_shows_the_command(client: Client) -> None:
    sign_in(client, "Staff")
    text = text_of(client.get(PATH))
    assert "manage.py upload_sourcemaps 19afc18 dist" in text
    assert "curl --fail -T dist/assets/index-x.js.map" in text


def test_a_version_is_deleted_after_a_confirmation(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    keep("v1/ü&<b>", "a.js", "b.js")
    keep("other", "a.js")
    page = text_of(client.get(PATH))
    assert f'href="{DELETE}?version=v1%2F%C3%BC%26%3Cb%3E"' in page
    question = text_of(client.get(DELETE, {"version": "v1/ü&<b>"}))
    assert "Delete the source maps of v1/ü&amp;&lt;b&gt;?" in question
    assert SourceMap.objects.count() == 3
    answer = text_of(client.post(DELETE, {"version": "v1/ü&<b>"}, follow=True))
    assert "Deleted 2 source maps of v1/ü&amp;&lt;b&gt;." in answer
    assert SourceMap.objects.get().app_version == "other"
    entry = AuditEntry.objects.order_by("-id")[0]
    assert (entry.kind, entry.who, entry.what) == ("sourcemap", user.username, "Deleted: 2 source maps.")


@pytest.mark.parametrize("version", ["", "none", "a\0b", "x" * 1_000])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_version_is_not_found(client: Client, version: str, method: str) -> None:
    sign_in(client, "Maintainers")
    keep("other", "a.js")
    assert getattr(client, method)(DELETE, {"version": version}).status_code == 404
    assert SourceMap.objects.count() == 1


def test_staff_may_look_and_not_delete(client: Client) -> None:
    sign_in(client, "Staff")
    keep("new", "a.js")
    assert client.get(PATH).status_code == 200
    assert client.get(DELETE, {"version": "new"}).status_code == 403
    assert client.post(DELETE, {"version": "new"}).status_code == 403
    assert SourceMap.objects.count() == 1


def test_many_files_are_cut_and_counted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.admin.operations.sourcemaps.FILES", 2)
    sign_in(client, "Staff")
    keep("new", *[f"{number}.js" for number in range(5)])
    assert "and 3 more files" in text_of(client.get(PATH))
