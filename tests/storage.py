"""A database in trouble, for real: locked by someone else, read-only, away."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def locked_events() -> Iterator[None]:
    """Hold the writer's lock on a connection of its own, as another process would; we wait 50 ms for it."""
    other = connection.copy()
    sqlite = connection.vendor == "sqlite"
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 50" if sqlite else "SET lock_timeout = '50ms'")
        with other.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE" if sqlite else "BEGIN")
            if not sqlite:
                cursor.execute("LOCK TABLE telemetry_events")
        yield
    finally:
        with other.cursor() as cursor:
            cursor.execute("ROLLBACK")
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 5000" if sqlite else "RESET lock_timeout")


@contextmanager
def read_only_database() -> Iterator[None]:
    """Make the database take no writes, as a full disk's file system or a standby does."""
    sqlite = connection.vendor == "sqlite"
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = 1" if sqlite else "SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = 0" if sqlite else "SET default_transaction_read_only = off")


@contextmanager
def away_database() -> Iterator[None]:
    """Break the connection under the site: no statement on it succeeds, reads neither."""
    connection.ensure_connection()
    driver = connection.connection
    if connection.vendor == "sqlite":
        driver.set_progress_handler(lambda: 1, 1)
    else:
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [driver.info.backend_pid])
        other.close()
    try:
        yield
    finally:
        if connection.vendor == "sqlite":
            driver.set_progress_handler(None, 1)
        else:
            connection.close()
