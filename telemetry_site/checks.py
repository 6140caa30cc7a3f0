"""System checks: faults in combinations of settings, reported at start."""

import re
import shlex
import stat
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 (Django's own names)

from events.maintenance import container

MAX_FACETS = 8


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    has_workers = settings.WORKERS > 1
    is_sqlite = settings.DATABASES["default"]["ENGINE"].endswith("sqlite")
    target = settings.BACKUP_URL
    # Not a constant: the doctor imports this module also if the settings cannot be loaded.
    mount = f"Mount a volume at DATA_DIR, such as: docker run --volume telemetry-data:{settings.DATA_DIR} …"
    lost_in = None if settings.EPHEMERAL_DATA else container.ephemeral_place(settings.DATA_DIR)
    mode = stat.S_IMODE(settings.DATA_DIR.stat().st_mode)
    checks: list[tuple[bool, CheckMessage]] = [
        (
            has_workers and is_sqlite,
            Error(
                f"WORKERS={settings.WORKERS} on SQLite: several processes would compete for the lock of one file.",
                hint="Leave WORKERS at 1, or set DATABASE_URL to PostgreSQL.",
                id="telemetry_site.E001",
            ),
        ),
        (
            has_workers and not settings.CACHE_URL,
            Warning(
                f"WORKERS={settings.WORKERS} without CACHE_URL: each process counts rate limits on its own.",
                hint="Set CACHE_URL to Redis.",
                id="telemetry_site.W001",
            ),
        ),
        (
            settings.HTTPS and not settings.TRUSTED_PROXY_COUNT,
            Warning(
                "SITE_URL is https, but TRUSTED_PROXY_COUNT is 0: every client has the proxy's address.",
                hint="Set TRUSTED_PROXY_COUNT to how many proxies append to X-Forwarded-For.",
                id="telemetry_site.W002",
            ),
        ),
        (
            bool(mode & 0o077),
            Warning(
                f"Other users of this machine may open DATA_DIR: {settings.DATA_DIR} has the mode {mode:04o}.",
                hint=f"Run: chmod 700 {shlex.quote(str(settings.DATA_DIR))}",
                id="telemetry_site.W003",
            ),
        ),
        (
            settings.HAS_REPLICA and settings.DATABASES["default"]["ENGINE"].endswith("sqlite"),
            Error(
                "REPLICA_URL is set, but the site stores its data in SQLite, which has no replica.",
                hint="Set DATABASE_URL to the primary of the replica, or remove REPLICA_URL.",
                id="telemetry_site.E004",
            ),
        ),
        (
            target is not None and not (settings.BACKUP_S3_KEY_ID and settings.BACKUP_S3_SECRET),
            Error(
                "BACKUP_URL is set, but the keys of the service are not.",
                hint="Set BACKUP_S3_KEY_ID and BACKUP_S3_SECRET, or remove BACKUP_URL.",
                id="telemetry_site.E005",
            ),
        ),
        (
            target is not None and not (settings.BACKUP_PASSPHRASE or target.may_be_plain),
            Error(
                "BACKUP_URL is set without BACKUP_PASSPHRASE: everybody who can read the bucket could read all events.",
                hint="Set BACKUP_PASSPHRASE. To copy unencrypted backups, add the option unencrypted=1 to BACKUP_URL.",
                id="telemetry_site.E006",
            ),
        ),
        (
            target is not None and target.may_be_plain and not settings.BACKUP_PASSPHRASE,
            Warning(
                "The copies of backups are not encrypted: BACKUP_URL has unencrypted=1.",
                hint="Set BACKUP_PASSPHRASE, and remove the option.",
                id="telemetry_site.W005",
            ),
        ),
        (
            bool(fault := _fault_of_facets()),
            Error(
                f"FACETS {fault}.",
                hint="Name at most 8 keys of the metadata, such as browser,os. An empty value switches facets off.",
                id="telemetry_site.E002",
            ),
        ),
        (
            lost_in is not None and is_sqlite,
            Error(
                f"The database would be lost: DATA_DIR={settings.DATA_DIR} is in {lost_in}.",
                hint=f"{mount} For a try whose data may be lost, set EPHEMERAL_DATA=1.",
                id="telemetry_site.E003",
            ),
        ),
        (
            lost_in is not None and not is_sqlite,
            Warning(
                f"The secret key and the backups would be lost: DATA_DIR={settings.DATA_DIR} is in {lost_in}.",
                hint=mount,
                id="telemetry_site.W004",
            ),
        ),
    ]
    return [message for is_fault, message in checks if is_fault]


def _fault_of_facets() -> str:
    """Return what is wrong with FACETS, "" if nothing."""
    names = settings.FACETS
    if unusable := [name for name in names if not re.fullmatch("[a-z][a-z0-9_]{0,23}", name)]:
        return f"has {unusable[0]!r}, which is no name of 1 to 24 characters from a-z, 0-9 and _, with a letter first"
    if repeated := [name for name in names if names.count(name) > 1]:
        return f"has {repeated[0]} twice"
    return f"has {len(names)} names" if len(names) > MAX_FACETS else ""
