"""The invented app of the demo data: every frame of its stacks leads to the right line through its source maps.

The maps are decoded here, independently of the code that writes them.
"""

import json
import re
import string
from bisect import bisect_right
from typing import Any, NamedTuple

import pytest

from events.grouping.fingerprints import fingerprint
from events.maintenance import demo
from events.maintenance.demo import app, faults, stacks
from events.maintenance.demo.bundles import bundle
from events.maintenance.demo.stacks import Engine
from events.maintenance.demo.world import DEV, DemoRelease
from events.querysets import SUCCESS

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
FRAME = re.compile(r"https://flasher\.example/assets/([\w-]+\.js):(\d+):(\d+)")
ENGINE_LINES = {
    Engine.V8: re.compile(r"    at (?:async )?(?:[\w$]+(?:\.[\w$]+)? \()?(?:https?://|<anonymous>)\S+?\)?"),
    Engine.GECKO: re.compile(r"[\w$]*(?:/<)?@https?://\S+:\d+:\d+"),
    Engine.WEBKIT: re.compile(r"[\w$ ]*@(?:https?://\S+:\d+:\d+|\[native code\])"),
}


class Segment(NamedTuple):
    column: int
    source: str
    line: int
    source_column: int
    name: str | None


def numbers(text: str) -> list[int]:
    """Return the numbers of a segment of `mappings`."""
    found, value, shift = [], 0, 0
    for character in text:
        digit = DIGITS.index(character)
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            found.append(-(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    return found


def decoded(source_map: dict[str, Any]) -> list[list[Segment]]:
    """Return the segments of each line of the bundle; all numbers are 0-based."""
    lines = []
    state = [0, 0, 0, 0, 0]
    for line in source_map["mappings"].split(";"):
        state[0] = 0
        segments = []
        for text in filter(None, line.split(",")):
            fields = numbers(text)
            for number, value in enumerate(fields):
                state[number] += value
            column, source, source_line, source_column, name = state
            segments.append(
                Segment(
                    column, source_map["sources"][source], source_line, source_column,
                    source_map["names"][name] if len(fields) == 5 else None,
                )
            )  # fmt: skip
        lines.append(segments)
    return lines


class Maps:
    """The decoded maps of a version, by the name of the JavaScript file."""

    def __init__(self, world: demo.World, release: DemoRelease) -> None:
        self.chunks = {chunk.file: chunk for chunk in world.bundle_of(release).chunks}
        self.maps = {file: json.loads(chunk.source_map) for file, chunk in self.chunks.items()}
        self.lines = {file: decoded(source_map) for file, source_map in self.maps.items()}

    def resolve(self, file: str, line: int, column: int) -> Segment:
        """Return the segment at a position of a stack, whose numbers are 1-based."""
        segments = self.lines[file][line - 1]
        return segments[bisect_right(segments, column - 1, key=lambda segment: segment.column) - 1]

    def source_line(self, file: str, segment: Segment) -> str:
        number = self.maps[file]["sources"].index(segment.source)
        return str(self.maps[file]["sourcesContent"][number].splitlines()[segment.line])


@pytest.fixture(scope="module")
def world() -> demo.World:
    return demo.World(days=30, now_ms=NOON_MS, seed=4)


@pytest.fixture(scope="module")
def month(world: demo.World) -> list[demo.EventRow]:
    return list(demo.events(world, 20_000))


@pytest.fixture(scope="module")
def maps(world: demo.World) -> dict[str, Maps]:
    return {release.version: Maps(world, release) for release in world.releases}


def marked_lines(world: demo.World, release: DemoRelease) -> dict[str, tuple[str, int]]:
    """Return the path and the 0-based line of each mark in the sources of a version."""
    return {
        mark: (f"../../{path}", number)
        for path, text in app.sources(release.number, f"{world.seed}").items()
        for number, line in enumerate(text.splitlines())
        for mark in re.findall(r"/\*@([\w-]+)\*/", line)
    }


def test_every_token_of_a_bundle_leads_to_itself_in_its_source(maps: dict[str, Maps]) -> None:
    for version in maps.values():
        for file, chunk in version.chunks.items():
            code = chunk.code.splitlines()
            source_map = version.maps[file]
            texts = dict(zip(source_map["sources"], source_map["sourcesContent"], strict=True))
            for line, segments in zip(code, version.lines[file], strict=False):
                for segment in segments:
                    original = texts[segment.source].splitlines()[segment.line][segment.source_column :]
                    written = re.match(r'[\w$]+|"[^"]*"|.', line[segment.column :])
                    assert written
                    if segment.name is not None:
                        assert re.match(r"[\w$]+", original)[0] == segment.name  # type: ignore[index]
                    elif not written[0].startswith('"./'):  # the name of another chunk
                        assert original.startswith(written[0])


def test_every_frame_leads_to_the_line_of_its_call(
    world: demo.World, month: list[demo.EventRow], maps: dict[str, Maps]
) -> None:
    marked = {release.version: marked_lines(world, release) for release in world.releases}
    by_message = {fault.words[0]: fault for fault in faults.FAULTS if "{" not in fault.words[0]}
    checked = 0
    for event in month:
        frames = FRAME.findall(event.stack or "")
        if event.app_version not in maps or not frames or frames[0][0] not in maps[event.app_version].chunks:
            continue
        version = maps[event.app_version]
        places = {}
        for file, line, column in frames:
            if file in version.chunks:
                segment = version.resolve(file, int(line), int(column))
                places[segment.source, segment.line] = version.source_line(file, segment)
        assert set(places) <= set(marked[event.app_version].values())
        fault = by_message.get(event.message)
        if fault is not None and "@" not in (event.stack or ""):
            trail = [marked[event.app_version][name] for name in fault.trail if name in marked[event.app_version]]
            assert list(places) == trail
        checked += len(places)
    assert checked > 3_000


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("no-ack", "throw new RadioError("),
        ("channels-in", "return this.zones[zone].channels;"),
        ("request-port", "navigator.serial.requestPort("),
        ("radio-error", "super(message);"),
    ],
)
def test_all_engines_lead_to_the_same_line(
    world: demo.World, maps: dict[str, Maps], engine: Engine, mark: str, words: str
) -> None:
    for release in world.releases:
        position = getattr(world.bundle_of(release).marks[mark], engine.value)
        version = maps[release.version]
        segment = version.resolve(*position)
        assert words in version.source_line(position.file, segment)


def test_a_stack_has_the_form_of_its_engine(month: list[demo.EventRow]) -> None:
    seen = set()
    for event in month:
        browser = json.loads(event.metadata_json).get("browser", "")
        engine = {"Firefox": Engine.GECKO, "Safari": Engine.WEBKIT, "": None}.get(browser.partition(" ")[0], Engine.V8)
        if event.stack and engine:
            lines = event.stack.rstrip("\n").split("\n")
            if engine == Engine.V8:
                assert lines.pop(0).endswith(f": {event.message}")
            assert [line for line in lines if not ENGINE_LINES[engine].fullmatch(line)] == []
            seen.add(engine)
    assert seen == set(Engine)


def test_a_later_version_has_other_names_lines_and_files(world: demo.World) -> None:
    old, new = world.bundle_of(world.releases[0]), world.bundle_of(world.releases[-1])
    assert {chunk.file for chunk in old.chunks}.isdisjoint(chunk.file for chunk in new.chunks)
    for mark in ("no-ack", "verify", "overrun", "channels-in"):
        assert new.marks[mark].source.line > old.marks[mark].source.line
        assert new.marks[mark].v8 != old.marks[mark].v8
    assert new.marks["no-ack"].function != old.marks["no-ack"].function


def test_only_the_code_of_developers_is_not_minified(month: list[demo.EventRow]) -> None:
    for event in month:
        if event.stack and "://" in event.stack:
            assert ("http://localhost:5173/" in event.stack) == (event.app_version == DEV)


def test_one_fault_is_one_group_in_all_builds_and_engines(month: list[demo.EventRow]) -> None:
    groups: dict[str, set[str]] = {}
    for event in month:
        if event.event_type != SUCCESS and event.app_version != DEV and event.stack:
            # Some hashes look like words. This test is about names, lines and wordings.
            stack = re.sub(r"-[\w-]{8}\.js", "-BxY3_kQ2.js", event.stack)
            key = fingerprint(event.event_type, event.error_name, event.message, stack).key
            for words in ("requestPort", "channels", "textContent", "No ACK", "Handshake timed out", "Read timed out"):
                if words in event.message and not re.search("No port|module", event.message):
                    groups.setdefault(words, set()).add(key)
    assert {words: len(keys) for words, keys in groups.items()} == dict.fromkeys(groups, 1)
    assert len(groups) == 6


def test_the_bundler_refuses_a_sign_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="line 2: the bundler does not know '#'"):
        bundle({"src/a.ts": "let a = 1;\n#"}, {"index": ["src/a.ts"]}, "1")


def test_only_one_engine_shows_callers_after_an_await(world: demo.World) -> None:
    marks = world.bundle_of(world.releases[0]).marks
    trail = ("no-ack", "flash-write", "flash-radio", "attempt")
    shown = {engine: len(stacks.frames(marks, trail, engine, is_bundled=True)) for engine in Engine}
    assert shown == {Engine.V8: 4, Engine.GECKO: 1, Engine.WEBKIT: 1}
