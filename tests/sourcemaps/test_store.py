"""`events/sourcemaps/store.py`: maps are stored once, replaced on demand, pruned by version and audited."""

import hashlib
import json
import zlib
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import AuditEntry, SourceMap
from events.sourcemaps import resolve, store
from events.sourcemaps.intake import CheckedMap
from events.sourcemaps.store import InvalidName, Key, Outcome
from tests.sourcemaps.maps import BUNDLE, PROTOCOL, V8, source_map
from tests.threads import in_threads

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)


def a_map(content: bytes = b"one") -> CheckedMap:
    return CheckedMap(zlib.compress(content), hashlib.sha256(content).hexdigest(), len(content), 1)


def put(
    version: str = "19afc18",
    file: str = "index.js",
    content: bytes = b"one",
    *,
    replace: bool = False,
    at: datetime = NOON,
) -> Outcome:
    return store.put(Key(version, file), a_map(content), replace=replace, who="token ci", at=at)


def versions() -> list[str]:
    return sorted(set(SourceMap.objects.values_list("app_version", flat=True)))


def audited() -> list[tuple[str, str, str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("kind", "who", "what", "about"))


def test_a_map_is_stored_with_who_and_when() -> None:
    assert put() is Outcome.STORED
    stored = SourceMap.objects.get()
    assert (stored.app_version, stored.file, stored.bytes, stored.sources) == ("19afc18", "index.js", 3, 1)
    assert (stored.digest, zlib.decompress(stored.content)) == (hashlib.sha256(b"one").hexdigest(), b"one")
    assert (stored.uploaded_at_ms, stored.uploaded_by_name) == (int(NOON.timestamp() * 1000), "token ci")
    assert stored.last_used_at_ms is None
    assert audited() == [("sourcemap", "token ci", "Uploaded: 1 source, 3 bytes.", "index.js of 19afc18")]


def test_the_same_content_again_changes_nothing() -> None:
    put()
    before = SourceMap.objects.values().get()
    assert put(at=NOON + timedelta(days=1)) is Outcome.UNCHANGED
    assert put(replace=True, at=NOON + timedelta(days=1)) is Outcome.UNCHANGED
    assert SourceMap.objects.values().get() == before
    assert AuditEntry.objects.count() == 1


def test_other_content_replaces_a_map_only_on_demand() -> None:
    put()
    SourceMap.objects.update(last_used_at_ms=1)
    assert put(content=b"other") is Outcome.CONFLICT
    assert zlib.decompress(SourceMap.objects.get().content) == b"one"
    assert put(content=b"other", replace=True, at=NOON + timedelta(hours=1)) is Outcome.REPLACED
    stored = SourceMap.objects.get()
    assert (zlib.decompress(stored.content), stored.bytes, stored.last_used_at_ms) == (b"other", 5, None)
    assert stored.uploaded_at_ms == int((NOON + timedelta(hours=1)).timestamp() * 1000)
    assert audited()[1:] == [("sourcemap", "token ci", "Replaced: 1 source, 5 bytes.", "index.js of 19afc18")]


def test_the_newest_versions_are_kept_by_their_newest_map(settings: Any) -> None:
    settings.SOURCEMAP_VERSIONS = 3
    for hour, version in enumerate(["a", "b", "c"]):
        put(version, at=NOON + timedelta(hours=hour))
    put("a", "later.js", at=NOON + timedelta(hours=3))
    put("d", at=NOON + timedelta(hours=4))
    assert versions() == ["a", "c", "d"]
    assert audited()[-1] == ("sourcemap", "token ci", "Pruned, as newer maps of d arrived: 1 source map.", "b")


def test_a_map_is_kept_when_the_clock_went_back(settings: Any) -> None:
    settings.SOURCEMAP_VERSIONS = 2
    put("a", at=NOON)
    put("b", at=NOON + timedelta(hours=1))
    put("c", at=NOON - timedelta(days=400))
    assert versions() == ["b", "c"]


def test_a_lower_setting_prunes_at_the_next_upload(settings: Any) -> None:
    for hour in range(5):
        put(f"v{hour}", at=NOON + timedelta(hours=hour))
    settings.SOURCEMAP_VERSIONS = 1
    put("v4", "second.js", at=NOON + timedelta(hours=5))
    assert versions() == ["v4"]


def test_all_maps_of_a_version_are_deleted_at_once() -> None:
    for file in ("a.js", "b.js"):
        put(file=file)
    put("other")
    assert store.delete("19afc18", who="olga", at=NOON) == 2
    assert store.delete("19afc18", who="olga", at=NOON) == 0
    assert versions() == ["other"]
    assert audited()[-1] == ("sourcemap", "olga", "Deleted: 2 source maps.", "19afc18")


def test_a_list_loads_no_content() -> None:
    put()
    with CaptureQueriesContext(connection) as queries:
        assert [stored.file for stored in store.of_version("19afc18")] == ["index.js"]
    assert "content" not in queries[0]["sql"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("contents", [[b"one"] * 4, [b"one", b"two", b"three", b"four"]])
def test_of_uploads_at_once_one_is_stored(contents: list[bytes]) -> None:
    outcomes = in_threads([partial(put, content=content) for content in contents])
    assert sorted(outcome.value for outcome in outcomes) == sorted(
        ["stored"] + (["unchanged"] if len(set(contents)) == 1 else ["conflict"]) * 3
    )
    assert SourceMap.objects.count() == AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("index-DSJGr6wX.js", "index-DSJGr6wX.js"),
        ("index-DSJGr6wX.js.map", "index-DSJGr6wX.js"),
        ("a.b~c+d@1.js.map", "a.b~c+d@1.js"),
        ("[slug] é.js", "[slug] é.js"),
        ("x" * 197 + ".js.map", "x" * 197 + ".js"),
    ],
)
def test_both_names_of_a_file_are_one(name: str, file: str) -> None:
    assert store.key_of("19afc18", name) == Key("19afc18", file)


@pytest.mark.parametrize(
    ("version", "name", "words"),
    [
        ("19afc18", "", "NAME.js"),
        ("19afc18", "index.css.map", "NAME.js"),
        ("19afc18", "index.map", "NAME.js"),
        ("19afc18", ".js", "NAME.js"),
        ("19afc18", "..", "NAME.js"),
        ("19afc18", "...js.map", "NAME.js"),
        ("19afc18", "index.JS", "NAME.js"),
        ("19afc18", "../a.js", "without / and"),
        ("19afc18", "..\\a.js", "without / and"),
        ("19afc18", "a\0.js", "printable"),
        ("19afc18", "a\n.js", "printable"),
        ("19afc18", "\u202ea.js", "printable"),
        ("19afc18", "x" * 198 + ".js", "at most 200"),
        ("", "a.js", "A version"),
        ("  ", "a.js", "A version"),
        ("x" * 65, "a.js", "A version"),
        ("a\nb", "a.js", "A version"),
    ],
)
def test_impossible_names_are_refused_in_words(version: str, name: str, words: str) -> None:
    with pytest.raises(InvalidName, match=words):
        store.key_of(version, name)


# --- frames that were resolved before ---------------------------------------------------------------------------------


def put_map(version: str = "19afc18", **changes: Any) -> Outcome:
    return put(version, BUNDLE, json.dumps(source_map(**changes)).encode(), replace=True)


def top_frame(version: str = "19afc18") -> str:
    ((first, *_),) = resolve.of_stacks([(version, V8)], now_ms=1)
    return first.unresolved or first.place


def test_a_later_map_resolves_frames_that_were_shown_before() -> None:
    assert top_frame() == f"no map for {BUNDLE} of 19afc18"
    put_map()
    assert top_frame() == "src/protocol.ts:8:32"


def test_a_replaced_map_resolves_its_frames_again() -> None:
    put_map()
    assert top_frame() == "src/protocol.ts:8:32"
    put_map(sources=["../../src/moved.ts", "../../node_modules/lit/render.js", "../../src/c.ts"])
    assert top_frame() == "src/moved.ts:8:32"


def test_a_map_of_the_version_replaces_one_that_was_only_found_by_its_hash() -> None:
    put_map("older")
    assert top_frame("newer") == "src/protocol.ts:8:32"
    put_map("newer", sourcesContent=["\n" * 7 + PROTOCOL, None, None], sources=["src/own.ts", "b.ts", "c.ts"])
    assert top_frame("newer") == "src/own.ts:8:32"
    assert top_frame("older") == "src/protocol.ts:8:32"


def test_deleted_maps_leave_their_frames_raw_and_pruned_maps_do_not(settings: Any) -> None:
    put_map()
    assert top_frame() == "src/protocol.ts:8:32"
    store.delete("19afc18", who="olga", at=NOON)
    assert top_frame() == f"no map for {BUNDLE} of 19afc18"
    put_map()
    assert top_frame() == "src/protocol.ts:8:32"
    settings.SOURCEMAP_VERSIONS = 1
    put("newer", "other.js", at=NOON + timedelta(days=1))
    assert versions() == ["newer"]
    assert top_frame() == "src/protocol.ts:8:32"


def test_frames_of_a_pruned_map_can_be_deleted(settings: Any) -> None:
    put_map()
    top_frame()
    settings.SOURCEMAP_VERSIONS = 1
    put("newer", "other.js", at=NOON + timedelta(days=1))
    assert resolve.has_frames_of("19afc18")
    assert store.delete("19afc18", who="olga", at=NOON) == 0
    assert not resolve.has_frames_of("19afc18")


def test_the_job_prunes_after_the_setting_was_lowered(settings: Any) -> None:
    for number in range(4):
        put(f"v{number}", at=NOON + timedelta(minutes=number))
    put("v0", "other.js")
    assert store.prune_all() == "No version is over the limit of 20."
    settings.SOURCEMAP_VERSIONS = 2
    assert store.prune_all() == "Deleted 3 source maps of 2 versions."
    assert versions() == ["v2", "v3"]
    assert audited()[-2:] == [
        ("sourcemap", "the site", "Pruned: 1 source map.", "v1"),
        ("sourcemap", "the site", "Pruned: 2 source maps.", "v0"),
    ]
    assert store.prune_all() == "No version is over the limit of 2."
