"""Where a failure occurred, according to the stacks of all engines."""

import pytest

from events.grouping.reading.frames import place_of


def frame(stack: str, error_name: str = "Error") -> str:
    return place_of(stack, error_name).frame


@pytest.mark.parametrize(
    ("stack", "top"),
    [
        # V8
        ("Error: no\n    at writeBlock (protocol.ts:88:13)\n    at flash (uploader.ts:1:1)",
         "writeBlock (protocol.ts)"),
        ("Error: no\n    at async Uploader.flash (https://x.test/assets/uploader.js:1:2)", "flash (uploader.js)"),
        ("Error: no\n    at new Port (serial.ts:1:2)", "Port (serial.ts)"),
        ("Error: no\n    at async new Port (serial.ts:1:2)", "Port (serial.ts)"),
        ("Error: no\n    at https://x.test/serial.js:1:2", "serial.js"),
        ("Error: no\n    at async https://x.test/serial.js:1:2", "serial.js"),
        ("Error: no\n    at HTMLInputElement.<anonymous> (ui.ts:310:9)", "ui.ts"),
        ("Error: no\n    at Port.open [as connect] (serial.ts:1:2)", "open (serial.ts)"),
        ("Error: no\n    at Port.#open (serial.ts:1:2)", "#open (serial.ts)"),
        ("Error: no\n    at eval (eval at run (https://x.test/a.js:1:1), <anonymous>:1:1)", "a.js"),
        ("Error: no\nat baz (eval at foo (eval at speak (http://x.test/file.js:21:17)), <anonymous>:1:30)",
         "baz (file.js)"),
        ("Error: no\n    at flash (https://x.test/uploader.js:12", "flash (uploader.js)"),  # cut off
        ("Error: no\r\n    at flash (https://x.test/uploader.js:1:2)\r\n", "flash (uploader.js)"),
        # Firefox and Safari
        ("flash@https://x.test/uploader.js:1:2\nstart@https://x.test/ui.js:3:4", "flash (uploader.js)"),
        ("async*flash@https://x.test/uploader.js:1:2", "flash (uploader.js)"),
        ("promise callback*flash@https://x.test/uploader.js:1:2", "flash (uploader.js)"),
        ("Uploader.prototype.flash@https://x.test/uploader.js:1:2", "flash (uploader.js)"),
        ("flash/<@https://x.test/uploader.js:1:2", "uploader.js"),
        ("@https://x.test/uploader.js:1:2", "uploader.js"),
        ("global code@https://x.test/uploader.js:1:2", "uploader.js"),
        ("https://x.test/uploader.js:1:2\nflash@https://x.test/ui.js:1:2", "uploader.js"),
        ("baz@http://x.test/index-BxY3_kQ2.js line 26 > eval line 2 > eval:1:30", "index-….js"),
        ("anonymous@http://x.test/file.js line 3 > Function:3:1", "file.js"),
        # React Native, workers
        ("flash@index.android.bundle:1:2", "flash (index.android.bundle)"),
        ("Error: no\n    at flash (address at index.android.bundle:1:2)", "flash (index.android.bundle)"),
        ("Error: no\n    at crunch (blob:https://x.test/0b6c1f0e-93a1-4c55-8d2f-0e6f1b2a3c4d:1:50)", "crunch (blob)"),
        ("Error: no\n    at crunch (blob:http%3A//localhost%3A8080/0b6c1f0e-93a1:31:29146)", "crunch (blob)"),
        ("crunch@data:text/javascript,void:1:2", "crunch (data)"),
        # wasm
        ("Error: no\n    at fw.wasm.crc (wasm://wasm/fw.wasm-00ad9d36:wasm-function[7]:0x85dc9)", "crc (wasm)"),
        ("@https://x.test/fw.wasm:wasm-function[796]:0x143b4\nrun@https://x.test/a.js:1:2",
         "wasm-function[796] (wasm)"),
        ("<?>.wasm-function[crc]@[wasm code]\nrun@https://x.test/a.js:1:2", "crc (wasm)"),
        # The engine's own code is skipped
        ("SyntaxError: no\n    at JSON.parse (<anonymous>)\n    at load (codeplug.ts:1:2)", "load (codeplug.ts)"),
        ("Error: no\n    at async Promise.all (index 0)\n    at async flash (uploader.ts:1:2)", "flash (uploader.ts)"),
        ("Error: no\n    at Error (native)\n    at flash (uploader.ts:1:2)", "flash (uploader.ts)"),
        ("parse@[native code]\nload@https://x.test/codeplug.js:1:2", "load (codeplug.js)"),
        ("SyntaxError: no\n    at JSON.parse (<anonymous>)", ""),
        # A page's own code
        ("Error: no\n    at HTMLButtonElement.onclick (https://x.test/device/7c9e6679:12:5)", "onclick (page)"),
        ("onclick@https://x.test/:1:1", "onclick (page)"),
        ("init@https://x.test/index.html:1:1", "init (page)"),
        # What changes with each build
        ("flash@https://x.test/assets/index-BxY3_kQ2.js:1:2", "flash (index-….js)"),
        ("flash@https://x.test/chunks/3a5e3b5e4f5a6b7c.js:1:2", "flash (chunks/….js)"),
        ("flash$1@https://x.test/uploader.js?v=1234:1:2", "flash (uploader.js)"),
        ("Error: no\n    at t.e (https://x.test/uploader.js:1:2)", "uploader.js"),
        ("Error: no\n    at n.encode (https://x.test/uploader.js:1:2)", "encode (uploader.js)"),
        ("Error: no\n    at readBlock2 (protocol.ts:1:2)", "readBlock2 (protocol.ts)"),
        # What a client has shortened
        ("Error: no\n    at flash (…/index-BxY3_kQ2.js:1:2)", "flash (index-….js)"),
        ("flash@…/index-BxY3_kQ2.js:1:2", "flash (index-….js)"),
        ("Error: no\n    at crunch (blob:…/0b6c1f0e-93a1:1:50)", "crunch (blob)"),
        # No frame
        ("Error: at 0x1f\n  at 0x1f\n  at once\nat", ""),
        ("Error: write to port:3 failed", ""),
        ("mail a@b.test for help", ""),
        ("", ""),
        (" \n\n", ""),
    ],
)  # fmt: skip
def test_the_top_frame_of_the_page_is_found(stack: str, top: str) -> None:
    assert frame(stack) == top


@pytest.mark.parametrize(
    ("error_name", "stack"),
    [
        ("NoAckError", "NoAckError: no\n    at new NoAckError (protocol.ts:1:2)\n    at flash (uploader.ts:1:2)"),
        ("NoAckError", "NoAckError@protocol.ts:1:2\nflash@uploader.ts:1:2"),
        ("Error", "Error: no\n    at new NoAckError (protocol.ts:1:2)\n    at flash (uploader.ts:1:2)"),
        ("NoAckError", "NoAckError: no\n    at new l (protocol.ts:1:2)\n    at flash (uploader.ts:1:2)"),
        ("NoAckError", "l@protocol.ts:1:2\nflash@uploader.ts:1:2"),
    ],
)
def test_the_constructor_of_an_error_is_skipped(error_name: str, stack: str) -> None:
    assert frame(stack, error_name) == "flash (uploader.ts)"


def test_only_one_frame_can_be_the_constructor() -> None:
    assert frame("l@a.ts:1:2\nt@b.ts:1:2\nflash@c.ts:1:2", "NoAckError") == "b.ts"
    assert frame("l@a.ts:1:2\nflash@c.ts:1:2", "TypeError") == "a.ts"


@pytest.mark.parametrize(
    ("stack", "is_extension"),
    [
        ("E\n    at update (chrome-extension://abc/js/receiver.js:479:40)", True),
        ("scan@moz-extension://0b6c1f0e/content.js:1:2", True),
        ("load@webkit-masked-url://hidden/:15:26450", True),
        ("load@safari-web-extension://0b6c1f0e/content.js:1:2", True),
        ("E\n    at update (chrome-extension:…/receiver.js:479:40)", True),
        ("E\n    at JSON.parse (<anonymous>)\n    at update (chrome-extension://abc/a.js:1:1)", True),
        ("E\n    at update (https://x.test/a.js:1:1)\n    at run (chrome-extension://abc/a.js:1:1)", False),
        ("E\n    at update (https://x.test/extension.js:1:1)", False),
    ],
)
def test_the_frame_of_an_extension_is_not_the_page(stack: str, is_extension: bool) -> None:
    assert place_of(stack, "Error").is_extension == is_extension


def test_an_extension_around_the_page_leaves_the_frame_of_the_page() -> None:
    place = place_of("E\n    at wrap (chrome-extension://abc/a.js:1:1)\n    at load (https://x.test/b.js:1:1)", "Error")
    assert place.frame == "load (b.js)"
    assert place.is_extension


@pytest.mark.parametrize(
    "stack",
    [
        "at" + " " * 3_990 + "(",
        ("at " + " " * 390 + "(\n") * 10,
        "at " + "( " * 1_990,
        "at (\n" * 800,
        "@1" + ":1" * 1_990 + "x",
        "@:1:" * 1_000,
        "a" * 4_000,
        "\n" * 4_000,
        "https://" * 500,
        "at \ufffd(" * 800,
        "at x (eval at " * 300,
        ("a" * 20 + "*") * 190 + "@x:1",
    ],
    ids=range(12),
)
def test_a_hostile_stack_is_only_a_text(stack: str) -> None:
    """With a search that goes back over itself these take seconds to minutes."""
    assert len(frame(stack)) <= 200
