"""Faults of configuration that no single value shows, found at the start."""

import shlex
import stat
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 (Django's own names)


@register()
def several_workers_want_servers(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.WORKERS > 1 and settings.DATABASES["default"]["ENGINE"].endswith("sqlite"):
        found.append(
            Error(
                f"WORKERS={settings.WORKERS} on SQLite: several processes would fight for one file's lock.",
                hint="Leave WORKERS at 1, or set DATABASE_URL to PostgreSQL.",
                id="telemetry_site.E001",
            )
        )
    if settings.WORKERS > 1 and not settings.CACHE_URL:
        found.append(
            Warning(
                f"WORKERS={settings.WORKERS} without CACHE_URL: each process counts rate limits for itself.",
                hint="Set CACHE_URL to Redis.",
                id="telemetry_site.W001",
            )
        )
    return found


@register()
def https_behind_a_proxy(**kwargs: Any) -> list[CheckMessage]:
    if settings.HTTPS and not settings.TRUSTED_PROXY_COUNT:
        return [
            Warning(
                "SITE_URL is https, but TRUSTED_PROXY_COUNT is 0: every client has the proxy's address.",
                hint="Set TRUSTED_PROXY_COUNT to how many proxies append to X-Forwarded-For.",
                id="telemetry_site.W002",
            )
        ]
    return []


@register()
def data_for_the_owner_alone(**kwargs: Any) -> list[CheckMessage]:
    mode = stat.S_IMODE(settings.DATA_DIR.stat().st_mode)
    if mode & 0o077:
        return [
            Warning(
                f"Other users of this machine may open DATA_DIR: {settings.DATA_DIR} has the mode {mode:04o}.",
                hint=f"Run: chmod 700 {shlex.quote(str(settings.DATA_DIR))}",
                id="telemetry_site.W003",
            )
        ]
    return []
