"""System checks for deployments with old routes."""

from pathlib import Path

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 (Django's own names)
from django.db import DatabaseError, connection

from legacy.cutover import modes
from legacy.models import Mode


def old_routes_beside_tokens() -> list[CheckMessage]:
    """Warn if /event requires a token while the old routes accept events without one."""
    if not settings.INGEST_TOKEN_REQUIRED:
        return []
    # A query would create a missing SQLite file, and a check must not write.
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return []
    try:
        mode = modes.in_force().mode
    except DatabaseError:
        return []
    if mode == Mode.GONE:
        return []
    return [
        Warning(
            f"INGEST_TOKEN_REQUIRED=1, but the old routes are in {mode} and accept events without a token.",
            hint="When no client needs them, run `manage.py legacy_mode gone`. See docs/legacy-migration.md.",
            id="legacy.W001",
        )
    ]
