"""Generates demo data: people who flash radios from a browser, the releases they use, and their failures.

The models are real product names. A seeded random generator draws all other values, and none belongs to a real person.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS, UNKNOWN
from events.models import EventType, Source
from events.querysets import SUCCESS
from events.rows import EventRow, identified

# The number of wordings per fault; each event uses one of them.
_WORDINGS = 64
_DONE = "Flash complete"
_METADATA = '{"source":"web-v2"}'
_MODELS = {"UV-5RM": 38, "UV-5RM Plus": 21, "UV-17R": 17, "DM-32UV": 19, UNKNOWN: 5}
# Hobbyists in Europe and America: quiet nights, busy evenings. One weight for each hour, UTC.
_HOURS = [30, 22, 16, 11, 8, 8, 11, 17, 25, 33, 40, 45, 50, 54, 57, 60, 66, 78, 92, 100, 98, 86, 66, 45]
_WEEKEND = 1.6
_FAILURE_SHARE = 0.11
# One model fails often with one release, until the next release.
_BROKEN_MODEL = "UV-17R"
_BROKEN_FAILURE_SHARE = 0.55


class DemoRelease(NamedTuple):
    version: str
    at_ms: int


class Wording(NamedTuple):
    """The texts of an event, independent of its time and radio."""

    message: str
    error_name: str | None
    stack: str | None
    log_lines_json: str


class Fault(NamedTuple):
    """One kind of failure, and its frequency.

    `message` may contain the placeholders `{block}`, `{address}` and `{got}` (the radio's answer). `last_line` ends the
    log. If the radio is connected, the log lists the transferred blocks before it.
    """

    event_type: EventType
    weight: int
    write_mode: int
    connected: int
    error_name: str
    message: str
    frames: tuple[str, ...]
    last_line: str


_NO_ACK = Fault(
    EventType.FLASH_ERROR, 30, 1, 1, "ProtocolError", "No ACK for block 0x{block:04x} (got 0x{got})",
    ("writeBlock (protocol.ts:88:13)", "flash (uploader.ts:214:7)"), "RX 0x{got}",
)  # fmt: skip
_FAULTS = [
    _NO_ACK,
    Fault(
        EventType.FLASH_ERROR, 22, 1, 1, "ProtocolError", "Handshake timed out after 3 attempts",
        ("handshake (uploader.ts:120:11)", "flash (uploader.ts:201:5)"), "RX timeout",
    ),
    Fault(
        EventType.FLASH_ERROR, 8, 0, 1, "TimeoutError", "Read timed out at 0x{address:04x} after 2000 ms",
        ("readBlock (protocol.ts:61:9)", "backup (uploader.ts:167:22)"), "RX timeout",
    ),
    Fault(
        EventType.FLASH_ERROR, 5, 1, 1, "ProtocolError", "Verify failed at 0x{address:04x}: read 0x{got}",
        ("verify (protocol.ts:132:11)", "flash (uploader.ts:231:5)"), "verify failed",
    ),
    Fault(
        EventType.CONNECT_ERROR, 14, 1, 0, "NetworkError",
        "Failed to execute 'open' on 'SerialPort': Failed to open serial port.",
        ("connect (serial.ts:44:16)",), "open failed",
    ),
    Fault(
        EventType.CONNECT_ERROR, 11, 0, 0, "NotFoundError", "No port selected by the user.",
        ("requestPort (serial.ts:21:33)",), "port dialog closed",
    ),
    Fault(
        EventType.WINDOW_ERROR, 5, 0, 0, "TypeError", "Cannot read properties of undefined (reading 'channels')",
        ("renderChannels (codeplug.ts:73:28)", "HTMLInputElement.<anonymous> (ui.ts:310:9)"), "open codeplug",
    ),
    Fault(
        EventType.WINDOW_ERROR, 2, 1, 1, "TypeError", "Cannot set properties of null (setting 'value')",
        ("setProgress (ui.ts:142:19)", "flash (uploader.ts:219:9)"), "page froze",
    ),
    Fault(
        EventType.UNHANDLED_REJECTION, 4, 1, 1, "NetworkError", "The device has been lost.",
        ("readLoop (serial.ts:97:24)",), "port disconnected",
    ),
    Fault(
        EventType.UNHANDLED_REJECTION, 2, 0, 0, "AbortError", "The user aborted a request.",
        ("loadFirmware (catalog.ts:18:20)",), "firmware list asked for",
    ),
]  # fmt: skip


# Appears only on the last day, so that the pages show a new failure.
_NEW_TODAY = Fault(
    EventType.UNHANDLED_REJECTION, 14, 1, 1, "InvalidStateError", "Bootloader answered with an unknown revision",
    ("identify (bootloader.ts:41:15)", "flash (uploader.ts:188:9)"), "RX 0x7f",
)  # fmt: skip
# Rare at first, and more frequent every day.
_GROWING = Fault(
    EventType.FLASH_ERROR, 16, 1, 1, "BufferOverrunError", "Buffer overrun after {block} blocks",
    ("readLoop (serial.ts:101:17)", "flash (uploader.ts:221:11)"), "RX overrun",
)  # fmt: skip

# The long tail: failures of one or two people. Each combination of these parts is a separate message.
_TAIL_SHARE = 0.13
_TAIL_AT_FIRST = 400
_TAIL_A_DAY = 120  # far below the limit of new groups per day
_TAIL_MOST = 4_000
_TAIL_WHERE = [
    ("erase", "eraseFlash (bootloader.ts:77:13)"), ("handshake", "handshake (uploader.ts:126:19)"),
    ("baud rate change", "setBaudRate (serial.ts:58:9)"), ("block write", "writeBlock (protocol.ts:92:21)"),
    ("block read", "readBlock (protocol.ts:66:11)"), ("checksum", "checksum (codec.ts:31:7)"),
    ("calibration backup", "backupRegion (backup.ts:24:15)"), ("contact list", "packContacts (contacts.ts:140:33)"),
    ("boot picture", "packPicture (picture.ts:52:18)"), ("reboot", "reboot (uploader.ts:240:5)"),
    ("channel table", "packChannels (codeplug.ts:118:26)"), ("zone table", "packZones (codeplug.ts:171:20)"),
    ("scan list", "packScanLists (codeplug.ts:203:14)"), ("firmware download", "loadFirmware (catalog.ts:29:17)"),
    ("signature check", "verifySignature (catalog.ts:63:10)"), ("port release", "close (serial.ts:133:7)"),
]  # fmt: skip
_TAIL_WHAT = [
    "failed", "timed out", "was refused", "was interrupted", "ended early", "returned nothing", "answered twice",
    "could not start", "could not be confirmed", "ran out of retries",
]  # fmt: skip
_TAIL_WHY = [
    "cable unplugged", "device busy", "voltage too low", "unexpected reply", "reply too short", "reply too long",
    "wrong region", "wrong revision", "locked by another tab", "page was hidden", "driver reset", "parity error",
    "framing error", "break received", "out of memory", "file is truncated", "file is for another model",
    "unknown tag", "offset out of range", "length out of range", "name has no encoding", "table is full",
    "duplicate entry", "radio asks for a password", "radio is transmitting", "radio turned off",
]  # fmt: skip


class _Tail(NamedTuple):
    """The rare faults, each with its own wording, in the order in which they can first occur."""

    wordings: list[tuple[Fault, Wording]]
    at_first: int
    a_day: float
    start_ms: int

    def pick(self, rng: random.Random, at_ms: int) -> tuple[Fault, Wording]:
        """Return a fault that can occur by this time. A few of the oldest are frequent, most are rare."""
        known = self.at_first + int((at_ms - self.start_ms) / DAY_MS * self.a_day)
        return self.wordings[min(int(known * rng.random() ** 2.5), len(self.wordings) - 1)]


class _Scene(NamedTuple):
    """All fields of an event except time, session and wording. Without wordings, the tail provides one."""

    event_type: str
    model: str
    app_version: str
    write_mode: int
    connected: int
    wordings: list[Wording]


def happen(count: int, *, days: int, now_ms: int, seed: int) -> Iterator[EventRow]:
    """Yield `count` demo events, oldest first, over the `days` UTC days that end with `now_ms`."""
    rng = random.Random(seed)  # noqa: S311 (a world, not a secret)
    start_ms = now_ms - now_ms % DAY_MS - (days - 1) * DAY_MS
    releases, broken = _releases(rng, start_ms, now_ms)
    wordings = _wordings(rng)
    tail = _tail(rng, start_ms, days)
    previous_ms = 0
    for hour_ms, in_hour in _by_hour(rng, count, start_ms, now_ms):
        scenes, odds = _scenes(hour_ms, start_ms, now_ms, releases, broken, wordings)
        shown = rng.choices(scenes, odds, k=in_hour)
        end_ms = min(hour_ms + HOUR_MS, now_ms)
        moments = sorted(hour_ms + int(rng.random() * (end_ms - hour_ms)) for _ in range(in_hour))
        for scene, moment in zip(shown, moments, strict=True):
            # Distinct milliseconds give the events a defined order.
            previous_ms = max(moment, previous_ms + 1)
            yield _event(rng, scene, tail, previous_ms)


def _event(rng: random.Random, scene: _Scene, tail: _Tail, received_at_ms: int) -> EventRow:
    if scene.wordings:
        wording = scene.wordings[int(rng.random() * len(scene.wordings))]
    else:
        fault, wording = tail.pick(rng, received_at_ms)
        scene = scene._replace(
            event_type=fault.event_type.value, write_mode=fault.write_mode, connected=fault.connected
        )
    occurred_at = _iso(received_at_ms - 30 - int(rng.expovariate(0.008)))
    session = _session(rng, received_at_ms) if scene.event_type == SUCCESS else None
    row = EventRow(
        "", received_at_ms, occurred_at, scene.event_type, session, scene.model, scene.write_mode, scene.connected,
        scene.app_version, *wording, _METADATA, Source.DEMO.value,
    )  # fmt: skip
    return identified(row)


def _session(rng: random.Random, at_ms: int) -> str:
    # A UUID of version 7 begins with its time. Random ones would spread over the whole index and take twice as long.
    digits = f"{at_ms:012x}{rng.getrandbits(72):018x}"
    return f"{digits[:8]}-{digits[8:12]}-7{digits[12:15]}-a{digits[15:18]}-{digits[18:]}"


def _iso(at_ms: int) -> str:
    return f"{_minute(at_ms // 60_000)}{at_ms // 1_000 % 60:02d}.{at_ms % 1_000:03d}Z"


@lru_cache(maxsize=1_000)
def _minute(minute: int) -> str:
    # Formatting the date takes most of the time, and a million events share a few thousand minutes.
    return clock.iso(minute * 60_000)[: len("YYYY-MM-DDTHH:MM:")]


# --- when ----------------------------------------------------------------------------------------------------


def _by_hour(rng: random.Random, count: int, start_ms: int, now_ms: int) -> Iterator[tuple[int, int]]:
    hours = range(start_ms, now_ms, HOUR_MS)
    weights = []
    mood = 1.0
    for number, hour_ms in enumerate(hours):
        if number % 24 == 0:
            mood = rng.uniform(0.85, 1.15) * (1 + 0.4 * number / len(hours))  # the site grows
        is_weekend = (hour_ms // DAY_MS + 3) % 7 >= 5  # 1970 began on a Thursday
        share_over = min(1, (now_ms - hour_ms) / HOUR_MS)
        weights.append(_HOURS[number % 24] * mood * (_WEEKEND if is_weekend else 1) * share_over)
    drawn = Counter(rng.choices(hours, weights, k=count))
    for hour_ms in hours:
        if drawn[hour_ms]:
            yield hour_ms, drawn[hour_ms]


def _releases(rng: random.Random, start_ms: int, now_ms: int) -> tuple[list[DemoRelease], DemoRelease]:
    """Return all releases, oldest first, and the release that breaks a model."""
    span_ms = now_ms - start_ms
    broken = DemoRelease(_version(rng), start_ms + span_ms * 6 // 10)
    mended = DemoRelease(_version(rng), broken.at_ms + min(36 * HOUR_MS, span_ms // 4))
    releases = [DemoRelease(_version(rng), start_ms - 9 * DAY_MS), DemoRelease(_version(rng), start_ms - 2 * DAY_MS)]
    at_ms = start_ms + rng.randrange(1, 5) * DAY_MS
    while at_ms < now_ms:
        if not broken.at_ms - DAY_MS < at_ms < mended.at_ms + DAY_MS:
            releases.append(DemoRelease(_version(rng), at_ms + rng.randrange(8 * HOUR_MS, 20 * HOUR_MS)))
        at_ms += rng.randrange(3, 9) * DAY_MS
    return sorted([*releases, broken, mended], key=lambda release: release.at_ms), broken


def _version(rng: random.Random) -> str:
    return f"{rng.getrandbits(28):07x}"


def _version_shares(releases: list[DemoRelease], at_ms: int) -> dict[str, float]:
    """Return the share of users per version: they adopt a release within days, and old tabs stay open."""
    shares = {"dev": 0.02, UNKNOWN: 0.005}
    left = 1 - sum(shares.values())
    known = [release for release in releases if release.at_ms <= at_ms]
    for release in reversed(known[1:]):
        taken_up = left * (1 - math.exp(-(at_ms - release.at_ms) / (20 * HOUR_MS)))
        shares[release.version] = taken_up
        left -= taken_up
    shares[known[0].version] = left
    return {version: share for version, share in shares.items() if share > 0.002}


# --- what ----------------------------------------------------------------------------------------------------


def _scenes(
    hour_ms: int,
    start_ms: int,
    now_ms: int,
    releases: list[DemoRelease],
    broken: DemoRelease,
    wordings: dict[str, list[Wording]],
) -> tuple[list[_Scene], list[float]]:
    """Return the possible scenes of an hour, and the odds of each."""
    common: dict[Fault, float] = {fault: fault.weight for fault in _FAULTS}
    common[_GROWING] = _GROWING.weight * ((hour_ms - start_ms) / (now_ms - start_ms)) ** 2
    if hour_ms >= now_ms - now_ms % DAY_MS:
        common[_NEW_TODAY] = _NEW_TODAY.weight
    scenes: list[_Scene] = []
    odds: list[float] = []
    for version, users in _version_shares(releases, hour_ms).items():
        for model, owners in _MODELS.items():
            is_broken = model == _BROKEN_MODEL and version == broken.version
            failing = _BROKEN_FAILURE_SHARE if is_broken else _FAILURE_SHARE
            # A radio that has not reported its model is not connected.
            faults = [fault for fault in common if model != UNKNOWN or not fault.connected]
            weights = [common[fault] * (40 if is_broken and fault is _NO_ACK else 1) for fault in faults]
            for fault, weight in zip(faults, weights, strict=True):
                fields = fault.event_type.value, model, version, fault.write_mode, fault.connected
                scenes.append(_Scene(*fields, wordings[fault.message]))
                odds.append(users * owners * failing * (1 - _TAIL_SHARE) * weight / sum(weights))
            scenes.append(_Scene("", model, version, 0, 0, []))
            odds.append(users * owners * failing * _TAIL_SHARE)
            if model != UNKNOWN:
                scenes.append(_Scene(SUCCESS, model, version, 1, 1, wordings[_DONE]))
                odds.append(users * owners * (1 - failing))
    return scenes, odds


def _wordings(rng: random.Random) -> dict[str, list[Wording]]:
    """Return the wordings of every message, generated once; each event picks one."""
    wordings = {
        fault.message: [_failure(rng, fault) for _ in range(_WORDINGS)] for fault in [*_FAULTS, _GROWING, _NEW_TODAY]
    }
    wordings[_DONE] = [
        Wording(_DONE, None, None, _lines(_transcript(rng, 128, "verify ok")[-rng.randrange(3, 9) :]))
        for _ in range(_WORDINGS)
    ]
    return wordings


def _tail(rng: random.Random, start_ms: int, days: int) -> _Tail:
    a_day = min(_TAIL_A_DAY, (_TAIL_MOST - _TAIL_AT_FIRST) / days)
    every = [(where, what, why) for where in _TAIL_WHERE for what in _TAIL_WHAT for why in _TAIL_WHY]
    chosen = rng.sample(every, k=_TAIL_AT_FIRST + int(a_day * days))
    types = [EventType.FLASH_ERROR, EventType.CONNECT_ERROR, EventType.WINDOW_ERROR, EventType.UNHANDLED_REJECTION]
    names = ["Error", "ProtocolError", "NetworkError", "TypeError", "RangeError", "TimeoutError"]
    wordings = []
    for number, ((where, frame), what, why) in enumerate(chosen):
        connected = int(why not in ("locked by another tab", "file is truncated"))
        fault = Fault(
            types[number % len(types)], 1, int("read" not in where), connected, rng.choice(names),
            f"{where.capitalize()} {what}: {why}", (frame, "run (ui.ts:88:5)"), why,
        )  # fmt: skip
        lines = _transcript(rng, rng.randrange(8), why) if connected else _prelude(rng, why)
        wordings.append((fault, _wording(fault, fault.message, lines)))
    return _Tail(wordings, _TAIL_AT_FIRST, a_day, start_ms)


def _failure(rng: random.Random, fault: Fault) -> Wording:
    block = rng.randrange(2, 128)
    got = rng.choice(["15", "15", "15", "00", "ff"])
    message = fault.message.format(block=block, address=block * 64, got=got)
    blocks = 0 if "handshake" in fault.frames[0] else block
    last_line = fault.last_line.format(got=got)
    lines = _transcript(rng, blocks, last_line) if fault.connected else _prelude(rng, last_line)
    return _wording(fault, message, lines[-rng.randrange(40, 81) :])


def _wording(fault: Fault, message: str, lines: list[str]) -> Wording:
    stack = "\n    at ".join([f"{fault.error_name}: {message}", *fault.frames])
    return Wording(message, fault.error_name, stack, _lines(lines))


def _prelude(rng: random.Random, last_line: str) -> list[str]:
    language = rng.choice(["en", "de", "es", "pl"])
    return [f"+{rng.randrange(200, 900)} ms page ready", f"language {language}", last_line]


def _transcript(rng: random.Random, blocks: int, last_line: str) -> list[str]:
    at_ms = rng.randrange(80, 400)
    lines = [f"+{at_ms} ms open port 115200", f"+{at_ms + 12} ms TX PROGRAM"]
    for block in range(blocks):
        at_ms += rng.randrange(28, 55)
        lines.append(f"+{at_ms} ms TX block 0x{block:04x}, RX 0x06")
    return [*lines, f"+{at_ms + rng.randrange(40, 2100)} ms {last_line}"]


def _lines(lines: list[str]) -> str:
    return json.dumps(lines, separators=(",", ":"))
