"""The threads behind the event loop: who is woken, and that nobody is forgotten."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from telemetry_site.server import threads
from telemetry_site.server.threads import ThreadPool, Unfinished

SIZE = 8
ENOUGH_SECONDS = 20.0


def with_pool(work: Callable[[ThreadPool], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        pool = ThreadPool(SIZE, asyncio.get_running_loop())
        async with asyncio.timeout(ENOUGH_SECONDS):
            return await work(pool)

    return asyncio.run(run())


def meet(barrier: threading.Barrier) -> int:
    barrier.wait(ENOUGH_SECONDS)
    return threading.get_ident()


def test_calls_that_come_one_after_the_other_run_in_one_thread() -> None:
    async def work(pool: ThreadPool) -> Counter[int]:
        barrier = threading.Barrier(SIZE)
        await asyncio.gather(*(pool.run(meet, barrier) for _ in range(SIZE)))  # all have begun
        seen: Counter[int] = Counter()
        for _ in range(100):
            await asyncio.sleep(0.002)  # mostly enough for a thread to rest again
            seen[await pool.run(threading.get_ident)] += 1
        return seen

    (_, calls), *_ = with_pool(work).most_common(1)
    assert calls > 50


def test_as_many_calls_as_threads_run_at_once() -> None:
    async def work(pool: ThreadPool) -> set[int]:
        barrier = threading.Barrier(SIZE)
        return set(await asyncio.gather(*(pool.run(meet, barrier) for _ in range(SIZE))))

    for _ in range(20):
        assert len(with_pool(work)) == SIZE


def test_calls_beyond_the_threads_wait_and_are_counted_as_waiting() -> None:
    async def work(pool: ThreadPool) -> tuple[int, list[int]]:
        gate = threading.Event()
        blocked = [pool.run(gate.wait, ENOUGH_SECONDS) for _ in range(SIZE)]
        done: list[int] = []
        more = [pool.run(done.append, number) for number in range(5)]
        while pool.waiting > len(more):
            await asyncio.sleep(0.001)
        waiting = pool.waiting
        gate.set()
        await asyncio.gather(*blocked, *more)
        return waiting, done

    waiting, done = with_pool(work)
    assert waiting == 5
    assert sorted(done) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(4))
def test_no_call_is_forgotten_whenever_it_comes(seed: int) -> None:
    chance = random.Random(seed)

    async def client(pool: ThreadPool, number: int) -> list[int]:
        got = []
        for step in range(100):
            seconds = chance.choice([0, 0, 0.0001, 0.001])
            got.append(await pool.run(lambda step=step, seconds=seconds: (time.sleep(seconds), step)[1]))
            await asyncio.sleep(chance.choice([0, 0, 0.0005]))
        return got

    async def work(pool: ThreadPool) -> list[list[int]]:
        return await asyncio.gather(*(client(pool, number) for number in range(2 * SIZE)))

    assert with_pool(work) == [list(range(100))] * (2 * SIZE)


def test_what_a_call_raises_is_raised_where_it_was_asked_for() -> None:
    async def work(pool: ThreadPool) -> Any:
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        return await pool.run(lambda: "still there")

    assert with_pool(work) == "still there"


def test_a_thread_finishes_its_calls_when_no_other_call_is_queued() -> None:
    order: list[str] = []

    def begin(number: int) -> Unfinished:
        order.append(f"begin {number}")
        return Unfinished(lambda: finish(number))

    def finish(number: int) -> int:
        order.append(f"finish {number}")
        return 1 // (number - 1)  # fails for the second call

    async def run() -> list[Any]:
        pool = ThreadPool(1, asyncio.get_running_loop())
        gate = threading.Event()
        opened = pool.run(gate.wait, ENOUGH_SECONDS)
        calls = [pool.run(begin, number) for number in range(3)]
        gate.set()
        async with asyncio.timeout(ENOUGH_SECONDS):
            await opened
            return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert order == [*(f"begin {number}" for number in range(3)), *(f"finish {number}" for number in range(3))]
    assert (first, type(second), third) == (-1, ZeroDivisionError, 1)


def test_unanswered_calls_are_counted_until_they_are_finished() -> None:
    gate = threading.Event()

    async def run() -> tuple[int, int]:
        pool = ThreadPool(2, asyncio.get_running_loop(), late_seconds=10)
        calls = [pool.run(lambda: Unfinished(lambda: gate.wait(ENOUGH_SECONDS) and None)) for _ in range(5)]
        while pool.waiting:
            await asyncio.sleep(0.001)
        before = pool.unanswered
        gate.set()
        deadline = time.monotonic() + ENOUGH_SECONDS
        while pool.unanswered and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        return before, sum(call.done() for call in calls)

    assert asyncio.run(run()) == (5, 5)


def test_awake_threads_take_the_calls_and_a_call_that_waits_wakes_another_thread() -> None:
    async def run() -> tuple[int, set[int]]:
        pool = ThreadPool(SIZE, asyncio.get_running_loop(), late_seconds=0.05, most_awake=2)
        async with asyncio.timeout(ENOUGH_SECONDS):
            while len(pool._idle) < SIZE:
                await asyncio.sleep(0.001)
            few = await asyncio.gather(*(pool.run(lambda: threading.get_ident()) for _ in range(50)))
            barrier = threading.Barrier(SIZE)  # needs every thread
            all_of_them = await asyncio.gather(*(pool.run(meet, barrier) for _ in range(SIZE)))
        return len(set(few)), set(all_of_them)

    few, all_of_them = asyncio.run(run())
    assert few <= 3  # two, and one that the timer may wake on a busy machine
    assert len(all_of_them) == SIZE


@pytest.mark.parametrize("seconds", [0.0, 0.03])
def test_a_late_completion_is_reported_without_another_call(seconds: float) -> None:
    async def run() -> list[Any]:
        pool = ThreadPool(SIZE, asyncio.get_running_loop(), late_seconds=0.01)
        async with asyncio.timeout(ENOUGH_SECONDS):
            return [
                await pool.run(time.sleep, seconds),
                await pool.run(lambda: "at once"),
                *await asyncio.gather(pool.run(time.sleep, seconds), pool.run(time.sleep, 2 * seconds)),
            ]

    assert asyncio.run(run()) == [None, "at once", None, None]


def test_a_loop_that_waits_for_nothing_is_not_woken() -> None:
    async def run() -> int:
        loop = asyncio.get_running_loop()
        pool = ThreadPool(SIZE, loop, late_seconds=0.01)
        await pool.run(time.sleep, 0)
        await asyncio.sleep(0.1)
        return len(loop._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(run()) == 0


def test_nobody_waits_for_a_thread_whose_connection_takes_long_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging: set[int] = set()
    hangs, end = threading.Event(), threading.Event()

    def close() -> None:
        if threading.get_ident() in hanging:
            hangs.set()
            end.wait(ENOUGH_SECONDS)

    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(threads, "close_old_connections", close)

    async def work(pool: ThreadPool) -> list[int]:
        hanging.add(await pool.run(threading.get_ident))  # would be the next to be woken
        while not hangs.is_set():
            await asyncio.sleep(0.01)
        return [await pool.run(lambda step=step: step) for step in range(50)]

    try:
        assert with_pool(work) == list(range(50))
    finally:
        end.set()
