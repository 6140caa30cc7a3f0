"""Findings about the settings: the variables that are set, without secrets, and faults in their combinations."""

import os
import re
from collections.abc import Iterator

from django.conf import settings
from django.core.checks import ERROR
from django.core.exceptions import ImproperlyConfigured

from events import clock
from events.maintenance.doctor import report, versions
from events.maintenance.doctor.findings import Check, Examination, Finding
from events.maintenance.doctor.report import Report
from telemetry_site import __version__, checks, env


def doctor_checks() -> tuple[Check, ...]:
    return (
        Check("settings.checks", "Checks", combinations, needs_database=False),
        Check("settings.secret_key", "Secret key", secret_key, needs_database=False),
        Check("settings.set", "Variables", lambda _: variables(), needs_database=False),
    )


def faults(text: str) -> Iterator[Finding]:
    """Yield a finding for each line of the error that lists the faults of the configuration."""
    lines = [line for line in text.splitlines() if line.startswith("  ")] or text.splitlines()
    for line in lines:
        name = "".join(re.findall(r"^\s*([A-Z0-9_]+)\b", line))
        yield Finding.wrong(
            "settings.invalid",
            name or "Settings",
            line.strip().removeprefix(name).lstrip("=: ").removesuffix("."),
            "Correct the value in the environment or in `.env`: docs/settings.md. The site does not start before.",
        )


def report_without_settings(error: Exception) -> Report:
    """Return the report of a site whose settings cannot be loaded: the versions, and why."""
    if isinstance(error, ImproperlyConfigured):
        found = [*faults(str(error)), *variables()]
    else:
        found = [
            Finding.wrong(
                "settings.invalid",
                "Settings",
                f"they cannot be loaded: {report.place_of(error)}",
                "Run `manage.py check`, which shows the error. If it is a fault of the site, report it.",
            )
        ]
    return report.of_findings(__version__, clock.now(), [*versions.versions(__version__), *found])


def combinations(examination: Examination) -> Iterator[Finding]:
    messages = checks.check_settings() if os.path.exists(settings.DATA_DIR) else []
    for message in messages:
        make = Finding.wrong if message.level >= ERROR else Finding.look
        yield make(
            "settings.checks",
            f"Check {str(message.id).rpartition('.')[2]}",
            message.msg.removesuffix("."),
            message.hint or "",
        )
    if not messages:
        yield Finding.fine("settings.checks", "Checks", "the settings fit together")
    if settings.DEBUG:
        yield Finding.look("settings.debug", "DEBUG", "pages of errors show code and settings", "Set DEBUG=0.")
    for name in env.ignored_files():
        yield Finding.look(
            "settings.ignored_file", name, "has no effect: only secrets can be in files", f"Set {name[:-5]} instead."
        )


def secret_key(examination: Examination) -> Iterator[Finding]:
    title, source = "Secret key", env.variables["SECRET_KEY"]
    key_file = settings.DATA_DIR / "secret_key"
    if source.shown:
        yield Finding.fine("settings.secret_key", title, f"set in {source.source}")
    elif not os.access(settings.DATA_DIR, os.X_OK):
        return  # a finding about DATA_DIR says so
    elif not key_file.exists():
        yield Finding.look(
            "settings.secret_key",
            title,
            "there is none in DATA_DIR",
            "The next start generates one. It signs everybody out, and invalidates all ingest tokens.",
        )
    else:
        is_short = len(key_file.read_bytes()) < 50
        make = Finding.wrong("settings.secret_key", title, "the file is damaged", "Restore it from a backup.")
        yield make if is_short else Finding.fine("settings.secret_key", title, "in DATA_DIR")


def variables() -> Iterator[Finding]:
    """Yield a finding for each variable that is set."""
    read = {name: variable for name, variable in env.variables.items() if variable.shown}
    for name, variable in read.items():
        source = f", from {variable.source}" if variable.source != name else ""
        yield Finding.fine(f"settings.set.{name}", name, f"{variable.shown}{source}")
    yield Finding.fine("settings.set", "Variables", f"{len(env.variables) - len(read)} others have their defaults")
