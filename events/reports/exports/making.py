"""Makes exports: the pieces of the file, the entry of the audit log, and the progress that a page shows.

The progress is in the cache, under an id that the page drew. A cache that does not answer costs the progress, and not
the export.
"""

import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.cache import cache

from events import audit
from events.models import AuditKind
from events.reports.exports.choices import Choice
from events.reports.exports.columns import Row
from events.reports.exports.lists import Read

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 600  # that the cache keeps the progress after its last change
_STEP_SECONDS = 0.5
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass
class Progress:
    """The rows that were read and the bytes that were sent. `state` is running, done or failed."""

    key: str = ""
    rows: int = 0
    sent: int = 0
    state: str = "running"
    _shown_at: float = 0.0

    def counting(self, chunks: Iterable[list[Row]]) -> Iterator[list[Row]]:
        for chunk in chunks:
            self.rows += len(chunk)
            yield chunk

    def watching(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces of the file. At their end the state is final, also if the client disconnects."""
        self._show()
        try:
            for piece in pieces:
                self.sent += len(piece)
                if time.monotonic() - self._shown_at >= _STEP_SECONDS:
                    self._show()
                yield piece
            self.state = "done"
        finally:
            if self.state != "done":
                self.state = "failed"
            self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        if self.key:
            with suppress(Exception):  # each backend has its own errors
                cache.set(self.key, {"state": self.state, "rows": self.rows, "bytes": self.sent}, PROGRESS_SECONDS)


def progress_of(user_id: int, progress_id: str) -> Progress:
    """Return a new progress. An invalid id shows none."""
    return Progress(_key(user_id, progress_id) if _ID.fullmatch(progress_id) else "")


def shown(user_id: int, progress_id: str) -> dict[str, Any] | None:
    """Return the progress of an export of this account, None without any."""
    if not _ID.fullmatch(progress_id):
        return None
    with suppress(Exception):  # as above
        found: dict[str, Any] | None = cache.get(_key(user_id, progress_id))
        return found
    return None


def _key(user_id: int, progress_id: str) -> str:
    return f"export.{user_id}.{progress_id}"


def pieces(choice: Choice, read: Read, progress: Progress | None = None) -> Iterator[bytes]:
    """Yield the file of a choice in pieces, of which some are empty. The caller sends or writes them."""
    progress = progress or Progress()
    return progress.watching(choice.format.encode(progress.counting(choice.rows(read)), choice.columns))


def note(choice: Choice, *, who: str, at: datetime, name: str = "", logs: bool = True) -> None:
    """Record in the audit log who exports which list with which filters. `name` is that of a stored export.

    Without `logs`, the server log has no line: for a command, it would be a line on stderr.
    """
    filters = audit.filters_in_words(choice.form.applied()) or choice.export_list.unfiltered
    stored = f" (stored export {name})" if name else ""
    note_export(f"{choice.export_list.title}: {filters}{stored}", who=who, at=at, logs=logs)


def note_export(what: str, *, who: str, at: datetime, logs: bool = True) -> None:
    """Record who exported what in the audit log. The server log gets no filter: it may quote an event."""
    audit.note(AuditKind.EXPORT, f"Exported {what}", who=who, at=at)
    if logs:
        logger.info("%s made an export; the audit log says of what", who)


def headers_of(file_name: str) -> dict[str, str]:
    """Return the headers of a download. The name needs no quoting: it has letters, digits, hyphens and dots."""
    return {"Content-Disposition": f'attachment; filename="{file_name}"', "Cache-Control": "no-store"}
