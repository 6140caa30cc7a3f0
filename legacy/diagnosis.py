"""Findings about the old routes, for `manage.py doctor`: the mode, and parity."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from events.maintenance.doctor.findings import Check, Examination, Finding
from legacy.cutover import modes
from legacy.models import Mode, ParityRun, Verdict


def doctor_checks() -> tuple[Check, ...]:
    return (Check("old_routes.mode", "Mode", mode), Check("old_routes.parity", "Parity", parity))


def mode(examination: Examination) -> Iterator[Finding]:
    name, title = "old_routes.mode", "Mode"
    row = modes.in_force()
    if row.tables_dropped:
        yield Finding.fine(name, title, "gone; the old tables were dropped")
    elif settings.INGEST_TOKEN_REQUIRED and row.mode != Mode.GONE:
        yield Finding.look(
            name,
            title,
            f"{row.mode}, which accepts events without a token, although INGEST_TOKEN_REQUIRED is 1",
            "When no client needs the old routes, run `manage.py legacy_mode gone`.",
        )
    elif settings.SUNSET and examination.now.date() > settings.SUNSET and row.mode != Mode.GONE:
        yield Finding.look(
            name,
            title,
            f"{row.mode}, although the routes announced their end for {settings.SUNSET}",
            "Run `manage.py legacy_mode gone`, or set SUNSET to a later day.",
        )
    else:
        yield Finding.fine(name, title, str(row.mode))


def parity(examination: Examination) -> Iterator[Finding]:
    name, title = "old_routes.parity", "Parity"
    row = modes.in_force()
    run = ParityRun.objects.exclude(verdict="").defer("finding").first()
    if row.mode == Mode.GONE or row.tables_dropped:
        return
    if run is None:
        yield Finding.fine(name, title, "never compared")
        return
    text = f"proven on {run.days_held} of {settings.PARITY_DAYS} days, compared on {run.checked_at:%Y-%m-%d}"
    is_recent = examination.now - run.checked_at < timedelta(days=2)
    if run.verdict == Verdict.DRIFT and is_recent:
        yield Finding.look(name, title, f"{text}; the two sides differ", "*Parity* in the admin lists the differences.")
    else:
        yield Finding.fine(name, title, text)
