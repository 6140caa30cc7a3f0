"""Archives the old tables to a compressed file, verifies the file, and drops the tables."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from django.db import connection, transaction

from events.keyset import in_batches
from legacy import old_tables
from legacy.models import ClientLog, LegacyCount, Mode, ModeInForce

TABLES = (ClientLog, LegacyCount)
CHUNK = 1_000


class NotVerified(Exception):
    """The archive differs from the tables; nothing was dropped."""


class Archived(NamedTuple):
    path: Path
    rows: dict[str, int]


def write(path: Path) -> Archived:
    """Write every row of the old tables as JSON lines, gzip-compressed, and read the file back to verify it.

    Each line is `{"table": …, columns…}`, with the texts that only the event of a row has. Raises NotVerified, or
    OSError when the disk is full. An incomplete file is deleted.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already.")
    part = path.with_name(f"{path.name}.part")  # An incomplete file must not look complete.
    try:
        written = hashlib.sha256()
        rows = dict.fromkeys((table._meta.db_table for table in TABLES), 0)
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as raw:
            with gzip.open(raw, "wt", encoding="utf-8", newline="\n") as lines:
                for line in _lines():
                    rows[json.loads(line)["table"]] += 1
                    written.update(line.encode())
                    lines.write(line)
            raw.flush()
            os.fsync(raw.fileno())
        read = hashlib.sha256()
        with gzip.open(part, "rt", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                read.update(line.encode())
        if read.digest() != written.digest():
            raise NotVerified(f"{path} differs from the data that was written to it.")
        _rename_durably(part, path)
        return Archived(path, rows)
    except FileExistsError:
        raise
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _rename_durably(old: Path, new: Path) -> None:
    old.rename(new)
    folder = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def drop(archived: Archived) -> None:
    """Drop the old tables if they still equal the archive; raises NotVerified."""
    with transaction.atomic(durable=True):
        for table in TABLES:
            if table._default_manager.count() != archived.rows[table._meta.db_table]:
                raise NotVerified(f"{table._meta.db_table} has changed since it was archived.")
        ModeInForce.objects.update_or_create(id=1, defaults={"mode": Mode.GONE, "tables_dropped": True})
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f'DROP TABLE "{table._meta.db_table}"')


def _lines() -> Iterator[str]:
    for table in TABLES:
        columns = [field.attname for field in table._meta.concrete_fields]
        key = table._meta.pk.attname
        rows = old_tables.whole(
            table._default_manager.order_by(key, key), (key, key, *columns)
        )  # a cursor has two values
        for row in chain.from_iterable(in_batches(rows, CHUNK)):
            line = {"table": table._meta.db_table} | dict(zip(columns, row[2:], strict=True))
            yield json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
