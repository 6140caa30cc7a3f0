"""The banners about backups: none is made, none is proven, none is copied, one is damaged.

With NIGHTLY_BACKUP=0, the first two are not reported: the operator backs up the database in another way.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings

from events.counting.buckets import DAY_MS
from events.maintenance.banners import Banner
from events.models import Backup, SiteDay

# A backup is due every day, a drill every week. One may be missed.
MADE_DAYS = 2
PROVEN_DAYS = 14
_PAGE, _LINK = "events_backup_changelist", "Backups"


def find(now: datetime) -> Iterator[Banner]:
    for _, banner in found(now):
        yield banner


def uncopied_days(backups: list[Backup], now: datetime) -> int:
    """Return the age of the oldest sound backup that is newer than every copied one, 0 if it is at most MADE_DAYS."""
    newest_copied_ms = max((backup.made_ms for backup in backups if backup.copied_ms is not None), default=0)
    waiting = [backup.made_ms for backup in backups if not backup.problem and backup.made_ms > newest_copied_ms]
    return _days(int(now.timestamp() * 1000) - min(waiting), MADE_DAYS) if waiting else 0


def found(now: datetime) -> Iterator[tuple[str, Banner]]:
    """Yield each problem with a name that stays the same while it lasts."""
    backups = list(Backup.objects.order_by("-made_ms").only("name", "made_ms", "proven_ms", "problem", "copied_ms"))
    if settings.NIGHTLY_BACKUP:
        yield from _missing(backups, now)
    if settings.BACKUP_URL and (days := uncopied_days(backups, now)):
        yield "none copied", _banner(f"No backup was copied to BACKUP_URL for {days} days.", "See why the job failed.")
    if damaged := [backup.name for backup in backups if backup.problem]:
        names = ", ".join(damaged[:3]) + (f" and {len(damaged) - 3} more" if len(damaged) > 3 else "")
        action = "Check the disk. Delete the file when you do not need it."
        yield f"damaged: {', '.join(sorted(damaged))}", _banner(f"A backup is damaged: {names}.", action)


def _missing(backups: list[Backup], now: datetime) -> Iterator[tuple[str, Banner]]:
    """Yield the problems of backups that should have been made or proven. `backups` has the newest first."""
    now_ms = int(now.timestamp() * 1000)
    sound = [backup for backup in backups if not backup.problem]
    if not sound:
        if backups or _is_older_than(now, MADE_DAYS):
            action = "Make one: manage.py backup. Then see why the job failed."
            yield "none made", _banner("There is no backup.", action)
    elif days := _days(now_ms - sound[0].made_ms, MADE_DAYS):
        yield "none made", _banner(f"No backup was made for {days} days.", "See why the job failed.")
    proven_ms = max((backup.proven_ms for backup in sound if backup.proven_ms is not None), default=None)
    since_ms = min((backup.made_ms for backup in sound), default=now_ms) if proven_ms is None else proven_ms
    if days := _days(now_ms - since_ms, PROVEN_DAYS):
        yield "none proven", _banner(f"No backup was proven for {days} days.", "See why the restore drill failed.")


def _banner(problem: str, action: str) -> Banner:
    return Banner(problem, action, _PAGE, _LINK)


def _days(age_ms: int, most: int) -> int:
    """Return the age in days if it is more than `most`, else 0."""
    return age_ms // DAY_MS if age_ms > most * DAY_MS else 0


def _is_older_than(now: datetime, days: int) -> bool:
    return SiteDay.objects.filter(seen_on__lt=(now - timedelta(days=days)).date()).exists()
