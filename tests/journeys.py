"""Record which files of the project a request visits; a process of its own, see tests/test_journeys.py.

The request goes through the real application of the server, with its event loop and thread pools. Only Granian itself
is replaced: `Scope` and `Protocol` stand for the objects that it passes.
"""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import django

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("events", "legacy", "telemetry_site", "templates")
EVENT = {
    "event_type": "flash_error",
    "occurred_at": "2026-02-12T18:00:00.000Z",
    "message": "No ACK",
    "model": "UV-5RM",
    "write_mode": 1,
    "connected": 1,
    "app_version": "19afc18",
}
PAGE = "/admin/events/failuregroup/"


class Recorder:
    """Collects the project's files in the order of their first call. It is off while `files` is None."""

    def __init__(self) -> None:
        self.files: dict[str, None] | None = None

    def add(self, name: str) -> None:
        path = Path(name)
        if self.files is not None and path.is_relative_to(PROJECT):
            relative = path.relative_to(PROJECT)
            if relative.parts[0] in PACKAGES:
                self.files.setdefault(relative.as_posix())

    def profile(self, frame: FrameType, event: str, arg: Any) -> None:
        is_module = frame.f_code.co_name == "<module>"
        # The thread that looks after the process of the jobs belongs to no request.
        if event == "call" and not is_module and threading.current_thread().name != "jobs":
            self.add(frame.f_code.co_filename)

    def note_template(self, *, template: Any, **_: Any) -> None:
        self.add(template.origin.name)


class RequestHeaders(dict[str, str]):
    """The part of Granian's headers that the server uses."""

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        return list(super().items())


@dataclass
class Scope:
    method: str
    path: str
    headers: RequestHeaders
    proto: str = "http"
    http_version: str = "1.1"
    server: str = "127.0.0.1:8000"
    client: str = "192.0.2.1:50000"
    scheme: str = "http"
    query_string: str = ""
    authority: str | None = None


class Protocol:
    """Gives the body of a request and keeps the status of the response."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0

    async def __call__(self) -> bytes:
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status


async def status_of(app: Any, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    """Send one request through the application; return the status of the response."""
    fields = RequestHeaders({"host": "localhost", "content-type": "application/json"}, **headers)
    if body:
        fields["content-length"] = str(len(body))
    protocol = Protocol(body)
    await app.__rsgi__(Scope(method, path, fields), protocol)
    return protocol.status


async def record(recorder: Recorder, cookie: str) -> dict[str, list[str]]:
    """Return the files that each journey visits, in order of the first visit."""
    from events.maintenance import banners
    from events.process_memory import Recent
    from telemetry_site.server import rsgi, threads

    threads.IDLE_SECONDS = 3600.0  # no idle thread wakes up while a journey is recorded
    banners._recent = Recent(3600.0)  # also on a machine where a recorded round takes longer than banners are kept
    rsgi.app.__rsgi_init__(asyncio.get_running_loop())
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()  # periodic tasks belong to no request

    journeys = {}
    for number in range(2):  # the first round fills the caches
        body = json.dumps(EVENT | {"session_id": f"session-{number}"}).encode()
        recorder.files = {}
        assert await status_of(rsgi.app, "POST", "/event", body) == 201
        journeys["POST /event"] = list(recorder.files)
        recorder.files = {}
        assert await status_of(rsgi.app, "GET", PAGE, cookie=cookie) == 200
        journeys[f"GET {PAGE}"] = list(recorder.files)
    return journeys


def main() -> None:
    recorder = Recorder()
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client
    from django.test.signals import template_rendered
    from django.test.utils import setup_test_environment

    call_command("migrate", verbosity=0)
    setup_test_environment()
    template_rendered.connect(recorder.note_template)
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    threading.setprofile(recorder.profile)
    sys.setprofile(recorder.profile)
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    sys.stdout.write(json.dumps(asyncio.run(record(recorder, cookie))))


if __name__ == "__main__":
    main()
