"""Group commit: many threads submit events, and one of them commits all that wait.

No background thread exists. A thread that waits for its submission becomes the leader if there is none. It commits the
waiting submissions in one transaction, gives each its outcome, and passes the lead to another waiting thread. So
commands and tests run the same code as requests. No outcome is returned before its commit.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from django.db import InterfaceError, InternalError, OperationalError

from events.grouping.groups import Advice
from events.monitoring import commits
from events.rows import EventRow

logger = logging.getLogger(__name__)

# A larger commit is not faster per row, and makes other threads wait longer.
MAX_COMMIT_EVENTS = 1_000
# Locked, full or unavailable. psycopg raises InternalError on a read-only standby.
UNAVAILABLE = (OperationalError, InterfaceError, InternalError)


class StorageUnavailable(Exception):
    """The database is locked, full or unavailable. Nothing of this call was stored, so the client may retry."""


class Recorded(NamedTuple):
    """The outcome of one event. `filled_in`: a duplicate that added long texts which were left out.

    `advice` is the advice to users of the group that the failure is in, counted as delivered by this response.
    """

    stored: bool
    id: str
    filled_in: bool = False
    advice: Advice | None = None


class Submission:
    """Events that wait for their commit, and their outcomes after it.

    `alongside` runs in the same transaction, also when the events are duplicates. Its writes are committed with them or
    not at all. It may run twice, so its writes must be idempotent.
    """

    __slots__ = ("alongside", "error", "events", "is_done", "outcomes", "woken")

    def __init__(self, events: Sequence[EventRow], alongside: Callable[[], object] | None = None) -> None:
        self.events = events
        self.alongside = alongside
        self.outcomes: list[Recorded] = []
        self.error: Exception | None = None
        self.is_done = False
        self.woken: threading.Lock | None = None  # of the thread that waits for another one's commit


class Queue:
    """The submissions that wait for a commit. `commit` commits some of them in one transaction."""

    def __init__(self, commit: Callable[[list[Submission]], None]) -> None:
        self._commit_together = commit
        self._lock = threading.Lock()
        self._waiting: list[Submission] = []
        self._has_leader = False

    def submit(self, submission: Submission) -> None:
        """Queue a submission. The next commit may store it, and `wait` makes sure that one does."""
        with self._lock:
            self._waiting.append(submission)

    def wait(self, submission: Submission) -> list[Recorded]:
        """Return the outcomes of a queued submission after its commit. Raises StorageUnavailable."""
        with self._lock:
            if not submission.is_done and self._has_leader:
                submission.woken = threading.Lock()
                submission.woken.acquire()
            elif not submission.is_done:
                self._has_leader = True
        if submission.woken is not None:
            submission.woken.acquire()
        if not submission.is_done:  # there was no leader, or the last one passed the lead to this thread
            self._lead(submission)
        if submission.error is not None:
            raise submission.error
        return submission.outcomes

    def _lead(self, own: Submission) -> None:
        try:
            while not own.is_done:
                self._commit_next()
        finally:
            with self._lock:
                successor = next((one.woken for one in self._waiting if one.woken is not None), None)
                self._has_leader = successor is not None
            if successor is not None:
                successor.release()

    def _commit_next(self) -> None:
        with self._lock:
            batch = self._take_batch()
            queued = len(self._waiting)
        try:
            self._commit(batch, queued)
        except BaseException as error:  # The process is shutting down: the waiting threads must not report success.
            _refuse(batch, error)
            raise
        finally:
            with self._lock:
                for submission in batch:
                    submission.is_done = True
            for submission in batch:
                if submission.woken is not None:
                    submission.woken.release()

    def _take_batch(self) -> list[Submission]:
        count = rows = 0
        for submission in self._waiting:
            rows += len(submission.events)
            if count and rows > MAX_COMMIT_EVENTS:
                break
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch

    def _commit(self, batch: list[Submission], queued: int) -> None:
        begun_at = time.perf_counter()
        try:
            self._commit_together(batch)
        except UNAVAILABLE as error:
            _refuse(batch, error)
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One invalid row must not fail the other submissions.
            logger.warning("A commit of %d submissions failed and is replayed one by one: %s", len(batch), error)
            for submission in batch:
                self._commit([submission], queued)
        else:
            if events := sum(len(submission.events) for submission in batch):
                commits.note(seconds=time.perf_counter() - begun_at, events=events, queued=queued)


def _refuse(batch: list[Submission], cause: BaseException) -> None:
    logger.error("Storage is unavailable: %s", cause)
    for submission in batch:
        submission.error = StorageUnavailable(str(cause))
