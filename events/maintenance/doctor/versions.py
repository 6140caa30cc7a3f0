"""Findings about the versions of the site, its language, its packages and its machine. Needs no settings."""

import platform
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from events.maintenance import container
from events.maintenance.doctor.findings import Finding

PINS = Path(__file__).resolve().parents[3] / "requirements.txt"
PYTHONS = ((3, 11), (3, 13))
SHOWN = 5


def versions(site: str) -> Iterator[Finding]:
    yield Finding.fine("versions.site", "Site", site)
    yield _python(sys.version_info[:2])
    yield from (
        Finding.fine(f"versions.{package}", title, metadata.version(package))
        for package, title in (("django", "Django"), ("granian", "Granian"))
    )
    yield _packages()
    yield Finding.fine("versions.system", "System", _system())
    yield Finding.fine("versions.container", "Container", container.engine() or "none")


def _python(version: tuple[int, int]) -> Finding:
    text = f"{platform.python_version()} ({platform.python_implementation()})"
    if PYTHONS[0] <= version <= PYTHONS[1]:
        return Finding.fine("versions.python", "Python", text)
    return Finding.look(
        "versions.python",
        "Python",
        f"{text}; the site is tested on 3.11 to 3.13",
        "Create the virtual environment again with one of these versions.",
    )


@cache
def _packages() -> Finding:
    """Compare the installed packages with requirements.txt, which pins all of them."""
    differing = []
    pins = _pins()
    for name, wanted in pins.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # for another version of Python
        if installed not in wanted:
            differing.append(f"{name} {installed} instead of {' or '.join(sorted(wanted))}")
    if not differing:
        return Finding.fine("versions.packages", "Packages", f"as in requirements.txt ({len(pins)})")
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return Finding.look(
        "versions.packages",
        "Packages",
        f"{', '.join(differing[:SHOWN])}{more}",
        "Run `make install`, or `pip install --require-hashes -r requirements.txt`, and restart the site.",
    )


def _pins() -> dict[str, set[str]]:
    try:
        text = PINS.read_text(encoding="utf-8")
    except OSError:
        return {}
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    return pins


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}, {platform.machine()}"
