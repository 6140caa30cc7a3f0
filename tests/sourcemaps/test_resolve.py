"""Frames that are resolved when they are read: which map is used, what is stored, and what a frame says."""

import json

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from events.models import ResolvedFrame, SourceMap
from events.querysets import FramePosition
from events.sourcemaps import resolve
from events.sourcemaps.resolve import Frame
from tests.sourcemaps.maps import BUNDLE, GECKO, V8, encoded, large_map, source_map, store_map
from tests.storage import read_only_database

pytestmark = pytest.mark.django_db

CONSTRUCTOR = "\n".join(["", "", "", "class ProtocolError {", "  constructor() {", "    super();", "  }", "}"])


def frames(stack: str | None = V8, version: str = "19afc18") -> list[Frame]:
    (found,) = resolve.of_stacks([(version, stack)], now_ms=5_000)
    return found


def at(column: int, file: str = BUNDLE, *, name: str = "Ht") -> str:
    return f"    at {name} (https://flash.example.org/assets/{file}:1:{column})"


def test_frames_of_chromium_are_resolved() -> None:
    store_map()
    assert [(str(frame), frame.in_app, frame.unresolved) for frame in frames()] == [
        ("writeBlock (src/protocol.ts:8:32)", True, None),
        ("write (src/protocol.ts:13:18)", True, None),
        ("flash (src/protocol.ts:19:9)", True, None),
        ("r (node_modules/lit/render.js:1:31)", False, None),
        ("Promise", False, "native code"),
        ("x (other-A1b2C3d4.js:1:9)", True, "no map for other-A1b2C3d4.js of 19afc18"),
    ]


def test_firefox_and_safari_name_the_same_places() -> None:
    store_map()
    assert [str(frame) for frame in frames(GECKO)] == [str(frame) for frame in frames(V8)[:3]]


def test_a_frame_has_the_lines_around_it_and_its_column_marked() -> None:
    store_map()
    frame = frames()[0]
    assert [number for number, _ in frame.context or []] == [5, 6, 7, 8, 9, 10, 11]
    assert frame.marked_lines[3] == (
        8, "    if (ack[0] !== 0x06) throw ", "n", "ew ProtocolError(`No ACK for block ${block}`);",
    )  # fmt: skip
    assert frame.raw == f"at Ht.writeBlock (https://flash.example.org/assets/{BUNDLE}:1:101)"


def test_a_map_without_sources_content_gives_names_of_callers_and_no_lines() -> None:
    store_map(sourcesContent=...)
    found = frames(V8.replace("Ht.writeBlock", "Ht"))
    assert [(frame.function, frame.context) for frame in found[:3]] == [
        ("writeBlock", None),  # what the caller's frame calls
        ("write", None),  # no minifier made this name up
        ("Zt", None),  # nothing knows a better one
    ]


def test_each_distinct_frame_is_resolved_once() -> None:
    stored = store_map()
    frames()
    assert ResolvedFrame.objects.count() == 4
    SourceMap.objects.update(content=b"unreadable now")
    with CaptureQueriesContext(connection) as queries:
        assert str(frames()[0]) == "writeBlock (src/protocol.ts:8:32)"
    assert [query["sql"] for query in queries if "content" in query["sql"] and "sourcemap" in query["sql"]] == []
    stored.refresh_from_db()
    assert stored.last_used_at_ms == 5_000


def test_many_stacks_take_few_queries() -> None:
    store_map()
    stacks = [("19afc18", "\n".join(at(100 + number * 50 + row) for row in range(50))) for number in range(200)]
    with CaptureQueriesContext(connection) as queries:
        found = resolve.of_stacks(stacks, now_ms=5_000)
    assert [len(each) for each in found] == [50] * 200
    assert len(queries) < 80
    assert {frame.unresolved for frame in found[-1]} == {"resolving"}  # more than one request resolves
    assert ResolvedFrame.objects.count() == 2_000


REASONS = [
    (at(5), "the map has no position for line 1, column 5"),
    (at(270), "the map has no position for line 1, column 270"),
    (at(100, "app.js"), "no map for app.js of 19afc18"),
    ("at Ht (https://flash.example.org/assets/a.js)", "no position in this frame"),
    (f"Ht@https://flash.example.org/assets/{BUNDLE}:1", "no column in this frame"),
    ("at chrome-extension://abcdef/inject.js:1:5", "browser extension"),
    ("at new Promise (<anonymous>)", "native code"),
    ("map@[native code]", "native code"),
    ("at https://flash.example.org/:10:5", "code of the page itself, not of a script file"),
    (f"@https://flash.example.org/assets/{BUNDLE} line 5 > eval:1:2", "code made by eval"),
    ("at a (wasm://wasm/0003:wasm-function[3]:0x1a)", "WebAssembly"),
    (at(100, "a%00b.js"), "no map for ab.js of 19afc18"),
    (at(999_999_999), None),  # behind the last mapping, which it belongs to
]


@pytest.mark.parametrize(("line", "reason"), REASONS)
def test_a_raw_frame_says_why(line: str, reason: str | None) -> None:
    store_map()
    for _ in range(2):  # resolved, and read from its row
        found = frames(f"Error: no\n{line}")
        assert [frame.unresolved for frame in found] == [reason]


@pytest.mark.parametrize("stack", [None, "", "Error: only text", "\n\n", "at ", "@", "at (:1:1)", "\ud800@\u202e:1:2"])
def test_a_stack_without_frames_has_none(stack: str | None) -> None:
    store_map()
    assert all(frame.unresolved for frame in frames(stack))


# --- which map ------------------------------------------------------------------------------------------------


def test_a_version_without_the_file_uses_the_newest_map_of_a_hashed_name() -> None:
    store_map("older", at_ms=1)
    store_map("newer", at_ms=2, sources=["../src/renamed.ts", "a", "b"])
    assert frames(version="third")[0].file == "src/renamed.ts"
    assert set(ResolvedFrame.objects.values_list("map_version", flat=True)) == {"newer"}


def test_a_name_without_a_hash_belongs_to_its_version_alone() -> None:
    store_map("older", "app.js")
    assert frames(at(101, "app.js"))[0].unresolved == "no map for app.js of 19afc18"
    assert frames(at(101, "app.js"), "older")[0].file == "src/protocol.ts"


# --- maps that change -----------------------------------------------------------------------------------------


def test_a_map_that_arrives_later_resolves_stored_frames() -> None:
    assert frames()[0].unresolved == f"no map for {BUNDLE} of 19afc18"
    store_map()
    assert frames()[0].unresolved is None


def test_a_replaced_map_resolves_its_frames_again() -> None:
    store_map("older", at_ms=1)
    store_map()
    frames()
    frames(version="borrows")
    frames(version="older")
    store_map(sources=["../src/moved.ts", "a", "b"])
    resolve.forget("19afc18", BUNDLE)
    assert [frames(version=version)[0].file for version in ("19afc18", "borrows", "older")] == [
        "src/moved.ts", "src/moved.ts", "src/protocol.ts",
    ]  # fmt: skip


def test_the_map_of_the_version_itself_replaces_a_borrowed_one() -> None:
    store_map("older")
    frames()
    store_map("19afc18", sources=["../src/moved.ts", "a", "b"])
    resolve.forget("19afc18", BUNDLE)
    assert frames()[0].file == "src/moved.ts"


def test_results_outlive_a_pruned_map_but_not_a_deleted_one() -> None:
    store_map()
    frames()
    SourceMap.objects.all().delete()
    assert frames()[0].file == "src/protocol.ts"
    resolve.forget("19afc18", BUNDLE)
    assert frames()[0].unresolved == f"no map for {BUNDLE} of 19afc18"


def test_a_result_of_a_map_that_changed_meanwhile_is_not_stored() -> None:
    stored = store_map()
    chosen = resolve._Map(stored.pk, "19afc18", BUNDLE, "another digest", stored.bytes)
    place = FramePosition("19afc18", BUNDLE, 1, 101)
    resolve._store(chosen, [resolve._row(chosen, place, unresolved="old")], now_ms=1)
    assert not ResolvedFrame.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_page_shows_results_that_could_not_be_stored() -> None:
    store_map()
    with read_only_database():
        assert frames()[0].file == "src/protocol.ts"
    assert not ResolvedFrame.objects.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "the map is damaged: It is not valid JSON"),
        (json.dumps(source_map(mappings="!")).encode(), "the map is damaged: `mappings` has the character '!'"),
        (json.dumps(source_map(sources=[])).encode(), "the map is damaged: A mapping of line 1 names a source"),
    ],
)
def test_a_damaged_map_says_so(content: bytes, reason: str) -> None:
    store_map(content=content)
    assert (frames()[0].unresolved or "").startswith(reason)


def test_hostile_texts_of_a_map_are_stored_and_shown_as_text() -> None:
    sources = ["../../../etc/\0\ud800passwd\u202e", "javascript:alert(1)", "x" * 5_000]
    store_map(sources=sources, names=["\0\ud800" * 500] * 4, sourcesContent=["\0\ud800\n" * 20, None, None])
    found = frames()
    assert [frame.file for frame in found[:1]] == ["etc/passwd"]
    assert all(len(frame.function) <= 300 for frame in found)
    assert json.dumps([frame.as_json() for frame in found])
    assert ResolvedFrame.objects.filter(unresolved=None).count() == 4


# --- large maps -----------------------------------------------------------------------------------------------


@pytest.fixture
def _large() -> None:
    text = json.dumps(large_map(2_000) | {"padding": "x" * 1_000_000}).encode()
    store_map("large", "large-A1b2C3d4.js", content=text)


@pytest.mark.usefixtures("_large")
def test_a_large_map_is_resolved_by_the_worker_and_shown_on_the_next_view() -> None:
    stack = at(5_000, "large-A1b2C3d4.js")
    assert frames(stack, "large")[0].unresolved == "resolving"
    assert frames(stack, "large")[0].unresolved == "resolving"
    assert ResolvedFrame.objects.count() == 1
    call_command("resolve_frames")
    assert frames(stack, "large")[0].file.startswith("src/part")
    assert resolve.resolve_waiting(now_ms=6_000) == 0


@pytest.mark.usefixtures("_large")
def test_an_export_leaves_no_waiting_frames() -> None:
    (top,) = resolve.tops_in_app([("large", at(5_000, "large-A1b2C3d4.js"), None)], now_ms=5_000)
    assert top is not None
    assert top.unresolved == "resolving"
    assert not ResolvedFrame.objects.exists()


@pytest.mark.usefixtures("_large")
def test_a_map_that_kills_the_worker_is_given_up() -> None:
    stack = at(5_000, "large-A1b2C3d4.js")
    frames(stack, "large")
    ResolvedFrame.objects.update(attempts=3)  # three workers began and did not end
    assert resolve.resolve_waiting(now_ms=6_000) == 0
    assert frames(stack, "large")[0].unresolved == "the map could not be read"


@pytest.mark.usefixtures("_large")
def test_a_waiting_frame_whose_map_is_gone_is_looked_up_again() -> None:
    stack = at(5_000, "large-A1b2C3d4.js")
    frames(stack, "large")
    SourceMap.objects.all().delete()
    assert resolve.resolve_waiting(now_ms=6_000) == 0
    assert frames(stack, "large")[0].unresolved == "no map for large-A1b2C3d4.js of large"


# --- search, and the top frame --------------------------------------------------------------------------------


def test_functions_and_source_files_are_found() -> None:
    store_map()
    frames()
    names = {"writeblock": 1, "src/protocol.ts": 3, "node_modules": 1, "ProtocolError": 0, "%": 0, "_": 1}
    assert {name: len(resolve.mentioning(name, newest=100, limit=9)) for name in names} == names
    assert len(resolve.mentioning("src/", newest=100, limit=2)) == 2


def test_the_top_frame_is_the_first_of_the_pages_own_code() -> None:
    store_map()
    native, package, own = "at new Promise (<anonymous>)", at(310, name="r"), at(205, name="Zt")
    assert str(resolve.top_in_app(frames("\n".join([native, package, own])), None)) == "flash (src/protocol.ts:19:9)"
    assert str(resolve.top_in_app(frames("\n".join([native, package])), None)) == "r (node_modules/lit/render.js:1:31)"
    assert resolve.top_in_app(frames(native), None) is None


def test_the_constructor_of_an_own_error_class_is_not_the_top_frame() -> None:
    store_map(
        mappings=encoded([(0, 10, 0, 5, 4, None), (0, 100, 0, 7, 31, None)]), sourcesContent=[CONSTRUCTOR, None, None]
    )
    stack = f"Ht@https://flash.example.org/assets/{BUNDLE}:1:11\nZt@https://flash.example.org/assets/{BUNDLE}:1:101"
    tops = {name: resolve.top_in_app(frames(stack), name) for name in ("ProtocolError", "TypeError", None)}
    assert {name: top and top.line for name, top in tops.items()} == {"ProtocolError": 8, "TypeError": 6, None: 6}


def test_the_top_frames_of_an_export_are_those_of_the_pages() -> None:
    store_map()
    failures = [("19afc18", V8, None), ("19afc18", GECKO, "Error"), ("19afc18", None, None), ("other", V8, "Error")]
    pages = [resolve.top_in_app(frames(stack, version), name) for version, stack, name in failures]
    for _ in range(2):  # resolved now, and stored
        tops = resolve.tops_in_app(failures, now_ms=5_000)
        assert [str(top) for top in tops] == [str(top) for top in pages]
        assert [top.context for top in tops if top is not None] == [None, None, None]
        ResolvedFrame.objects.all().delete()


# --- limits of a request ------------------------------------------------------------------------------------------


def test_a_request_leaves_frames_to_the_background_when_its_time_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    store_map()
    monkeypatch.setattr(resolve, "_SECONDS_WITHIN_REQUEST", 0)
    frames = resolve.of_stacks([("19afc18", V8)], now_ms=1)[0]
    assert frames[0].unresolved == resolve.RESOLVING
    assert resolve.resolve_waiting(now_ms=2) == ResolvedFrame.objects.count() > 0
    monkeypatch.undo()
    assert resolve.of_stacks([("19afc18", V8)], now_ms=3)[0][0].place == "src/protocol.ts:8:32"


def test_the_oldest_results_are_deleted_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    store_map()
    monkeypatch.setattr(resolve, "_MOST_ROWS", 3)
    for column in range(101, 111):
        stack = f"Error\n    at a (https://a.example/{BUNDLE}:1:{column})"
        assert resolve.of_stacks([("19afc18", stack)], now_ms=1)[0][0].unresolved is None
    assert sorted(ResolvedFrame.objects.values_list("column", flat=True)) == [108, 109, 110]


def test_names_of_a_map_have_no_control_characters() -> None:
    store_map(names=["a\u202eb\ac\n", "writeBlock", "Protocol", "flash"], sourcesContent=[None, None, None])
    frames = resolve.of_stacks([("19afc18", V8)], now_ms=1)[0]
    assert all(frame.function.isprintable() for frame in frames)
