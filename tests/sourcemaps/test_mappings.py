"""The parser of source maps, beside the package ecma426 and beside npm's `source-map`."""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import ecma426
import pytest
from django.conf import settings

from events.sourcemaps import mappings
from events.sourcemaps.mappings import BadMap
from tests import npm
from tests.sourcemaps.maps import encoded, large_map, source_map

CAPTURE = settings.BASE_DIR / "tests" / "capture"


def check(whole: Any) -> mappings.SourceMap:
    return mappings.check(json.dumps(whole).encode())


def look_up(whole: Any, *positions: tuple[int, int]) -> list[Any]:
    """Return (source, line, column, name) for each generated position, None for one without."""
    read = mappings.read(json.dumps(whole))
    found = read.look_up(positions)
    return [(read.source_of(position)[0], *position[2:]) if (position := found[place]) else None for place in positions]


def indexed(*sections: tuple[int, int, dict[str, Any]]) -> dict[str, Any]:
    parts = [{"offset": {"line": line, "column": column}, "map": part} for line, column, part in sections]
    return {"version": 3, "sections": parts}


# --- positions ------------------------------------------------------------------------------------------------


def test_a_position_belongs_to_the_last_mapping_before_it() -> None:
    protocol = "../../src/protocol.ts"
    positions = {
        (1, 10): None,  # a mapping without a source
        (1, 11): (protocol, 18, 23, "flash"),
        (1, 100): (protocol, 18, 23, "flash"),
        (1, 101): (protocol, 8, 32, "ProtocolError"),
        (1, 205): (protocol, 19, 9, "Protocol"),
        (1, 261): None,
        (1, 301): ("../../node_modules/lit/render.js", 1, 31, None),
        (1, 10**9): ("\0vite/preload-helper.js", 1, 6, None),
        (2, 1): None,
        (0, 5): None,
        (1, 0): None,
        (-1, -1): None,
    }
    assert dict(zip(positions, look_up(source_map(), *positions), strict=True)) == positions


def test_columns_out_of_order_are_found() -> None:
    rows = [(0, 50, 0, 5, 0, None), (0, 10, 0, 1, 0, None), (0, 30, 0, 3, 0, None), (2, 4, 0, 9, 0, None)]
    whole = source_map(mappings=encoded(rows))
    found = look_up(whole, (1, 5), (1, 11), (1, 35), (1, 99), (2, 1), (3, 5))
    assert [place and place[1] for place in found] == [None, 2, 4, 6, None, 10]


def test_empty_mappings_and_empty_lines_are_none() -> None:
    assert look_up(source_map(mappings=""), (1, 1)) == [None]
    rows = encoded([(3, 0, 0, 7, 0, None)])
    assert look_up(source_map(mappings=f"{rows};;;,,"), (4, 1), (5, 1)) == [("../../src/protocol.ts", 8, 1, None), None]


def test_sections_begin_at_their_offsets() -> None:
    whole = indexed((0, 0, source_map()), (0, 500, source_map(sources=["b", "c", "d"])), (7, 3, source_map()))
    found = look_up(whole, (1, 101), (1, 601), (2, 101), (8, 104), (8, 2), (7, 101))
    assert [place and place[:2] for place in found] == [
        ("../../src/protocol.ts", 8), ("b", 8), None, ("../../src/protocol.ts", 8), None, None,
    ]  # fmt: skip


def test_a_source_root_stands_before_each_source() -> None:
    assert look_up(source_map(sourceRoot="webpack://app"), (1, 101))[0][0] == "webpack://app/../../src/protocol.ts"


@pytest.mark.parametrize("guard", ["", ")]}'\n", ")]}\n", "\ufeff"])
def test_a_guard_before_the_json_is_skipped(guard: str) -> None:
    assert mappings.check((guard + json.dumps(source_map())).encode()).sources == 3


@pytest.mark.parametrize("seed", range(3))
def test_random_positions_equal_those_of_ecma426(seed: int) -> None:
    whole, choose = large_map(20_000, seed=seed), random.Random(seed)
    reference = ecma426.decode(whole)
    positions = [(1, choose.randint(1, 250_000)) for _ in range(1_000)]
    expected = []
    for line, column in positions:
        try:
            token = reference.lookup_left(line - 1, column - 1)
        except IndexError:
            expected.append(None)
        else:
            expected.append((token.source, token.original_line + 1, token.original_column + 1, token.name))
    assert look_up(whole, *positions) == expected


SITE = """
import { buildPage } from "./builds.js";
import { readFileSync, readdirSync } from "node:fs";
import { SourceMapConsumer } from "source-map";

const folder = new URL("./out/", import.meta.url).pathname;
await buildPage("a", { folder, site: "", otherOrigin: "", sourcemap: "hidden" });
let seed = 16;
const below = (end) => Math.floor(((seed = (seed * 48271) % 2147483647) / 2147483647) * end);
const found = [];
for (const name of readdirSync(`${folder}/assets`).filter((name) => name.endsWith(".js"))) {
  const lines = readFileSync(`${folder}/assets/${name}`, "utf8").split("\\n");
  const places = [];
  await SourceMapConsumer.with(readFileSync(`${folder}/assets/${name}.map`, "utf8"), null, (map) => {
    for (let turn = 0; turn < 1000; turn++) {
      let at = below(lines.join("\\n").length);
      let line = 1;
      while (at > lines[line - 1].length) at -= lines[line++ - 1].length + 1;
      const place = map.originalPositionFor({ line, column: at });
      places.push([line, at + 1, place.source && [place.source, place.line, place.column + 1, place.name]]);
    }
  });
  found.push([name, places]);
}
console.log(JSON.stringify(found));
"""


@pytest.mark.needs_npm
def test_1000_random_positions_of_a_vite_build_equal_those_of_source_map(tmp_path: Path) -> None:
    capture = tmp_path / "tests" / "capture"
    shutil.copytree(CAPTURE, capture, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(settings.BASE_DIR / "events" / "static", tmp_path / "events" / "static")
    npm.install(capture, npm.VITE, npm.WABT, npm.SOURCE_MAP)
    (capture / "compare.js").write_text(SITE, encoding="utf-8")
    run = subprocess.run(["node", "compare.js"], cwd=capture, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    compared = json.loads(run.stdout.splitlines()[-1])
    assert len(compared) > 2
    for name, places in compared:
        whole = json.loads((capture / "out" / "assets" / f"{name}.map").read_text(encoding="utf-8"))
        found = look_up(whole, *[(line, column) for line, column, _ in places])
        assert [list(place) if place else None for place in found] == [place for _, _, place in places], name
        assert sum(place is not None for place in found) > 300, name


# --- what is refused ------------------------------------------------------------------------------------------

FAULTS: list[tuple[Any, str]] = [
    ([], "A source map is a JSON object."),
    ({}, "It has no `version` of 3."),
    (source_map(version=2), "It has no `version` of 3."),
    (source_map(version="3"), "It has no `version` of 3."),
    (source_map(version=True), "It has no `version` of 3."),
    (source_map(mappings=...), "It has no `mappings`."),
    (source_map(mappings=[]), "It has no `mappings`."),
    (source_map(sources=...), "It has no `sources`."),
    (source_map(sources="a"), "`sources` is not a list of texts."),
    (source_map(sources=[1]), "`sources` is not a list of texts."),
    (source_map(names=[[]]), "`names` is not a list of texts."),
    (source_map(sourcesContent={}), "`sourcesContent` is not a list of texts."),
    (source_map(sourceRoot=3), "`sourceRoot` is not a text."),
    (source_map(sources=["a"] * 50_001), "`sources` has more than 50,000 entries."),
    (source_map(mappings=";" * 5_000_000), "It has more than 5,000,000 mappings."),
    (source_map(mappings="AAAA" * 20), "A mapping is too long."),
    (source_map(mappings="A" * 200_000), "A mapping is too long."),
    (source_map(mappings="AAA"), "The mapping AAA has 3 numbers instead of 1, 4 or 5."),
    (source_map(mappings="AAg"), "The mapping AAg ends within a number."),
    (source_map(mappings="gggggggggE"), "The mapping gggggggggE has a number over 2³¹."),
    (source_map(mappings="A!AA"), "`mappings` has the character '!', which no mapping contains."),
    (source_map(mappings="é"), "`mappings` has the character 'é', which no mapping contains."),
    (source_map(mappings="AAAA;;AGAA"), "A mapping of line 3 names a source that does not exist."),
    (source_map(mappings="ADAA"), "A mapping of line 1 names a source that does not exist."),
    (source_map(mappings="AAAAI,AAAAI"), "A mapping of line 1 names a name that does not exist."),
    (source_map(mappings="AADA"), "A mapping of line 1 has a position outside its source."),
    (source_map(mappings="D"), "A mapping of line 1 has a column below 0 or over 2³¹."),
    ({"version": 3, "sections": {}}, "`sections` is not a list."),
    ({"version": 3, "sections": [1]}, "Section 0 has no `offset` with a line and a column."),
    (indexed((0, -1, source_map())), "Section 0 has no `offset` with a line and a column."),
    (indexed((2**31, 0, source_map())), "Section 0 has no `offset` with a line and a column."),
    (indexed((1, 0, source_map()), (1, 0, source_map())), "Section 1 does not begin after the section before it."),
    (indexed((1, 0, source_map()), (0, 5, source_map())), "Section 1 does not begin after the section before it."),
    (indexed((0, 0, indexed((0, 0, source_map())))), "Section 0 is an index map again."),
    (
        {"version": 3, "sections": [{"offset": {"line": 0, "column": 0}, "url": "a.map"}]},
        "Section 0 has a `url`. Only maps within the map are read.",
    ),
    ({"version": 3, "sections": [], "mappings": ""}, "It has both `sections` and `mappings`."),
    (source_map(file=float("nan")), "It is not valid JSON: it contains NaN."),
    (
        indexed(*[(line, 0, source_map(mappings=";" * 999_999)) for line in range(6)]),
        "It has more than 5,000,000 mappings or 50,000 sources.",
    ),
    (
        indexed(*[(line, 0, source_map(sources=["a"] * 20_000)) for line in range(3)]),
        "It has more than 5,000,000 mappings or 50,000 sources.",
    ),
    (indexed(*[(line, 0, {}) for line in range(10_001)]), "It has more than 10,000 sections."),
]


@pytest.mark.parametrize(("whole", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_a_fault_is_said_in_words(whole: Any, words: str) -> None:
    with pytest.raises(BadMap) as refused:
        check(whole)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xff", b"\x1f\x8b\x08", b"<!doctype html>", b"export const a = 1;", b'{"version":3', b"[" * 100_000,
        b'{"version":3,"mappings":"A' + b"\\ud800" + b'","sources":[]}', b'{"version":' + b"9" * 5_000 + b"}", b"NaN",
    ],
)  # fmt: skip
def test_what_is_no_map_is_refused(text: bytes) -> None:
    with pytest.raises(BadMap):
        mappings.check(text)


def test_an_offset_of_two_thousand_million_lines_costs_nothing() -> None:
    assert look_up(indexed((2**31 - 2, 0, source_map())), (2**31 - 1, 101), (1, 101))[1] is None
