"""Hypothesis strategies for bodies: nearly valid events, any JSON, and damaged bytes."""

import json
from typing import Any

from hypothesis import strategies as st

from tests import conftest
from tests.fuzz.oracle import TYPES

# Lone surrogates, NUL, right-to-left marks, line separators. A browser that cuts a text can leave a lone surrogate.
CHARACTERS = st.characters(exclude_categories=())
TEXT = st.text(CHARACTERS, max_size=40)
ODD_NUMBERS = st.sampled_from([0, 1, -1, 2, 2**31, 2**63, 2**64, 2**70, 10**400, 0.0, 1.0, 1e308, -0.0, 0.1])
SCALARS = st.one_of(st.none(), st.booleans(), ODD_NUMBERS, TEXT)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
MOMENTS = st.sampled_from(
    [
        "2026-02-12T18:00:00.000Z", "2026-02-12T18:00:00Z", "2026-02-12T18:00Z", "2026-02-12T18:00", "2026-02-12",
        "2026-02-12T18:00:00.123456789+01:00", "2026-02-12T18:00:00-0930", "2026-02-12T18:00:00+05",
        "2024-02-29", "2023-02-29", "2026-02-12T24:00", "2026-02-12T18:60", "2026-02-12T18:00:60Z", "2026-13-01",
        "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "0000-01-01", "2026-W07-4", "20260212T180000Z",
        "2026-02-12 18:00:00", "2026-02-12T18:00:00.Z", "2026-02-12T18:00:00.1234567890Z", "2026-02-12T18Z",
        "2026-02-12T18:00:00+24:00", "2026-02-12T18:00:00+01:60", "2026-02-12T", "+2026-02-12", "12026-02-12",
        "2026-02-12Z", "٢٠٢٦-02-12", "2026-02-12T18:00:00z", " 2026-02-12", "2026-02-12\n", "now", "",
    ]
)  # fmt: skip


def texts_around(*limits: int) -> Any:
    """Return texts with a length at or near a limit, of characters of one, two or four bytes, or lone surrogates."""
    lengths = st.sampled_from([length for limit in limits for length in (limit - 1, limit, limit + 1, limit + 2)])
    return st.builds(
        lambda char, length: char * length, st.sampled_from(["a", " ", "é", "😀", "\ud83d", "\0"]), lengths
    )


def nested(depth: int, pair: str) -> str:
    return pair[0] * depth + pair[1] * depth


JSON_TEXTS = st.one_of(
    ANYTHING.map(json.dumps),
    st.lists(TEXT, max_size=5).map(json.dumps),
    st.builds(lambda count: json.dumps(["x"] * count), st.sampled_from([199, 200, 201])),
    st.builds(lambda count: json.dumps({str(key): key for key in range(count)}), st.sampled_from([99, 100, 101, 201])),
    st.builds(nested, st.sampled_from([1, 7, 8, 9, 64, 65, 1_000, 30_000]), st.just("[]")),
    st.builds(lambda size: json.dumps(["x" * size]), st.sampled_from([16_379, 16_380, 16_381, 65_532, 65_533])),
    st.sampled_from(
        [
            "[]",
            "{}",
            "",
            "null",
            "1",
            '"text"',
            "[NaN]",
            "[Infinity]",
            "[1e400]",
            "[1]x",
            " [ 1 , 2 ] ",
            "\ufeff[]",
            '["\\ud83d"]',
            '{"a": 1, "a": [[[[[[[[1]]]]]]]]}',
            '{"\\ud83d": "\\u0000"}',
            '["\\ud83d\\ude00"]',
            "[01]",
            "[1" + "0" * 5_000 + "]",
            "['a']",
            "[1,]",
            "[\t1]",
            '["\t"]',
            "//",
            "[-]",
            "[-0]",
            "\u00a0[]",
        ]
    ),
    TEXT,
)  # fmt: skip
FIELDS: dict[str, Any] = {
    "event_type": st.sampled_from([*TYPES, "FLASH_ERROR", "flash_fail", "flash_error ", ""]),
    "occurred_at": MOMENTS | TEXT,
    "session_id": st.none() | TEXT | texts_around(128) | st.sampled_from(["baseline-1", "baseline", "Baseline-1"]),
    "message": TEXT | texts_around(1, 500) | st.sampled_from(["\u2003", "\ufeff", "\x1c", "\u200b", "\x85"]),
    "model": TEXT | texts_around(1, 64),
    "app_version": TEXT | texts_around(1, 64),
    "write_mode": st.sampled_from([0, 1, 2, -1, True, 1.0, "1", None, 2**70]),
    "connected": st.sampled_from([0, 1, 2, -1, False, 0.0, "0", None, -(2**70)]),
    "error_name": st.none() | TEXT | texts_around(1, 200),
    "stack": st.none() | TEXT | texts_around(1, 4_000),
    "log_lines_json": JSON_TEXTS,
    "metadata_json": JSON_TEXTS,
}


@st.composite
def payloads(draw: Any) -> dict[str, Any]:
    """Return a valid event with up to four changed fields, near their limits or with any value."""
    payload: dict[str, Any] = conftest.payload()
    for name in draw(st.lists(st.sampled_from([*FIELDS, "else"]), max_size=4, unique=True)):
        if name == "else":
            payload |= draw(st.dictionaries(TEXT, ANYTHING, max_size=2))
        elif draw(st.integers(0, 9)) == 0:
            payload.pop(name, None)
        else:
            payload[name] = draw(ANYTHING if draw(st.integers(0, 9)) == 0 else FIELDS[name])
    return payload


@st.composite
def written(draw: Any, values: Any) -> bytes:
    """Return a value as JSON, in ASCII or UTF-8. With a lone surrogate, the latter is invalid UTF-8."""
    text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, None, 1])))
    return text.encode("utf-8", "surrogatepass")


@st.composite
def broken(draw: Any) -> bytes:
    """Return the damaged bytes of an event (cut, doubled, overwritten, filled), or any bytes."""
    body = bytearray(draw(written(payloads())))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["cut", "insert", "overwrite", "double", "bom", "deep", "big", "random"])):
            case "cut":
                del body[at : at + draw(st.integers(1, 50))]
            case "insert":
                body[at:at] = draw(st.binary(min_size=1, max_size=6))
            case "overwrite":
                body[at : at + 1] = draw(
                    st.sampled_from([b'"', b"\\", b"{", b"}", b"\0", b"\xff", b"\xed\xa0\xbd", b","])
                )
            case "double":
                body += bytes(body)
            case "bom":
                body[:0] = draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b" \t\r\n"]))
            case "deep":
                depth = draw(st.sampled_from([63, 64, 65, 500, 60_000]))
                body[:1] = b'{"x":' + b"[" * depth + b"]" * depth + b","
            case "big":
                body += b" " * draw(
                    st.sampled_from([131_072 - len(body), 131_073 - len(body)]) if len(body) < 131_072 else st.just(1)
                )
            case "random":
                return draw(st.binary(max_size=200))
    return bytes(body)


BODIES = written(payloads()) | written(ANYTHING) | broken()
BATCHES = written(
    st.one_of(
        st.fixed_dictionaries({"events": st.lists(payloads() | ANYTHING, min_size=1, max_size=6)}),
        st.fixed_dictionaries({"events": ANYTHING}),
        st.builds(
            lambda event, count: {"events": [event] * count}, payloads(), st.sampled_from([0, 1, 2, 99, 100, 101])
        ),
    )
)
