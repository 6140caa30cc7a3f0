"""The faults of the invented app: how often each occurs, to whom, and its words in three engines."""

import json
import random
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from events.maintenance.demo import stacks
from events.maintenance.demo.bundles import Mark
from events.maintenance.demo.stacks import Engine
from events.models import EventType

# The number of texts per fault, with different values and log lines; each event uses one of them.
TEXTS = 64
DONE = "Flash complete"
DONE_WEIGHT = 1_000.0

# --- circumstances: bits that change the weight of some faults -------------------------------------------------

WINDOWS_CP210X = 1  # its old driver loses the first bytes
SNAP = 2  # Chromium as a snap package, which may not open serial ports
NO_SERIAL = 4  # a browser without Web Serial: Safari, Firefox before it had one, Android
BAD_BROWSER = 8  # the release of Chrome on Windows that loses data
BROKEN = 16  # the model that the bad release breaks, with that release
VANISHING = 32  # versions and models with the fault that was fixed and came back
PLUS = 64  # the model of which two bootloaders are sold
TODAY = 128
OLD_TAB = 256  # a tab that is older than the newest release: its lazy chunks are gone


class Fault(NamedTuple):
    """One kind of failure.

    `weight` is per thousand visits. `boosts` multiplies it under a circumstance; with `only`, other visits never have
    the fault. `words` are the messages of V8, Gecko and WebKit. They may contain `{block}`, `{address}`, `{got}` and
    `{file}`. `trail` names the marks of the calls, the innermost first. `shown` tells for each engine whether its
    stack has frames ("frames"), only the message ("header"), or is missing ("none").
    """

    event_type: EventType
    weight: float
    write_mode: int
    connected: int
    step: str
    error_name: str | None
    words: tuple[str, str, str]
    trail: tuple[str, ...]
    last_line: str
    is_own: bool = True
    shown: tuple[str, str, str] = ("frames", "frames", "frames")
    boosts: tuple[tuple[int, float], ...] = ()
    only: int = 0
    needs_serial: bool = True


def _same(words: str) -> tuple[str, str, str]:
    return words, words, words


_NUMBER = {engine: number for number, engine in enumerate(Engine)}
_FLASH = ("flash-radio", "attempt")
_HEADER = ("header", "none", "none")
_NONE = ("none", "none", "none")

FAULTS = [
    Fault(
        EventType.FLASH_ERROR, 22, 1, 1, "write", "ProtocolError",
        _same("No ACK for block 0x{block:04x} (got 0x{got})"),
        ("no-ack", "flash-write", *_FLASH), "RX 0x{got}",
    ),
    Fault(
        EventType.FLASH_ERROR, 11, 1, 1, "handshake", "ProtocolError", _same("Handshake timed out after 3 attempts"),
        ("handshake", "flash-handshake", *_FLASH), "RX timeout", boosts=((WINDOWS_CP210X, 5),),
    ),
    Fault(
        EventType.FLASH_ERROR, 6, 0, 1, "read", "TimeoutError", _same("Read timed out at {address} after 2000 ms"),
        ("queue-timeout",), "RX timeout", is_own=False,
    ),
    Fault(
        EventType.FLASH_ERROR, 4, 1, 1, "verify", "ProtocolError",
        _same("Verify failed at 0x{address:04x}: read 0x{got}"),
        ("verify", "flash-verify", *_FLASH), "verify failed",
    ),
    Fault(
        EventType.FLASH_ERROR, 400, 1, 1, "verify", "ProtocolError", _same("Radio rejected the clock setting"),
        ("clock", "flash-clock", *_FLASH), "RX 0x15", only=BROKEN,
    ),
    Fault(
        EventType.FLASH_ERROR, 40, 1, 1, "write", "BufferOverrunError", _same("Buffer overrun after {block} blocks"),
        ("overrun",), "RX overrun", only=BAD_BROWSER,
    ),
    Fault(
        EventType.FLASH_ERROR, 110, 1, 1, "write", "PortLostError", _same("Port vanished while writing"),
        ("vanished", "bytes-write", "flash-write", *_FLASH), "port disconnected", only=VANISHING,
    ),
    Fault(
        EventType.FLASH_ERROR, 10, 1, 1, "handshake", "WrongBootloaderError",
        _same("Wrong bootloader: image needs revision 3, radio has 2"),
        ("bootloader", "flash-revision", *_FLASH), "RX 0x49 0x02", only=PLUS,
    ),
    Fault(
        EventType.CONNECT_ERROR, 32, 0, 0, "connect", "NotFoundError",
        ("Failed to execute 'requestPort' on 'Serial': No port selected by the user.", "No port selected", ""),
        ("request-port",), "ask for a port", is_own=False, shown=_HEADER,
    ),
    Fault(
        EventType.CONNECT_ERROR, 8, 0, 0, "connect", "NetworkError",
        ("Failed to execute 'open' on 'SerialPort': Failed to open serial port.", "Failed to open serial port", ""),
        ("port-open",), "open failed", is_own=False, shown=_HEADER, boosts=((SNAP, 45),),
    ),
    Fault(
        EventType.CONNECT_ERROR, 520, 0, 0, "connect", "TypeError",
        (
            "Cannot read properties of undefined (reading 'requestPort')",
            "can't access property \"requestPort\", navigator.serial is undefined",
            "undefined is not an object (evaluating 'navigator.serial.requestPort')",
        ),
        ("request-port", "connect-chooses", "connect-radio", "attempt", "on-click"), "ask for a port",
        is_own=False, only=NO_SERIAL, needs_serial=False,
    ),
    Fault(
        EventType.WINDOW_ERROR, 4, 0, 0, "read", "TypeError",
        (
            "Cannot read properties of undefined (reading 'channels')",
            'can\'t access property "channels", this.zones[{zone}] is undefined',
            "undefined is not an object (evaluating 'this.zones[{zone}].channels')",
        ),
        ("channels-in", "render-channels", "zone-input"), "open the editor", is_own=False, needs_serial=False,
        boosts=((NO_SERIAL, 30),),
    ),
    Fault(
        EventType.WINDOW_ERROR, 2, 1, 1, "write", "TypeError",
        (
            "Cannot set properties of null (setting 'textContent')",
            'can\'t access property "textContent", document.querySelector(...) is null',
            "",
        ),
        ("set-progress", "flash-progress", *_FLASH), "page was left", is_own=False,
    ),
    Fault(
        EventType.WINDOW_ERROR, 3, 0, 0, "connect", None,
        _same("ResizeObserver loop completed with undelivered notifications."), (), "page ready",
        is_own=False, shown=_NONE, needs_serial=False, boosts=((NO_SERIAL, 5),),
    ),
    Fault(
        EventType.WINDOW_ERROR, 1, 0, 0, "connect", None, _same("Script error."), (), "page ready",
        is_own=False, shown=_NONE, needs_serial=False,
    ),
    Fault(
        EventType.UNHANDLED_REJECTION, 5, 1, 1, "write", "NetworkError",
        ("The device has been lost.", "The device has been lost", ""),
        ("reader-read",), "port disconnected", is_own=False, shown=_HEADER,
    ),
    Fault(
        EventType.UNHANDLED_REJECTION, 2, 0, 0, "connect", "AbortError",
        ("signal is aborted without reason", "The operation was aborted. ", "Fetch is aborted"),
        ("catalog-fetch",), "firmware list asked for", is_own=False, shown=_HEADER, needs_serial=False,
        boosts=((NO_SERIAL, 20),),
    ),
    Fault(
        EventType.UNHANDLED_REJECTION, 3, 0, 0, "connect", "TypeError",
        ("Failed to fetch", "NetworkError when attempting to fetch resource.", "Load failed"),
        ("catalog-fetch", "load-catalog"), "firmware list asked for", is_own=False,
        shown=("frames", "none", "none"), needs_serial=False, boosts=((NO_SERIAL, 20),),
    ),
    Fault(
        EventType.FLASH_ERROR, 5, 0, 1, "read", "TypeError",
        (
            "Failed to fetch dynamically imported module: {file}",
            "error loading dynamically imported module: {file}",
            "Importing a module script failed.",
        ),
        ("import-editor",), "open the editor", is_own=False, shown=_HEADER, only=OLD_TAB,
    ),
    Fault(
        EventType.FLASH_ERROR, 18, 1, 1, "handshake", "InvalidStateError",
        _same("Bootloader answered with an unknown revision"),
        ("identify", "flash-identify", *_FLASH), "RX 0x7f", only=TODAY,
    ),
]  # fmt: skip
HANDSHAKE_FAULT = FAULTS[1]
BROKEN_FAULT = FAULTS[4]
RETURNING_FAULT, BOOTLOADER_FAULT, PICKER_FAULT = FAULTS[6:9]
IMPORT_FAULT = FAULTS[-2]

# The long tail: failures of one or two people. Each combination of these parts is a separate message.
TAIL = -1
TAIL_WEIGHT = 15.0
_TAIL_WHERE = [
    ("Erase", ("erase", "flash-erase", *_FLASH)), ("Block write", ("write-odd", "flash-write", *_FLASH)),
    ("Reboot", ("reboot", "flash-reboot", *_FLASH)), ("Calibration backup", ("calibration", "backup-checks")),
    ("Channel table", ("pack-channels", "Array.forEach", "save-channels")),
    ("Zone table", ("pack-zones", "save-zones")),
    ("Scan list", ("pack-scan-lists", "save-scan-lists")), ("Boot picture", ("pack-picture", "save-picture")),
    ("Contact list", ("pack-contacts", "Array.forEach", "save-contacts")),
    ("Firmware download", ("firmware", "load-image", "attempt")),
    ("Signature check", ("signature", "firmware-check", "load-image", "attempt")),
]  # fmt: skip
_TAIL_WHAT = [
    "unexpected tag", "offset out of range", "length out of range", "name has no encoding", "table is full",
    "duplicate entry", "reply too short", "reply too long", "parity error", "framing error", "break received",
    "out of memory", "file is truncated", "file is for another model", "wrong region", "wrong revision",
    "locked by another tab", "page was hidden", "driver reset", "voltage too low", "unknown letter", "wrong checksum",
    "no free slot", "missing header", "size differs", "radio turned off", "radio is transmitting",
]  # fmt: skip
_TAIL_DETAIL = [
    "", " (first pass)", " (second pass)", " after a retry", " on bank A", " on bank B", " in the lower half",
    " in the upper half", " before the first block", " after the last block", " while the cable moved", " in safe mode",
    " with the new layout", " with the old layout",
]  # fmt: skip


def tail(rng: random.Random, count: int) -> list[Fault]:
    """Return that many rare faults, or all of them, in the order in which they can first occur."""
    every = [(where, what, detail) for where in _TAIL_WHERE for what in _TAIL_WHAT for detail in _TAIL_DETAIL]
    types = [EventType.FLASH_ERROR, EventType.WINDOW_ERROR, EventType.FLASH_ERROR, EventType.UNHANDLED_REJECTION]
    return [
        Fault(
            types[number % len(types)], 1, 1, int("check" not in where), "write", "RadioError",
            _same(f"{where}: {what}{detail}"), ("fail", *trail), what,
        )
        for number, ((where, trail), what, detail) in enumerate(rng.sample(every, k=min(count, len(every))))
    ]  # fmt: skip


# --- odds ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1_024)
def odds(circumstances: int) -> tuple[list[int], list[float]]:
    """Return the possible faults of a visit, as numbers in FAULTS, and their cumulative weights. TAIL is any rare one.

    The rest up to DONE_WEIGHT is a success.
    """
    outcomes: list[int] = []
    limits: list[float] = []
    total = 0.0
    for number, fault in enumerate(FAULTS):
        weight = _weight(fault, circumstances)
        if weight:
            total += weight
            outcomes.append(number)
            limits.append(total)
    if not circumstances & NO_SERIAL:
        total += TAIL_WEIGHT
        outcomes.append(TAIL)
        limits.append(total)
    return outcomes, limits


def _weight(fault: Fault, circumstances: int) -> float:
    if (fault.needs_serial and circumstances & NO_SERIAL) or (fault.only and not circumstances & fault.only):
        return 0.0
    weight = fault.weight
    for circumstance, factor in fault.boosts:
        if circumstances & circumstance:
            weight *= factor
    return weight


# --- texts ---------------------------------------------------------------------------------------------------


class EventTexts(NamedTuple):
    """The values and the log lines of an event."""

    values: dict[str, object]
    log_lines_json: str


def texts(rng: random.Random, fault: Fault) -> EventTexts:
    block = rng.randrange(2, 128)
    got = rng.choice(["15", "15", "15", "00", "ff"])
    values: dict[str, object] = {
        "block": block, "address": block * 64, "got": got, "zone": "e",
    }  # fmt: skip
    blocks = 0 if fault.step == "handshake" else block
    last_line = fault.last_line.format(**values)
    lines = _transcript(rng, blocks, last_line) if fault.connected else _prelude(rng, last_line)
    return EventTexts(values, _json(lines[-rng.randrange(40, 81) :]))


def success_lines(rng: random.Random) -> str:
    return _json(_transcript(rng, 128, "verify ok")[-rng.randrange(3, 9) :])


def message(fault: Fault, engine: Engine, values: Mapping[str, object]) -> str:
    words = fault.words[_NUMBER[engine]]
    return words.format(**values) if "{" in words else words


def stack_of(words: str, frames: str | None, fault: Fault, engine: Engine) -> str | None:
    """Return the stack of a failure with these words, as the engine writes it. `frames` is from `frames_of`."""
    if frames is None or engine != Engine.V8:
        return frames
    # V8 writes the header when the error is made; the app sets the name of its own errors afterwards.
    name = "Error" if fault.is_own or fault.error_name == "TimeoutError" else fault.error_name
    return f"{name}: {words}{frames}"


def frames_of(fault: Fault, engine: Engine, marks: Mapping[str, Mark], *, is_bundled: bool) -> str | None:
    """Return the frames of a fault as text, or None where the engine gives no stack."""
    shown = fault.shown[_NUMBER[engine]]
    if shown == "none":
        return None
    lines = []
    if shown == "frames":
        if fault.is_own:
            lines += stacks.constructor(marks, engine, is_bundled=is_bundled)
        lines += stacks.frames(marks, fault.trail, engine, is_bundled=is_bundled)
    if engine == Engine.V8:
        return "".join(f"\n    {line}" for line in lines)
    # Firefox ends every line with a line break, Safari only separates them.
    return "\n".join(lines) + ("\n" if engine == Engine.GECKO else "")


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


def _json(lines: list[str]) -> str:
    return json.dumps(lines, separators=(",", ":"))
