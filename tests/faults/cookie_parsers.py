"""Measures Django's cookie parser on the Python that runs this file, with the slowest cookies within the limits.

Run it without pytest, with Django on PYTHONPATH. It prints JSON: the version of Python, and the median CPU time in
milliseconds for each shape.
"""

import json
import platform
import statistics
import sys
import time

MOST_BYTES = 8_192
MOST_BACKSLASHES = 512


def filled(begin: str, filler: str, end: str = "") -> str:
    room = MOST_BYTES - len(begin) - len(end)
    return begin + (filler * room)[:room] + end


def repeated(cookie: str) -> str:
    """Return as many of these cookies as fit both limits."""
    count = MOST_BACKSLASHES // max(1, cookie.count("\\"))
    return "; ".join([cookie] * min(count, MOST_BYTES // len(f"{cookie}; ")))


# The parser with CVE-2024-7592 searched for an octal escape from each backslash to the end of the value.
SHAPES = {
    "escapes before a long rest": filled('a="' + "\\a" * MOST_BACKSLASHES, "x", '"'),
    "escapes after a long beginning": filled('a="', "x", "\\a" * MOST_BACKSLASHES + '"'),
    "escapes spread evenly": filled('a="', "\\a" + "x" * 14, '"'),
    "escaped quotes": filled('a="' + '\\"' * MOST_BACKSLASHES, "x", '"'),
    "escaped backslashes": filled('a="' + "\\" * MOST_BACKSLASHES, "x", '"'),
    "nearly octal escapes": filled('a="' + "\\08" * MOST_BACKSLASHES, "x", '"'),
    "octal escapes": filled('a="' + "\\000" * MOST_BACKSLASHES, "x", '"'),
    "escapes before one octal escape": filled('a="' + "\\a" * (MOST_BACKSLASHES - 1), "x", '\\000"'),
    "many quoted cookies": repeated('a="\\a\\a"'),
    "two quoted cookies": repeated('a="' + "\\a" * 256 + "x" * 3_500 + '"'),
    "semicolons": ";" * MOST_BYTES,
    "quotes": '"' * MOST_BYTES,
    "quoted quotes": filled('a="', '"', '"'),
    "equals signs": "=" * MOST_BYTES,
    "many names": filled("", "a=;"),
    "blanks": filled("a=", " ", ";"),
}


def milliseconds(cookie: str, rounds: int) -> float:
    from django.http.cookie import parse_cookie

    took = []
    for _ in range(rounds):
        began = time.process_time()
        parse_cookie(cookie)
        took.append(time.process_time() - began)
    return statistics.median(took) * 1_000


if __name__ == "__main__":
    rounds = int(sys.argv[1])
    shapes = {name: milliseconds(cookie, rounds) for name, cookie in SHAPES.items()}
    print(json.dumps({"version": platform.python_version(), "shapes": shapes}))  # noqa: T201
