"""Collects the findings of all apps, and writes them as text and as JSON. A report never ends with a traceback.

`doctor_checks()` of an AppConfig returns a tuple of `Check`, so an app can be removed alone.
"""

import textwrap
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.db import Error as DatabaseError

from events.maintenance.doctor import database
from events.maintenance.doctor.findings import Check, Examination, Finding, Level

FORMAT = 1
WIDTH = 100
PROJECT = Path(__file__).resolve().parents[3]
SECTIONS = {
    "versions": "Versions",
    "settings": "Settings",
    "files": "Files",
    "database": "Database",
    "counts": "Counts",
    "unattended": "Jobs and backups",
    "traffic": "Requests",
}


class _Unmigrated(Exception):
    """A check failed on a table that is not as this release needs it."""


class Section(NamedTuple):
    title: str
    findings: list[Finding]


class Report(NamedTuple):
    """The findings in the order of the sections."""

    version: str
    made_at: datetime
    findings: list[Finding]

    @property
    def verdict(self) -> Level:
        levels = {finding.level for finding in self.findings}
        return next(level for level in (Level.WRONG, Level.LOOK, Level.FINE) if level in levels or level is Level.FINE)

    @property
    def counts(self) -> dict[Level, int]:
        counts = Counter(finding.level for finding in self.findings)
        return {level: counts[level] for level in (Level.WRONG, Level.LOOK, Level.FINE)}

    @property
    def problems(self) -> list[Finding]:
        """Return the findings that ask for something, the wrong ones first."""
        return [finding for level in (Level.WRONG, Level.LOOK) for finding in self.findings if finding.level is level]

    @property
    def sections(self) -> list[Section]:
        return [
            Section(SECTIONS.get(name, name.replace("_", " ").capitalize()), list(findings))
            for name, findings in groupby(self.findings, lambda finding: finding.section)
        ]

    @property
    def summary(self) -> str:
        words = {Level.WRONG: "wrong", Level.LOOK: "to look at", Level.FINE: "fine"}
        return ", ".join(f"{count} {words[level]}" for level, count in self.counts.items())

    def as_text(self) -> str:
        """Return the report as one page of text."""
        lines = [f"Telemetry site {self.version}, report of {self.made_at:%Y-%m-%d %H:%M} UTC", self.summary, ""]
        if self.problems:
            lines.append("What to do")
            for remedy, findings in groupby(self.problems, lambda finding: finding.remedy):
                for finding in findings:
                    lines += _wrapped(f"  {finding.level:<6} ", f"{finding.title}: {finding.text}.")
                lines += _wrapped("         → ", remedy)
            lines.append("")
        for section in self.sections:
            lines.append(section.title)
            for finding in section.findings:
                lines += _wrapped(f"  {finding.level:<6} {finding.title:<20} ", finding.text)
            lines.append("")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": self.version,
            "made_at": self.made_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "verdict": self.verdict.value,
            "counts": {level.value: count for level, count in self.counts.items()},
            "findings": [
                {
                    "name": finding.name,
                    "title": finding.title,
                    "level": finding.level.value,
                    "text": finding.text,
                    "remedy": finding.remedy or None,
                }
                for finding in self.findings
            ],
        }


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False
    ) or [start.rstrip()]


def of_findings(version: str, made_at: datetime, findings: Iterable[Finding]) -> Report:
    order = list(SECTIONS)
    known = sorted(
        findings, key=lambda finding: order.index(finding.section) if finding.section in SECTIONS else len(order)
    )
    return Report(version, made_at, known)


def examine(examination: Examination) -> Report:
    """Run the checks of all apps. A check that fails becomes a finding. Needs settings and apps."""
    offers = (getattr(config, "doctor_checks", None) for config in apps.get_app_configs())
    checks = [check for offer in offers if offer for check in offer()]
    return of_findings(settings.VERSION, examination.now, _findings(examination, checks))


def _findings(examination: Examination, checks: list[Check]) -> Iterator[Finding]:
    for check in checks:
        if not check.needs_database:
            yield from _of(examination, check)
    try:
        database.probe()
    except database.Unreadable as error:
        yield Finding.wrong("database.connection", "Connection", *map(str, error.args))
        return
    except Exception as error:
        yield _failure(Check("database.connection", "Connection", lambda _: ()), error)
        return
    unchecked = []
    for check in checks:
        if check.needs_database:
            try:
                yield from _with_database(examination, check)
            except _Unmigrated:
                unchecked.append(check.title)
    if unchecked:
        yield Finding.look(
            "database.unchecked",
            "Not checked",
            f"{', '.join(unchecked)}: their tables are of another release",
            "Run the migrations first, then the doctor again.",
        )
    if database.was_started_meanwhile():
        yield Finding.look(
            "database.meanwhile",
            "Meanwhile",
            "a server started while this report was made, so parts of it may be wrong",
            "Run the command again.",
        )


def _with_database(examination: Examination, check: Check) -> list[Finding]:
    try:
        with database.reading(examination.depth):
            return _of(examination, check)
    except DatabaseError as error:
        return [_database_failure(check, error)]


def _database_failure(check: Check, error: Exception) -> Finding:
    words = database.reason(error)
    if "interrupted" in words or "57014" in words:
        return Finding.look(check.name, check.title, "took too long, and was stopped", "Run `manage.py doctor --full`.")
    if _is_unmigrated():
        raise _Unmigrated
    return Finding.wrong(check.name, check.title, f"cannot be read: {words}", database.remedy(error))


def _is_unmigrated() -> bool:
    try:
        return database.are_pending()
    except DatabaseError:
        return False


def _of(examination: Examination, check: Check) -> list[Finding]:
    try:
        return list(check.work(examination))
    except Exception as error:
        if check.needs_database and isinstance(error, DatabaseError):
            raise
        return [_failure(check, error)]


def _failure(check: Check, error: Exception) -> Finding:
    if isinstance(error, OSError):
        return Finding.wrong(
            check.name,
            check.title,
            f"cannot be read: {error.strerror}",
            "Check the permissions of DATA_DIR and its files.",
        )
    return Finding.look(
        check.name, check.title, f"this check failed: {place_of(error)}", "Report it: this is a fault of the site."
    )


def place_of(error: BaseException) -> str:
    """Return the type and the place of an error. Its message may contain anything, so it is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(str(PROJECT)) and ".venv" not in frame.filename]
    where = f" in {Path(ours[-1].filename).relative_to(PROJECT)}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{where}"
