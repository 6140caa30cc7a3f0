"""Generates the events: people visit the app, something fails or not, and some try again within their session."""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS, UNKNOWN
from events.grouping.fingerprints import fingerprint
from events.maintenance.demo import faults, stacks, world
from events.maintenance.demo.faults import Fault
from events.maintenance.demo.stacks import Engine
from events.maintenance.demo.world import DemoRelease, Environment, World
from events.models import EventType, Source
from events.querysets import SUCCESS
from events.rows import EventRow, identified

_TAIL_AT_FIRST = 400
_TAIL_A_DAY = 120  # far below the limit of new groups per day
_TAIL_MOST = 4_000
_TRIES_AGAIN = 0.45
_TRIES_AGAIN_AFTER_PICKER = 0.6
_TRY_SUCCEEDS = 0.75
_MOST_MINUTES = 45  # the longest time until a user tries again
_MODEL_TOLD = 0.5  # Without a connection, half of the pages do not know the model.
_CUT_STACK = 1_200  # The old client cuts stacks.
_METADATA_START = '{"source":"web-v2"'


class Visit(NamedTuple):
    """Somebody who wants to flash a radio."""

    version: str
    release: DemoRelease
    model: str
    environment: Environment
    usb: str


class _Retry(NamedTuple):
    due_ms: int
    session: str
    visit: Visit
    failed: frozenset[str]


def generate(count: int, *, days: int, now_ms: int, seed: int) -> Iterator[EventRow]:
    """Yield `count` demo events, oldest first, over the `days` UTC days that end with `now_ms`."""
    return events(World(days=days, now_ms=now_ms, seed=seed), count)


def events(of: World, count: int) -> Iterator[EventRow]:
    """Yield `count` events of a world, oldest first, with distinct times."""
    rng = of.rng
    writer = _EventWriter(of)
    retries: deque[_Retry] = deque()
    previous_ms = 0
    models, model_weights = list(world.MODELS), list(world.MODELS.values())
    chips, chip_weights = list(world.USB), list(world.USB.values())
    for hour_ms, in_hour in of.by_hour(count):
        versions = of.version_shares(hour_ms)
        code = of.by_version(hour_ms)
        environments = of.environments(hour_ms - hour_ms % DAY_MS)
        end_ms = min(hour_ms + HOUR_MS, of.now_ms)
        moments = sorted(hour_ms + int(rng.random() * (end_ms - hour_ms)) for _ in range(in_hour))
        visits = zip(
            rng.choices(list(versions), list(versions.values()), k=in_hour),
            rng.choices(models, model_weights, k=in_hour),
            rng.choices(list(environments), list(environments.values()), k=in_hour),
            rng.choices(chips, chip_weights, k=in_hour),
            strict=True,
        )
        for moment, (version, model, environment, usb) in zip(moments, visits, strict=True):
            # Distinct milliseconds give the events a defined order.
            previous_ms = max(moment, previous_ms + 1)
            while retries and retries[0].due_ms < previous_ms - _MOST_MINUTES * 60_000:
                retries.popleft()
            # Somebody who tries again takes the place of a new visitor.
            if retries and retries[0].due_ms <= previous_ms:
                retry = retries.popleft()
                row, again = writer.second_try(retry, previous_ms)
            else:
                visit = Visit(version, code[version], model, environment, usb)
                row, again = writer.first_try(visit, previous_ms)
            if again is not None:
                retries.append(again)
            yield row


def fingerprints_of(of: World, fault: Fault) -> list[str]:
    """Return the groups that a fault has in Chrome. They are several if the hash of a bundle looks like words."""
    words = faults.message(fault, Engine.V8, {})
    found = set()
    for release in of.releases:
        frames = faults.frames_of(fault, Engine.V8, of.bundle_of(release).marks, is_bundled=True)
        stack = faults.stack_of(words, frames, fault, Engine.V8)
        found.add(fingerprint(fault.event_type, fault.error_name, words, stack).key)
    return sorted(found)


class _EventWriter:
    """Turns the outcome of a visit into an event."""

    def __init__(self, of: World) -> None:
        self._world = of
        self._rng = of.rng
        self._today_ms = of.now_ms - of.now_ms % DAY_MS
        self._texts = [[faults.texts(of.rng, fault) for _ in range(faults.TEXTS)] for fault in faults.FAULTS]
        self._success_lines = [faults.success_lines(of.rng) for _ in range(faults.TEXTS)]
        self._tail_a_day = min(_TAIL_A_DAY, (_TAIL_MOST - _TAIL_AT_FIRST) / of.days)
        self._tail = faults.tail(of.rng, _TAIL_AT_FIRST + int(self._tail_a_day * of.days))
        self._frames: dict[tuple[int, str, int, Engine], str | None] = {}
        self._tail_texts = [faults.texts(of.rng, fault) for fault in self._tail]
        self._is_vanishing = {release.version: of.is_vanishing(release) for release in of.releases}

    def first_try(self, visit: Visit, at_ms: int) -> tuple[EventRow, _Retry | None]:
        outcomes, limits = faults.odds(self._circumstances(visit, at_ms))
        whole = limits[-1] if visit.environment.circumstances & faults.NO_SERIAL else faults.DONE_WEIGHT
        number = bisect_right(limits, self._rng.random() * whole)
        if number == len(limits):
            return self._success(visit, _session(self._rng, at_ms), at_ms), None
        return self._failure(visit, outcomes[number], _session(self._rng, at_ms), frozenset(), at_ms)

    def second_try(self, retry: _Retry, at_ms: int) -> tuple[EventRow, _Retry | None]:
        """Return how another attempt in the same session ends. A session has each type of event once."""
        if self._rng.random() >= _TRY_SUCCEEDS:
            outcomes, limits = faults.odds(self._circumstances(retry.visit, at_ms))
            fault = outcomes[min(bisect_right(limits, self._rng.random() * limits[-1]), len(limits) - 1)]
            if fault != faults.TAIL and faults.FAULTS[fault].event_type not in retry.failed:
                return self._failure(retry.visit, fault, retry.session, retry.failed, at_ms)
        return self._success(retry.visit, retry.session, at_ms), None

    def _circumstances(self, visit: Visit, at_ms: int) -> int:
        found = visit.environment.circumstances
        release = visit.release
        if visit.usb == world.CP210X and visit.environment.os == "Windows":
            found |= faults.WINDOWS_CP210X
        if visit.model == world.BROKEN_MODEL:
            if visit.version == self._world.broken.version:
                found |= faults.BROKEN
            if self._is_vanishing[release.version]:
                found |= faults.VANISHING
        elif visit.model == world.BOOTLOADER_MODEL:
            found |= faults.PLUS
        if at_ms >= self._today_ms:
            found |= faults.TODAY
        following = release.number + 1
        if following < len(self._world.releases) and self._world.releases[following].at_ms <= at_ms:
            found |= faults.OLD_TAB
        return found

    def _success(self, visit: Visit, session: str, at_ms: int) -> EventRow:
        lines = self._success_lines[int(self._rng.random() * faults.TEXTS)]
        return self._row(
            at_ms, SUCCESS, session, visit, visit.model, 1, 1, (faults.DONE, None, None, lines), visit.usb, "verify"
        )

    def _failure(
        self, visit: Visit, number: int, session: str, failed: frozenset[str], at_ms: int
    ) -> tuple[EventRow, _Retry | None]:
        rng = self._rng
        if number == faults.TAIL:
            known = _TAIL_AT_FIRST + int((at_ms - self._world.start_ms) / DAY_MS * self._tail_a_day)
            rank = min(int(known * rng.random() ** 2.5), len(self._tail) - 1)
            number = len(faults.FAULTS) + rank
            fault, texts = self._tail[rank], self._tail_texts[rank]
        else:
            fault, texts = faults.FAULTS[number], self._texts[number][int(rng.random() * faults.TEXTS)]
        words, stack = self._words_and_stack(number, fault, visit, texts.values)
        model = visit.model if fault.connected or rng.random() < _MODEL_TOLD else UNKNOWN
        row = self._row(
            at_ms, fault.event_type.value, session, visit, model, fault.write_mode, fault.connected,
            (words, fault.error_name, stack, texts.log_lines_json), visit.usb if fault.connected else "", fault.step,
        )  # fmt: skip
        odds = _TRIES_AGAIN_AFTER_PICKER if fault is faults.PICKER_FAULT else _TRIES_AGAIN
        if visit.environment.circumstances & (faults.NO_SERIAL | faults.SNAP) or rng.random() >= odds:
            # Outside of an attempt to flash, the app does not know a session.
            if fault.event_type in (EventType.WINDOW_ERROR, EventType.UNHANDLED_REJECTION) and not failed:
                row = identified(row._replace(session_id=None))
            return row, None
        due_ms = at_ms + 40_000 + int(rng.expovariate(1 / 60_000))
        return row, _Retry(due_ms, session, visit, failed | {fault.event_type.value})

    def _words_and_stack(
        self, number: int, fault: Fault, visit: Visit, values: Mapping[str, object]
    ) -> tuple[str, str | None]:
        engine = visit.environment.engine
        key = number, visit.version, visit.release.number, engine
        if key not in self._frames:
            marks = self._world.bundle_of(visit.release).marks
            self._frames[key] = faults.frames_of(fault, engine, marks, is_bundled=visit.version != world.DEV)
        if fault is faults.IMPORT_FAULT:
            values = {"file": f"{stacks.SITE}{self._lazy_file(visit.release)}"}
        words = faults.message(fault, engine, values)
        stack = faults.stack_of(words, self._frames[key], fault, engine)
        return words, stack if stack is None or visit.release.has_facets else stack[:_CUT_STACK]

    def _lazy_file(self, release: DemoRelease) -> str:
        return next(chunk.file for chunk in self._world.bundle_of(release).chunks if chunk.file.startswith("channels-"))

    def _row(
        self, at_ms: int, event_type: str, session: str, visit: Visit, model: str, write_mode: int, connected: int,
        texts: tuple[str, str | None, str | None, str], usb: str, step: str,
    ) -> EventRow:  # fmt: skip
        occurred_at = _iso(at_ms - 30 - int(self._rng.expovariate(0.008)))
        has_facets = visit.release.has_facets and visit.version != UNKNOWN
        metadata = _metadata(visit.environment, usb, step) if has_facets else f"{_METADATA_START}}}"
        row = EventRow(
            "", at_ms, occurred_at, event_type, session, model, write_mode, connected, visit.version, *texts, metadata,
            Source.DEMO.value,
        )  # fmt: skip
        return identified(row)


@lru_cache(maxsize=4_096)
def _metadata(environment: Environment, usb: str, step: str) -> str:
    chip = f',"usb":"{usb}"' if usb else ""
    return f'{_METADATA_START},"browser":"{environment.browser}","os":"{environment.os}"{chip},"step":"{step}"}}'


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
