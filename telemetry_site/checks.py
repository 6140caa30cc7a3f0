"""System checks: faults in combinations of settings, reported at start."""

import shlex
import stat
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 (Django's own names)


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    has_workers = settings.WORKERS > 1
    mode = stat.S_IMODE(settings.DATA_DIR.stat().st_mode)
    checks: list[tuple[bool, CheckMessage]] = [
        (
            has_workers and settings.DATABASES["default"]["ENGINE"].endswith("sqlite"),
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
    ]
    return [message for is_fault, message in checks if is_fault]
