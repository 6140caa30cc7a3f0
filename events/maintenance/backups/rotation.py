"""Which backups to keep: the newest of each of the last days and weeks that have one."""

from collections.abc import Iterable, Mapping
from datetime import date

from events import clock
from events.counting.buckets import DAY_MS
from events.maintenance.backups.files.manifests import Manifest


def kept(backups: Iterable[Manifest], keep: Mapping[str, int] | None) -> set[str]:
    """Return the names of the backups to keep. `keep` is BACKUP_KEEP, such as {"d": 7, "w": 4}; None keeps all.

    Days and weeks without a backup do not count, so a site that was switched off for a month loses none. A damaged
    backup takes no sound one's place. The newest proven one is always kept, and so is what was made in
    the day before the newest.
    """
    newest_first = sorted(backups, key=lambda backup: (backup.made_at_ms, backup.name), reverse=True)
    if keep is None:
        return {backup.name for backup in newest_first}
    sound = [backup for backup in newest_first if not backup.problem]
    proven = [backup for backup in sound if backup.is_proven]
    names = {backup.name for backup in proven[:1]}
    names |= {backup.name for backup in sound if backup.made_at_ms > sound[0].made_at_ms - DAY_MS}
    for unit, count in keep.items():
        periods: dict[tuple[int, ...], str] = {}
        for backup in sound:
            periods.setdefault(_period(unit, clock.day_of(backup.made_at_ms)), backup.name)
        names.update(list(periods.values())[:count])
    # A damaged backup may still help, until a sound backup is older.
    oldest_ms = min((backup.made_at_ms for backup in sound if backup.name in names), default=0)
    return names | {backup.name for backup in newest_first if backup.problem and backup.made_at_ms >= oldest_ms}


def _period(unit: str, day: date) -> tuple[int, ...]:
    """Return the day, week or month of a day."""
    return {"d": (day.toordinal(),), "w": day.isocalendar()[:2], "m": (day.year, day.month)}[unit]
