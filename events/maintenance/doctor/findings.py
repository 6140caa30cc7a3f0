"""A finding: one fact about the site, whether it is well, and what to do. Needs no settings."""

from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self


class Level(StrEnum):
    FINE = "fine"
    LOOK = "look"
    WRONG = "wrong"


class Depth(StrEnum):
    """How much a report may read: small queries for a page, some seconds for a command, everything."""

    PAGE = "page"
    COMMAND = "command"
    FULL = "full"


class Finding(NamedTuple):
    """One fact. `name` is stable, for scripts: the section and the fact, such as `database.integrity`."""

    name: str
    title: str
    level: Level
    text: str
    remedy: str = ""

    @classmethod
    def fine(cls, name: str, title: str, text: str) -> Self:
        return cls(name, title, Level.FINE, clean(text))

    @classmethod
    def look(cls, name: str, title: str, text: str, remedy: str) -> Self:
        return cls(name, title, Level.LOOK, clean(text), clean(remedy))

    @classmethod
    def wrong(cls, name: str, title: str, text: str, remedy: str) -> Self:
        return cls(name, title, Level.WRONG, clean(text), clean(remedy))

    @property
    def section(self) -> str:
        return self.name.partition(".")[0]


class ProxyHeaders(NamedTuple):
    """The headers of proxies in one request, without any address."""

    addresses: int  # in X-Forwarded-For
    proto: str  # X-Forwarded-Proto: "http", "https", "other", or "" without the header
    others: tuple[str, ...]  # names of further headers that proxies add


class Examination(NamedTuple):
    """What the checks know: the time, how much they may read, and the proxy headers of the request, if there is one."""

    now: datetime
    depth: Depth
    headers: ProxyHeaders | None = None

    @property
    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)


class Check(NamedTuple):
    """Makes findings of one section. `name` and `title` are those of the finding if the check itself fails."""

    name: str
    title: str
    work: Callable[[Examination], Iterable[Finding]]
    needs_database: bool = True


def clean(text: str) -> str:
    """Return the text as one printable line."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def age(ms: int) -> str:
    """Return a span of time in one unit."""
    seconds = max(ms, 0) // 1_000
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def size(bytes_: float) -> str:
    """Return a number of bytes with a binary unit."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while bytes_ >= 999.5 and len(units) > 1:
        bytes_ /= 1_024
        del units[0]
    return f"{bytes_:.0f} {units[0]}" if units[0] == "B" or bytes_ >= 99.95 else f"{bytes_:.1f} {units[0]}"
