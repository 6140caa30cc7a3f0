"""What is the same failure, and what is another one."""

from itertools import combinations

import pytest

from events.grouping.fingerprints import MAX_TITLE, Fingerprint, fingerprint, masked


def mark(
    message: str = "No ACK", stack: str | None = None, *, error_name: str | None = None, event_type: str = "flash_error"
) -> Fingerprint:
    return fingerprint(event_type, error_name, message, stack)


def frame(stack: str) -> str:
    return mark(stack=stack).frame


@pytest.mark.parametrize(
    "messages",
    [
        (
            "No ACK for block 0x001f (got 0x15)",
            "No ACK for block 0x0a20 (got 0x00)",
            "No ACK for block 0X1F (got 0xFF)",
        ),
        ("got ff", "got 1f", "got 06", "got FF", "got 3Fh"),
        ("RX 06 ff 1a", "RX be ad de", "RX 06 06 06 06 06"),
        ("Read 12 of 128 bytes", "Read 7 of 64 bytes", "Read 1,024 of 2,048 bytes"),
        ("moved by -5", "moved by 5", "moved by +5", "moved by -0.25"),
        ("took 1.5 s", "took 12 s", "took 0.004 s"),
        ("at 12:30:45", "at 7:05"),
        ("on 2026-02-12T18:00:00.000Z", "on 2025-12-31T23:59:59.999Z"),
        ("job 0b6c1f0e-93a1-4c55-8d2f-0e6f1b2a3c4d", "job FFFFFFFF-FFFF-4FFF-8FFF-FFFFFFFFFFFF"),
        ("commit 3fa81c22 is bad", "commit c7d3953 is bad"),
        ("token Zm9vYmFyYmF6cXV4MTIz", "token a1B2c3D4e5F6g7H8"),
        ("device 00:1a:7d:da:71:13", "device ff:ff:ff:ff:ff:fa"),
        ("connect to localhost:5173", "connect to localhost:80"),
        ("GET http://10.0.0.1:8000/a?b=1 failed", "GET https://example.org/firmware.bin failed"),
        ("bad token at 3:14", "bad token at 120:7"),
        ("Failed to execute 'open' on 'SerialPort'", "Failed to execute 'close' on 'USBDevice'"),
        ('no file "a.bin"', 'no file "another, longer one.hex"', 'no file ""'),
        ("no file “a.bin”", "no file “b”"),
        ("no file ‘a.bin’", "no file ‘b’"),
        ("no file `a.bin`", "no file `b`"),
        ("can't open 'COM3'", "can't open '/dev/ttyUSB0'"),
        ("too  many\nspaces\t", "too many spaces"),
    ],
    ids=lambda messages: str(messages[0]),
)
def test_what_varies_is_one_group(messages: tuple[str, ...]) -> None:
    assert len({mark(message) for message in messages}) == 1


@pytest.mark.parametrize(
    "messages",
    [
        ("Handshake timed out", "No port selected"),
        ("can't read and won't write", "can't stop and won't write", "can't read"),
        ("the users' data isn't here", "the users' file isn't here"),
        ("a facade decades old", "a decade old"),
        ("No ACK for block 0x001f", "No ACK for page 0x001f"),
        ("read of 5", "write of 5"),
        ("read '5'", "read 5"),
        ("Timeout", "Timeout."),
    ],
    ids=lambda messages: str(messages[0]),
)
def test_other_words_are_another_group(messages: tuple[str, ...]) -> None:
    for one, other in combinations(messages, 2):
        assert mark(one).key != mark(other).key


def test_the_type_and_the_error_are_part_of_it() -> None:
    keys = {
        mark().key,
        mark(event_type="connect_error").key,
        mark(error_name="TypeError").key,
        mark(error_name="RangeError").key,
        mark(stack="E\n    at flash (uploader.ts:1:2)").key,
    }
    assert len(keys) == 5
    assert mark(error_name="HTTP 404").key == mark(error_name="HTTP 500").key
    assert mark(error_name="").key == mark(error_name=None).key


def test_parts_cannot_be_moved_over_a_border() -> None:
    assert mark("b", error_name="a").key != mark("a b").key != mark("", error_name="a b").key


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("No ACK for block 0x001f (got 0x15)", "No ACK for block … (got …)"),
        ("UV-5RM does not answer", "UV-…RM does not answer"),
        ("can't open 'COM3': it's \"busy\"", "can't open '…': it's \"…\""),
        ("it said 'can't'", "it said 'can't'"),
        ("5", "…"),
        ("   ", "…"),
        ("‮<script>alert(1)</script>", "‮<script>alert(…)</script>"),
        ('an open "quote\nends with its line', 'an open "quote ends with its line'),
        ("x" * 500, "x" * MAX_TITLE),
    ],
)
def test_a_title_is_the_message_on_one_line(text: str, title: str) -> None:
    assert mark(text).title == title


@pytest.mark.parametrize(
    ("stack", "top"),
    [
        # V8
        (
            "Error: no\n    at writeBlock (protocol.ts:88:13)\n    at flash (uploader.ts:1:1)",
            "writeBlock (protocol.ts)",
        ),
        (
            "Error: no\n    at async Uploader.flash (https://x.org/assets/uploader.js:1:2)",
            "Uploader.flash (uploader.js)",
        ),
        ("Error: no\n    at new Port (serial.ts:1:2)", "Port (serial.ts)"),
        ("Error: no\n    at async new Port (serial.ts:1:2)", "Port (serial.ts)"),
        ("Error: no\n    at https://x.org/serial.js:1:2", "serial.js"),
        ("Error: no\n    at async https://x.org/serial.js:1:2", "serial.js"),
        ("Error: no\n    at HTMLInputElement.<anonymous> (ui.ts:310:9)", "HTMLInputElement.<anonymous> (ui.ts)"),
        ("Error: no\n    at Port.open [as connect] (serial.ts:1:2)", "Port.open (serial.ts)"),
        ("Error: no\n    at eval (eval at run (https://x.org/a.js:1:1), <anonymous>:1:1)", "eval (a.js)"),
        ("Error: no\n    at flash (https://x.org/uploader.js:12", "flash (uploader.js)"),  # cut off
        # A built-in is where our own code called it from.
        ("SyntaxError: no\n    at JSON.parse (<anonymous>)\n    at load (codeplug.ts:1:2)", "load (codeplug.ts)"),
        ("Error: no\n    at async Promise.all (index 0)\n    at async flash (uploader.ts:1:2)", "flash (uploader.ts)"),
        ("SyntaxError: no\n    at JSON.parse (<anonymous>)", "JSON.parse (<anonymous>)"),
        # Firefox and Safari
        ("flash@https://x.org/uploader.js:1:2\nstart@https://x.org/ui.js:3:4", "flash (uploader.js)"),
        ("async*flash@https://x.org/uploader.js:1:2", "flash (uploader.js)"),
        ("@https://x.org/uploader.js:1:2", "uploader.js"),
        ("parse@[native code]\nload@https://x.org/codeplug.js:1:2", "load (codeplug.js)"),
        ("global code@https://x.org/uploader.js:1:2", "global code (uploader.js)"),
        ("https://x.org/uploader.js:1:2\nflash@https://x.org/ui.js:1:2", "uploader.js"),
        # What changes from build to build, and by cache
        ("flash@https://x.org/assets/index-BxY3_kQ2.js:1:2", "flash (index-….js)"),
        ("flash@https://x.org/assets/index-Bx-3_kQ2.js:1:2", "flash (index-….js)"),
        ("flash@https://x.org/assets/index.3fa81c22.js:1:2", "flash (index.….js)"),
        ("flash@https://x.org/assets/index.3fa81c22.min.js:1:2", "flash (index.….min.js)"),
        ("flash@https://x.org/codeplug-renderer.js:1:2", "flash (codeplug-renderer.js)"),
        ("flash@https://x.org/codeplug-renderer-BxY3_kQ2.js:1:2", "flash (codeplug-renderer-….js)"),
        ("flash@https://x.org/uploader.js?v=1234:1:2", "flash (uploader.js)"),
        ("Error: no\n    at t.e (https://x.org/uploader.js:1:2)", "….… (uploader.js)"),
        ("Error: no\n    at Qe (https://x.org/uploader.js:1:2)", "… (uploader.js)"),
        ("Error: no\n    at readBlock2 (protocol.ts:1:2)", "readBlock… (protocol.ts)"),
        # Nothing to see
        ("Error: at 0x1f\n  at 0x1f\n  at once\nat", ""),
        ("Error: write to port:3 failed", ""),
        ("", ""),
        (" \n\n", ""),
    ],
)
def test_the_top_frame_says_where(stack: str, top: str) -> None:
    assert frame(stack) == top


def test_lines_columns_and_builds_do_not_part_what_is_the_same() -> None:
    stacks = [
        "Error: x\n    at flash (https://a.org/assets/index-BxY3_kQ2.js:1:20)\n    at go (b.js:1:1)",
        "Error: x\n    at async flash (https://b.org/assets/index-Zz91abCd.js:77:3)",
        "flash@https://b.org/assets/index-0aZ9_bCd.js:5:3\nother@c.js:1:1",
    ]
    assert len({mark(stack=stack).key for stack in stacks}) == 1


def test_a_key_is_short_and_safe_in_an_address() -> None:
    key = mark("<script>", "‮@a.js:1:2").key
    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")


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
    ],
    ids=range(10),
)
def test_a_hostile_stack_is_only_a_text(stack: str) -> None:
    """With a search that goes back over itself these take seconds to minutes."""
    assert len(frame(stack)) <= 200


@pytest.mark.parametrize("character", ["0", "a1", "'", "“", "ff ", "-", "1.", "a_", "http://", "_1", "'a", "0x", "́"])
def test_a_hostile_message_is_only_a_text(character: str) -> None:
    text = (character * 500)[:500]
    assert mark(text) == mark(text)
    assert len(masked(text)) <= 1_500
    assert len(mark(text).title) <= MAX_TITLE
