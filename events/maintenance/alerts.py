"""The alert rules about the site itself: jobs, backups and disk space; the same for Monday's digest.

`disk`, `jobs` and `backups` find the problems. They do not import the alerts, because the doctor imports them before
the apps are loaded.
"""

from collections.abc import Iterator
from datetime import datetime

from django.conf import settings

from events.alerts import timing
from events.alerts.messages import Part, page
from events.alerts.rules.evaluation import Problem
from events.maintenance import disk
from events.maintenance.backups import warnings
from events.maintenance.disk import Room
from events.maintenance.jobs import leases, problems
from events.maintenance.jobs.registry import registered
from events.models import Backup

# A reported state of the disk lasts until this much of its limit is free: 1.1 is a tenth more.
_LASTS = 1.1


def jobs(now: datetime) -> Iterator[Problem]:
    """Yield the failed jobs, without the message of the job: it may quote an event."""
    offered = registered()
    for name, state in leases.states(offered).items():
        if problems.has_failed(state, now):
            success = (
                f"It last succeeded on {timing.moment(state.succeeded_ms)}."
                if state.succeeded_ms
                else "It has never succeeded."
            )
            heading = f"The job “{offered[name].title}” {problems.what_happened(state)}"
            lines = (f"It ended on {timing.moment(state.ended_ms or state.due_ms)}.", success)
            yield Problem(name, Part(heading, lines, page("events_jobstate_changelist")))


def backups(now: datetime) -> Iterator[Problem]:
    for name, banner in warnings.found(now):
        yield Problem(name, Part(banner.problem, (banner.action,), page(banner.page)))


def disk_space(now: datetime) -> Iterator[Problem]:
    """Yield the state of the disk: `little` and `none`, each a problem of its own."""
    least = settings.MIN_FREE_BYTES
    if least is None:
        return
    free = disk.free_bytes()
    state = disk.room_in(free, least)
    is_full = state is Room.NONE
    part = Part(
        f"{'The disk is nearly full' if is_full else 'Disk space is low'}: {disk.in_words(free)} are free",
        (
            f"The limit MIN_FREE_BYTES is {disk.in_words(least)}.",
            "Nothing is stored, and clients get 503."
            if is_full
            else "Failures are stored without stack and log lines.",
            "Free some space on the disk of DATA_DIR, or keep fewer events.",
        ),
        page("events_retentionmark_changelist"),
    )
    if free < _LASTS * least:
        yield Problem("little", part, opens=state is Room.LITTLE)
    if disk.FULL_PART * free < _LASTS * least:
        yield Problem("none", part, opens=is_full)


def digest_lines(now: datetime) -> Iterator[str]:
    """Yield the state of the backups and of the disk."""
    sound = Backup.objects.filter(problem="")
    newest = sound.order_by("-made_ms").first()
    proven_ms = sound.filter(proven_ms__isnull=False).order_by("-proven_ms").values_list("proven_ms", flat=True).first()
    if newest is not None:
        proof = f"the last restore drill on {timing.moment(proven_ms)}" if proven_ms else "no restore drill yet"
        yield f"Backups: the newest on {timing.moment(newest.made_ms)}, {proof}."
    elif settings.NIGHTLY_BACKUP:
        yield "Backups: none."
    yield f"Disk: {disk.in_words(disk.free_bytes())} free."
