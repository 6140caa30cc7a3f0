"""Which failures are the same, and which are different."""

import pytest

from events.grouping.fingerprints import MAX_TITLE, Fingerprint, fingerprint

IN_BUNDLE = "\n    at flash (https://radio.test/assets/index-BxY3_kQ2.js:1:20)"


def fingerprint_of(
    message: str = "No ACK", stack: str | None = None, *, error_name: str | None = None, event_type: str = "flash_error"
) -> Fingerprint:
    return fingerprint(event_type, error_name, message, stack)


def test_the_type_the_error_and_the_place_are_part_of_it() -> None:
    keys = {
        fingerprint_of().key,
        fingerprint_of(event_type="connect_error").key,
        fingerprint_of(error_name="TypeError").key,
        fingerprint_of(error_name="RangeError").key,
        fingerprint_of(stack="E\n    at flash (uploader.ts:1:2)").key,
        fingerprint_of("No answer").key,
    }
    assert len(keys) == 6
    assert fingerprint_of(error_name="HTTP 404").key == fingerprint_of(error_name="HTTP 500").key
    assert fingerprint_of(error_name="").key == fingerprint_of(error_name=None).key


def test_parts_cannot_be_moved_over_a_border() -> None:
    texts = [fingerprint_of("b", error_name="a"), fingerprint_of("a b"), fingerprint_of("", error_name="a b")]
    assert len({each.key for each in texts}) == 3


def test_lines_columns_and_builds_do_not_separate_equal_failures() -> None:
    stacks = [
        "Error: x\n    at flash (https://a.test/assets/index-BxY3_kQ2.js:1:20)\n    at go (b.js:1:1)",
        "Error: x\n    at async flash (https://b.test/assets/index-Zz91abCd.js:77:3)",
        "flash@https://b.test/assets/index-0aZ9_bCd.js:5:3\nother@c.js:1:1",
    ]
    assert len({fingerprint_of(stack=stack).key for stack in stacks}) == 1


def test_engines_name_one_error_differently() -> None:
    overflows = [
        ("RangeError", "Maximum call stack size exceeded", "RangeError: x\n    at draw (https://a.test/a.js:1:1)"),
        ("InternalError", "too much recursion", "draw@https://a.test/a.js:2:2"),
    ]
    found = [fingerprint_of(message, stack, error_name=name) for name, message, stack in overflows]
    assert len({each.key for each in found}) == 1
    assert [each.canonical for each in found] == ["stack overflow", "stack overflow"]
    assert found[1].title == "too much recursion"


@pytest.mark.parametrize("name", ["Nu", "rl", "s", "$e", "a1"])
def test_a_minified_error_name_is_in_no_group(name: str) -> None:
    found = fingerprint_of("No ACK", f"{name}: No ACK{IN_BUNDLE}", error_name=name)
    assert found.error_name is None
    assert found.key == fingerprint_of("No ACK", f"x{IN_BUNDLE}").key


def test_the_name_in_front_of_a_message_is_the_name_of_the_error() -> None:
    plain = fingerprint_of("The radio is gone", error_name="RadioError")
    assert fingerprint_of("Uncaught RadioError: The radio is gone").key == plain.key
    assert fingerprint_of("RadioError: The radio is gone", error_name="RadioError").key == plain.key
    other = fingerprint_of("RadioError: The radio is gone", error_name="Error")
    assert other.key not in {plain.key, fingerprint_of("The radio is gone", error_name="Error").key}


def test_a_message_counts_as_a_whole() -> None:
    words = " ".join(["word"] * 80)
    assert fingerprint_of(f"{words} signature").key != fingerprint_of(f"{words} checksum").key
    assert len(fingerprint_of(words).title) == MAX_TITLE


def _cut(text: str, most: int, mark: str) -> str:
    return text if len(text) <= most else text[: most - len(mark)] + mark


@pytest.mark.parametrize("most", [200, 256, 500])
@pytest.mark.parametrize("value", ["7", "1234567"])
def test_clients_that_cut_differently_report_one_failure(most: int, value: str) -> None:
    text = f"Block {value} was refused because " + "the boot loader of this radio wants another image and " * 10
    same = "Block 12 was refused because " + "the boot loader of this radio wants another image and " * 10
    keys = {fingerprint_of(_cut(each, most, mark)).key for mark in ("…", "...") for each in (text, same)}
    # A value of another length moves the cut, and only a long message has enough words in front of it.
    assert len({fingerprint_of(_cut(text, most, mark)).key for mark in ("…", "...")}) == 1
    assert len(keys) == 1 or most < 500


def test_marks_and_white_space_do_not_separate_equal_failures() -> None:
    german = ["Port „COM3“ fehlt", "Port »COM4« fehlt", 'Port "COM5" fehlt', "Port  'COM6'\r\nfehlt "]
    assert len({fingerprint_of(text).key for text in german}) == 1


@pytest.mark.parametrize(
    ("message", "stack", "noise"),
    [
        ("ResizeObserver loop limit exceeded", None, "browser"),
        ("Script error.", None, "browser"),
        ("Script error.", "flash@https://radio.test/a.js:1:2", ""),
        ("Extension context invalidated.", None, "browser"),
        ("No ACK", "scan@moz-extension://0b6c1f0e/content.js:1:2", "extension"),
        ("No ACK", "flash@https://radio.test/a.js:1:2", ""),
        ("No ACK", None, ""),
    ],
)
def test_noise_is_no_failure_of_the_page(message: str, stack: str | None, noise: str) -> None:
    assert fingerprint_of(message, stack, event_type="window_error").noise == noise


def test_a_failure_of_an_extension_is_another_one() -> None:
    page, extension = "scan@https://radio.test/content.js:1:2", "scan@moz-extension://0b6c1f0e/content.js:1:2"
    assert fingerprint_of(stack=page).key != fingerprint_of(stack=extension).key


def test_a_key_is_short_and_safe_in_an_address() -> None:
    key = fingerprint_of("<script>", "\u202e@a.js:1:2").key
    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")
