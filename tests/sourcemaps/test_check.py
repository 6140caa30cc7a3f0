"""`events/sourcemaps/check.py`: which uploads are source maps, and in which words others are refused."""

import gzip
import io

import pytest

from events.sourcemaps import check
from tests.fixtures.uploaded_maps import REFUSED, index_map, map_object, source_map


def sources_of(body: bytes, *, is_gzip: bool = False) -> int:
    return check.check(check.unpack(io.BytesIO(body), check.GZIP if is_gzip else check.PLAIN))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_map_is_refused_in_words(name: str) -> None:
    body, is_gzip, words = REFUSED[name]
    with pytest.raises(check.InvalidMap) as refused:
        sources_of(body, is_gzip=is_gzip)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("body", "sources"),
    [
        (source_map(), 1),
        (source_map(sources=[], mappings=""), 0),
        (source_map(sources=["a.ts", None], sourcesContent=["let a"]), 2),
        (source_map(sources=["a.ts", "b.ts"], sourcesContent=[None, "é"], sourceRoot="", ignoreList=[1]), 2),
        (source_map(file="index-DSJGr6wX.js", names=["port"], mappings="AAAAA,CAAC;;;", debugId="x"), 1),
        (index_map(), 0),
        (index_map(map_object(), map_object(sources=["a.ts", "b.ts"])), 3),
        (b"\xef\xbb\xbf" + source_map(), 1),
        (b")]}'\n" + source_map(), 1),
    ],
)
def test_maps_of_every_kind_are_accepted_plain_and_packed(body: bytes, sources: int) -> None:
    assert sources_of(body) == sources_of(gzip.compress(body), is_gzip=True) == sources


# As Vite, Rollup, webpack, esbuild, Parcel, Next.js, Turbopack and Angular write them.
WRITTEN = [
    "../../src/main.ts",
    "../../src/App.vue?vue&type=script&setup=true&lang.ts",
    "../../node_modules/.pnpm/vue@3.5.0/node_modules/vue/dist/vue.esm-bundler.js",
    "../../../../../../builds/.pnpm-store/v10/links/a/index.js",
    "../../vite/modulepreload-polyfill.js",
    "\0vite/preload-helper.js",
    "\0/builds/app/node_modules/react/index.js?commonjs-module",
    "\0commonjsHelpers.js",
    "virtual:pwa-register",
    "webpack://flasher/./src/serial/protocol.ts",
    "webpack://flasher/../../packages/shared/radio.ts",
    "webpack://flasher/webpack/bootstrap",
    'webpack://flasher/external "react"',
    "webpack://flasher/data:image/svg+xml;base64,PHN2Zy8+",
    "webpack:///./node_modules/css-loader/dist/cjs.js!./src/../styles/a.css",
    "webpack:///../common/a.js",
    "webpack-internal:///./src/a.js",
    "turbopack:///[project]/src/app/page.tsx",
    "webpack://_N_E/./pages/[...slug].js?abcd",
    "env-ns:env",
    "http-url:https://unpkg.com/lodash",
    "<define:process.env.NODE_ENV>",
    "(disabled):node_modules/crypto",
    "file:///C:/Users/someone/app/src/main.ts",
    "C:\\Users\\someone\\app\\src\\main.ts",
    "/builds/app/src/main.ts",
    "https://cdn.example.org/lib/a.js",
    "src/data/blob.ts",
    "./javascript/main.js",
    "src/a..b/...ts",
    "",
]


def test_sources_are_accepted_as_bundlers_write_them() -> None:
    assert sources_of(source_map(sources=WRITTEN)) == len(WRITTEN)


@pytest.mark.parametrize(
    "source",
    [
        "javascript:alert(1)",
        " JavaScript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "vbscript:x",
        "data:text/html,<script>",
        "blob:https://example.org/1",
        "../" * 13 + "src/a.ts",
        "..\\" * 13 + "a.ts",
        "webpack://flasher/" + "../" * 13 + "a.ts",
        "src/../../a.ts",
        "../src/../../a.ts",
        "src\\..\\..\\a.ts",
        "/home/../../etc/passwd",
        "file:///src/../../etc/passwd",
        "src/./../.././../a.ts",
    ],
)
def test_a_source_that_no_bundler_writes_is_refused(source: str) -> None:
    with pytest.raises(check.InvalidMap, match="A source "):
        sources_of(source_map(sources=["../../src/main.ts", source]))
    with pytest.raises(check.InvalidMap, match="A source "):
        sources_of(index_map(map_object(), map_object(sources=[source])))


def test_a_long_name_is_checked_in_one_pass() -> None:
    # With a search from each character, this would take hours.
    assert sources_of(source_map(sources=["x" * 5_000_000, "a+." * 1_000_000])) == 2


def test_a_refusal_repeats_little_of_a_source_and_nothing_that_acts() -> None:
    with pytest.raises(check.InvalidMap) as refused:
        sources_of(source_map(sources=["javascript:\x1b[31m\u202e" + "x" * 100_000]))
    assert len(str(refused.value)) < 200
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()


def test_a_bomb_is_unpacked_only_up_to_the_limit() -> None:
    """A whole one of 64 MiB and a little is larger than what the check keeps of it."""
    body, _, _ = REFUSED["a bomb"]
    read = io.BytesIO(body)
    with pytest.raises(check.InvalidMap):
        check.unpack(read, check.GZIP)
    unpacked: list[int] = [len(part) for part in check._unzipped(io.BytesIO(body))]
    assert max(unpacked) <= 262_144
