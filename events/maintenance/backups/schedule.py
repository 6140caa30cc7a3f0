"""The jobs: a backup every night and a restore drill every week; copies into the bucket, and a check of them.

NIGHTLY_BACKUP=0 switches the first two off. The other two exist only with BACKUP_URL.

The copies are jobs of their own: if the bucket fails, the backup still succeeds. They run each hour, because any of
several servers may run a job, and each one copies its own BACKUP_DIR.
"""

from django.conf import settings

from events import clock
from events.maintenance.jobs.registry import Job, JobFailed
from events.maintenance.jobs.schedules import Daily, Every, Weekly

BACKUP = "backup"
DRILL = "restore-drill"
COPIES = "backup-copies"
CHECK = "backup-copies-check"
COPY_TITLE = "Copy the backups into the bucket"


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


def _copy() -> str:
    from events.maintenance.backups.copies import sending
    from events.maintenance.backups.files.folder import BackupFailed

    try:
        return sending.copy_backups(clock.now())
    except BackupFailed as problem:
        raise JobFailed(str(problem)) from None


def _check_copy() -> str:
    from events.maintenance.backups.copies import reading
    from events.maintenance.backups.files.folder import BackupFailed

    try:
        return reading.check_newest()
    except BackupFailed as problem:
        raise JobFailed(str(problem)) from None


_NIGHTLY = (
    Job(BACKUP, "Back up the database", Daily(3, 15), _back_up, limit_minutes=180),
    Job(DRILL, "Restore the newest backup into a scratch database", Weekly(6, 4, 15), _prove, limit_minutes=180),
)


_COPIES = (
    Job(COPIES, COPY_TITLE, Every(60), _copy, limit_minutes=360),
    Job(CHECK, "Read the newest copy of a backup back", Weekly(6, 5, 15), _check_copy, limit_minutes=360),
)


def jobs() -> tuple[Job, ...]:
    return (_NIGHTLY if settings.NIGHTLY_BACKUP else ()) + (_COPIES if settings.BACKUP_URL else ())
