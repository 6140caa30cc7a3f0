"""The values that a process reads again after some seconds."""

from datetime import UTC, datetime, timedelta

from events import process_memory
from events.process_memory import Recent

NOW = datetime(2026, 2, 12, 10, 30, tzinfo=UTC)


def test_a_value_is_read_again_after_its_time_and_after_a_jump_of_the_clock() -> None:
    recent: Recent[int] = Recent(5)
    reads = iter(range(10))

    def read_at(seconds: float, key: str = "a") -> int:
        return recent.get(key, NOW + timedelta(seconds=seconds), lambda: next(reads))

    assert [read_at(0), read_at(4.9), read_at(5), read_at(9.9), read_at(-60)] == [0, 0, 1, 1, 2]
    assert [read_at(-60, "b"), read_at(-60)] == [3, 2]
    process_memory.clear()
    assert read_at(-60) == 4


def test_the_number_of_keys_is_limited() -> None:
    recent: Recent[int] = Recent(5)
    for key in range(100):
        assert recent.get(key, NOW, lambda key=key: key) == key
    assert len(recent._kept) <= Recent.MOST_KEYS
