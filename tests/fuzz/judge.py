"""Judges answers and counts them by class of fault: what `make fuzz` prints."""

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

CASES = int(os.environ.get("FUZZ_CASES") or 3_000)
ORIGIN = "http://localhost:5173"
WORDS = {
    "5xx": "answers of 5xx",
    "shape": "answers out of the contract's shape",
    "stored": "stored though refused",
    "refused": "refused though valid",
    "else": "answers other than the contract's",
}


@dataclass
class Figures:
    """What was tried of one class of fault, and what was wrong."""

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
    """Count what follows for this class of fault."""
    global _current
    _current = by_fault.setdefault(fault, Figures())


@contextmanager
def case() -> Iterator[None]:
    """Count one case, and the processor time that this thread takes for it."""
    gc.disable()  # the garbage is that of all cases
    began = time.thread_time()
    try:
        yield
    finally:
        took = time.thread_time() - began
        gc.enable()
        _current.slowest_cpu_seconds = max(_current.slowest_cpu_seconds or 0.0, took)
        count(1)


@contextmanager
def undone() -> Iterator[None]:
    """Take back what a case stores, also when it fails, so that the next one begins with the same tables."""
    before = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(before)


def count(cases: int) -> None:
    """Count cases that another process answers."""
    _current.cases += cases


def share(percent: float, *, short: int | None = None) -> Any:
    """Return the settings for a test that has so much of all cases: in `make test` the same ones each time.

    `short` is the number of cases in `make test`, where the share would be more than that needs.
    """
    is_short = short is not None and "FUZZ_CASES" not in os.environ
    return settings(
        max_examples=short if is_short else max(1, int(CASES * percent / 100)),
        deadline=None,
        database=None,
        derandomize="FUZZ_CASES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )


class BehindTheEntry(Client):
    """A client whose requests pass the check of the request head, as those to the WSGI entry do."""

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
    """Send a request as a browser on an allowed page does, and look at what every answer has in common."""
    client = BehindTheEntry(raise_request_exception=False)
    # Without a body the client would leave the type out.
    typed = {"CONTENT_TYPE": content_type, "headers": {"origin": ORIGIN} | headers}
    with case():
        answer = client.generic(method, path, body, **typed)
    hold("5xx", answer.status_code < 500, answer.status_code, body)
    told = answer.json() if answer.headers.get("Content-Type") == "application/json" else None
    hold("shape", is_in_shape(answer, told), answer.status_code, answer.headers, answer.content, body)
    return answer


def is_in_shape(answer: Any, told: Any) -> bool:
    readable = (
        answer.headers.get("Access-Control-Allow-Origin") == ORIGIN
        and answer.headers.get("Access-Control-Allow-Credentials") == "true"
        and answer.headers.get("Cache-Control") == "no-store"
        and not answer.cookies
    )
    if not readable or not isinstance(told, dict) or told.get("ok") is not (answer.status_code < 300):
        return False
    if told["ok"]:
        return True
    fields = told.get("fields", {})
    return (
        set(told) <= {"ok", "error", "fields"}
        and isinstance(told["error"], str)
        and all(words and all(isinstance(word, str) for word in words) for words in fields.values())
    )


def hold(what: str, holds: bool, *shown: Any) -> None:
    _current.wrong[what] += not holds
    assert holds, (WORDS[what], *shown)


def kept() -> list[dict[str, Any]]:
    """Return the events that are stored, oldest first, and forget them and the old tables' rows."""
    found = list(Event.objects.order_by("received_at_ms").values())
    if found:
        Event.objects.all()._raw_delete(Event.objects.db)
    return found


def kept_of_old() -> tuple[list[Any], list[Any]]:
    found = (list(ClientLog.objects.values()), list(LegacyCount.objects.values()))
    for table in (ClientLog, LegacyCount):
        table.objects.all()._raw_delete(table.objects.db)
    return found
