"""The jobs: a backup every night, and a restore drill every week. NIGHTLY_BACKUP=0 switches both off."""

from django.conf import settings

from events import clock
from events.maintenance.jobs.registry import Job, JobFailed
from events.maintenance.jobs.schedules import Daily, Weekly

BACKUP = "backup"
DRILL = "restore-drill"


# Each job imports its code when it runs: the process that waits for the next job stays small.
def _back_up() -> str:
    from events.maintenance.backups import making
    from events.maintenance.backups.files.folder import BackupFailed

    try:
        return making.make(clock.now()).in_words()
    except BackupFailed as problem:
        raise JobFailed(str(problem)) from None


def _prove() -> str:
    from events.maintenance.backups import drill
    from events.maintenance.backups.files.folder import BackupFailed

    try:
        return drill.prove(clock.now())
    except BackupFailed as problem:
        raise JobFailed(str(problem)) from None


_NIGHTLY = (
    Job(BACKUP, "Back up the database", Daily(3, 15), _back_up, limit_minutes=180),
    Job(DRILL, "Restore the newest backup into a scratch database", Weekly(6, 4, 15), _prove, limit_minutes=180),
)


def jobs() -> tuple[Job, ...]:
    return _NIGHTLY if settings.NIGHTLY_BACKUP else ()
