"""Typed reads of the environment; the only place that reads it.

A value that cannot be read is not guessed at: every such fault is collected,
and `settings.py` ends with `refuse_faults()`, which names them all at once.
"""

import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

PROJECT_DIR = Path(__file__).resolve().parent.parent

_env = environ.Env()
_faults: list[str] = []

# A developer's .env must not decide what the tests see.
if "PYTEST_VERSION" not in os.environ:
    environ.Env.read_env(PROJECT_DIR / ".env")


def _read(name: str, default: T, parse: Callable[[str], T], expected: str) -> T:
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    try:
        return parse(raw)
    except ValueError:
        _faults.append(f"  {name}={raw!r} is not {expected}.")
        return default


def text(name: str, default: str) -> str:
    return _read(name, default, str, "text")


def flag(name: str, default: bool) -> bool:
    return _read(name, default, _parse_flag, "0 or 1")


def integer(name: str, default: int, *, least: int, most: int) -> int:
    def parse(raw: str) -> int:
        value = int(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return _read(name, default, parse, f"a whole number from {least} to {most}")


def path(name: str, default: Path) -> Path:
    return _read(name, default, lambda raw: Path(raw).expanduser().resolve(), "a path")


def words(name: str, default: list[str]) -> list[str]:
    return _read(name, default, lambda raw: [word.strip() for word in raw.split(",") if word.strip()], "a list")


def names(name: str, *, most: int, max_length: int) -> frozenset[str]:
    """Read a comma-separated list of names that events can carry."""

    def parse(raw: str) -> frozenset[str]:
        found = frozenset(word.strip() for word in raw.split(",")) - {""}
        if len(found) > most or any(len(word) > max_length or not word.isprintable() for word in found):
            raise ValueError
        return found

    expected = f"a comma-separated list of at most {most} names of at most {max_length} characters"
    return _read(name, frozenset(), parse, expected)


def origins(name: str, default: list[str]) -> list[str]:
    """Read comma-separated origins; a trailing slash is forgiven, a path is not."""
    return _read(
        name,
        default,
        lambda raw: [_parse_origin(word.strip()) for word in raw.split(",") if word.strip()],
        "a comma-separated list of origins such as https://example.org",
    )


def origin(name: str, default: str) -> str:
    return _read(name, default, _parse_origin, "an address such as https://telemetry.example.org")


def day(name: str) -> date | None:
    return _read(name, None, date.fromisoformat, "a date such as 2027-01-31")


def rate(name: str, default: str | None) -> str | None:
    """Read `120/m` (s, m, h or d); `off` is None."""
    return _read(name, default, _parse_rate, "a rate such as 120/m, or off")


def database(name: str, default: dict[str, Any]) -> dict[str, Any]:
    raw = _read(name, "", _parse_scheme("postgres", "postgresql"), "a postgres:// address")
    return dict(_env.db_url_config(raw)) if raw else default


def cache_url(name: str) -> str:
    return _read(name, "", _parse_scheme("redis", "rediss"), "a redis:// address")


def make_folder(name: str, folder: Path) -> None:
    """Make a folder for its owner alone; raises ImproperlyConfigured, since nothing works without it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ImproperlyConfigured(f"  {name}={str(folder)!r} cannot be used: {error.strerror}.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"  {name}={str(folder)!r} cannot be written.")


def refuse_faults() -> None:
    """Raise ImproperlyConfigured that names every value which could not be read."""
    if _faults:
        words = "\n".join(_faults)
        _faults.clear()  # Django imports settings that failed once more
        raise ImproperlyConfigured(f"{words}\nEvery variable is told in docs/settings.md.")


def _parse_flag(raw: str) -> bool:
    value = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if raw.lower() not in value:
        raise ValueError
    return value[raw.lower()]


def _parse_origin(raw: str) -> str:
    parts = urlsplit(raw.rstrip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError
    return f"{parts.scheme}://{parts.netloc}".lower()


def _parse_rate(raw: str) -> str | None:
    if raw.lower() == "off":
        return None
    if not re.fullmatch(r"[1-9]\d{0,8}/[1-9]?\d{0,3}[smhd]", raw):
        raise ValueError
    return raw


def _parse_scheme(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if urlsplit(raw).scheme not in schemes:
            raise ValueError
        return raw

    return parse
