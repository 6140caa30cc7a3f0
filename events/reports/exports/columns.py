"""The columns of an export: the name of each, and the kind of its values."""

from enum import Enum, auto
from typing import Any, NamedTuple

Row = tuple[Any, ...]


class Kind(Enum):
    """What the values of a column are, and so how each format writes them. None is an empty cell."""

    TEXT = auto()
    NUMBER = auto()
    MOMENT = auto()  # epoch milliseconds
    TIME = auto()  # a text in ISO 8601, UTC
    DAY = auto()  # a `date`
    JSON = auto()  # a text that should be JSON


class Column(NamedTuple):
    """`name` is the key in NDJSON and in stored exports. CSV and XLSX have `heading` in the first row instead.

    The heading of a key contains the version of the format: it changes when the meaning of a column changes.
    """

    name: str
    kind: Kind = Kind.TEXT
    key_heading: str = ""

    @property
    def heading(self) -> str:
        return self.key_heading or self.name


def texts(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names)


def numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, Kind.NUMBER) for name in names)
