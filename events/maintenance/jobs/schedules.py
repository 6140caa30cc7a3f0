"""When a job is due. All times are UTC."""

from calendar import day_name
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol


class Schedule(Protocol):
    """When a job is due. `str()` of a schedule describes it to people."""

    def next_after(self, time: datetime) -> datetime:
        """Return the first time after `time` at which the job is due."""


class Every(NamedTuple):
    """Due once in each period of `minutes`, counted from the last start."""

    minutes: int

    def next_after(self, time: datetime) -> datetime:
        return time + timedelta(minutes=self.minutes)

    def __str__(self) -> str:
        hours, minutes = divmod(self.minutes, 60)
        if minutes:
            return "every minute" if self.minutes == 1 else f"every {self.minutes} minutes"
        return "every hour" if hours == 1 else f"every {hours} hours"


class Daily(NamedTuple):
    hour: int
    minute: int

    def next_after(self, time: datetime) -> datetime:
        today = time.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        return today if today > time else today + timedelta(days=1)

    def __str__(self) -> str:
        return f"daily at {self.hour:02}:{self.minute:02} UTC"


class Weekly(NamedTuple):
    """Due on one day of the week; `weekday` counts from Monday = 0."""

    weekday: int
    hour: int
    minute: int

    def next_after(self, time: datetime) -> datetime:
        first = Daily(self.hour, self.minute).next_after(time)
        return first + timedelta(days=(self.weekday - first.weekday()) % 7)

    def __str__(self) -> str:
        return f"{day_name[self.weekday]}s at {self.hour:02}:{self.minute:02} UTC"
