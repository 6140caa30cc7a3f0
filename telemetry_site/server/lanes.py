"""The one table of what the server must know of a path before Django routes it."""

import re
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings


class Pool(NamedTuple):
    """A thread pool. Further threads than `most_awake` wake only for requests that wait: see `ThreadPool`."""

    threads: int
    most_awake: int | None = None


# Pools are separate, so that events, reads, pages and health checks do not queue behind each other: a watchdog gets an
# answer while the other pools are busy. Of the threads that store events, one runs views while the other commits. Reads
# do not wait for a commit, so more threads would only contend for the GIL. An upload occupies its thread while it
# arrives.
POOLS = {
    "events": Pool(settings.THREADS, most_awake=2),
    "reads": Pool(3, most_awake=1),
    "pages": Pool(4),
    "health": Pool(2),
    "uploads": Pool(2),
}


class Lane(NamedTuple):
    """Which pools answer POST and every other method, the largest body, and whether a POST contains events.

    The view reads the body of a PUT itself, while it arrives, if the path `takes_uploads`.
    """

    writes: str
    reads: str
    max_body_bytes: int
    takes_events: bool = True
    has_cors: bool = True
    takes_uploads: bool = False

    def pool(self, method: str) -> str:
        if self.takes_uploads and method == "PUT":
            return "uploads"
        return self.writes if method == "POST" else self.reads


_LIMIT, _FORM_LIMIT = settings.MAX_BODY_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
# The first match counts.
LANES = [
    (re.compile(pattern, re.DOTALL).fullmatch, lane)
    for pattern, lane in {
        r"/health(/ready)?/?": Lane("health", "health", _LIMIT),
        r"/event/batch(/.*)?": Lane("events", "reads", settings.MAX_BATCH_BODY_BYTES),
        r"/admin(/.*)?": Lane(
            "pages", "pages", settings.DATA_UPLOAD_MAX_MEMORY_SIZE, takes_events=False, has_cors=False
        ),
        r"/static(/.*)?": Lane("pages", "pages", _LIMIT, takes_events=False),
        # A decision can count many events, which takes seconds.
        r"/groups(/.*)?": Lane("pages", "reads", _LIMIT, takes_events=False, has_cors=False),
        r"/sourcemaps/.*": Lane("reads", "reads", _LIMIT, has_cors=False, takes_uploads=True),
        r".*": Lane("events", "reads", _LIMIT),
    }.items()
]


@lru_cache(maxsize=256)
def lane_of(path: str) -> Lane:
    return next(lane for matches, lane in LANES if matches(path))
