"""Waits that may take so long and no longer."""

import asyncio
from typing import Any

import pytest

from telemetry_site.server.deadlines import Deadlines


async def after(seconds: float, result: str) -> str:
    await asyncio.sleep(seconds)
    return result


def test_what_comes_in_time_is_returned() -> None:
    async def run() -> list[str]:
        deadlines = Deadlines(30, asyncio.get_running_loop())
        return await asyncio.gather(*(deadlines.within(after(0.01, str(number))) for number in range(3)))

    assert asyncio.run(run()) == ["0", "1", "2"]


def test_what_takes_too_long_times_out_and_its_task_goes_on() -> None:
    async def one(deadlines: Deadlines) -> str:
        try:
            return await deadlines.within(after(60, "too late"))
        except TimeoutError:
            await asyncio.sleep(0.01)  # is no longer being cancelled
            return "told"

    async def run() -> list[str]:
        deadlines = Deadlines(0.1, asyncio.get_running_loop())
        async with asyncio.timeout(20):
            return await asyncio.gather(one(deadlines), one(deadlines), deadlines.within(after(0.01, "in time")))

    assert asyncio.run(run()) == ["told", "told", "in time"]


def test_a_task_that_others_end_is_not_told_as_late() -> None:
    async def run() -> Any:
        deadlines = Deadlines(30, asyncio.get_running_loop())
        task = asyncio.create_task(deadlines.within(after(60, "never")))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return deadlines._deadlines

    assert asyncio.run(run()) == {}


def test_what_fails_in_time_says_so() -> None:
    async def fail() -> None:
        raise ValueError("the client is gone")

    async def run() -> None:
        await Deadlines(30, asyncio.get_running_loop()).within(fail())

    with pytest.raises(ValueError, match="gone"):
        asyncio.run(run())
