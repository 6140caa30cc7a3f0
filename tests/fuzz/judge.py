"""Checks responses, and counts cases and faults for the table of `make fuzz`."""

import gc
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, settings

from events.models import Event
from legacy.models import ClientLog, LegacyCount
from telemetry_site.wsgi import with_limited_heads

CASES = int(os.environ.get("FUZZ_CASES") or 1_000)
ORIGIN = "http://localhost:5173"
WORDS = {
    "5xx": "answers of 5xx",
    "shape": "answers whose form violates the contract",
    "stored": "events that were stored but must be refused",
    "refused": "events that were refused but are valid",
    "else": "other deviations from the contract",
}


@dataclass
class Figures:
    """The cases and the faults of one class of fault."""

    cases: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    slowest_cpu_seconds: float | None = None

    def in_words(self) -> str:
        words = f"5xx {self.wrong['5xx']}, wrong {self.wrong.total() - self.wrong['5xx']}"
        if self.slowest_cpu_seconds is None:
            return words
        return f"{words}, slowest {self.slowest_cpu_seconds * 1_000:.0f} ms CPU"


by_fault: dict[str, Figures] = {}
_current = Figures()


def begin(fault: str) -> None:
    """Count the following cases for this class of fault."""
    global _current
    _current = by_fault.setdefault(fault, Figures())


@contextmanager
def case() -> Iterator[None]:
    """Count one case, and measure the CPU time of this thread for it."""
    gc.disable()  # a collection would count the garbage of earlier cases
    began = time.thread_time()
    try:
        yield
    finally:
        took = time.thread_time() - began
        gc.enable()
        _current.slowest_cpu_seconds = max(_current.slowest_cpu_seconds or 0.0, took)
        count(1)


@contextmanager
def rolled_back() -> Iterator[None]:
    """Roll back the writes of a case, so that the next case begins with the same tables."""
    before = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(before)


def count(cases: int) -> None:
    """Count cases that another process runs."""
    _current.cases += cases


def share(percent: float, *, short: int | None = None) -> Any:
    """Return Hypothesis settings for a test with this percentage of all cases.

    `make test` always runs the same cases; `short` limits their number.
    """
    is_short = short is not None and "FUZZ_CASES" not in os.environ
    return settings(
        max_examples=short if is_short else max(1, int(CASES * percent / 100)),
        deadline=None,
        database=None,
        derandomize="FUZZ_CASES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


class ClientWithHeadCheck(Client):
    """A test client whose requests first pass the check of the request head, as in the WSGI entry."""

    def request(self, **request: Any) -> Any:
        started: list[Any] = []
        passed: list[bool] = []
        checked = with_limited_heads(lambda *_: passed.append(True) or [])
        body = checked(self._base_environ(**request), lambda status, headers: started.extend((status, headers)))
        if passed:
            return super().request(**request)
        answer: Any = HttpResponse(b"".join(body), status=int(started[0][:3]), headers=dict(started[1]))
        answer.json = lambda: json.loads(answer.content)
        return answer


def ask(path: str, body: bytes, content_type: str = "application/json", method: str = "POST", **headers: str) -> Any:
    """Send a request as a browser on an allowed page does, and check the rules for every response."""
    client = ClientWithHeadCheck(raise_request_exception=False)
    # The test client would omit the content type of a request without a body.
    typed = {"CONTENT_TYPE": content_type, "headers": {"origin": ORIGIN} | headers}
    with case():
        answer = client.generic(method, path, body, **typed)
    check("5xx", answer.status_code < 500, answer.status_code, body)
    content = answer.json() if answer.headers.get("Content-Type") == "application/json" else None
    check("shape", is_in_shape(answer, content), answer.status_code, answer.headers, answer.content, body)
    return answer


def is_in_shape(answer: Any, content: Any) -> bool:
    readable = (
        answer.headers.get("Access-Control-Allow-Origin") == ORIGIN
        and answer.headers.get("Access-Control-Allow-Credentials") == "true"
        and answer.headers.get("Cache-Control") == "no-store"
        and not answer.cookies
    )
    if not readable or not isinstance(content, dict) or content.get("ok") is not (answer.status_code < 300):
        return False
    if content["ok"]:
        return True
    fields = content.get("fields", {})
    return (
        set(content) <= {"ok", "error", "fields"}
        and isinstance(content["error"], str)
        and all(words and all(isinstance(word, str) for word in words) for words in fields.values())
    )


def check(kind: str, is_right: bool, *shown: Any) -> None:
    """Count a fault of this kind unless `is_right`, and fail with the values."""
    _current.wrong[kind] += not is_right
    assert is_right, (WORDS[kind], *shown)


def take_events() -> list[dict[str, Any]]:
    """Return the stored events, oldest first, and delete them."""
    stored = list(Event.objects.order_by("received_at_ms").values())
    if stored:
        Event.objects.all()._raw_delete(Event.objects.db)
    return stored


def take_old_rows() -> tuple[list[Any], list[Any]]:
    stored = (list(ClientLog.objects.values()), list(LegacyCount.objects.values()))
    for table in (ClientLog, LegacyCount):
        table.objects.all()._raw_delete(table.objects.db)
    return stored
