"""The same bytes to the site on SQLite and on PostgreSQL give the same responses and rows, and no 5xx on any page."""

import base64
import json
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import run_apart
from tests.fuzz.judge import CASES, check, count, share
from tests.fuzz.strategies import BATCHES, BODIES, written
from tests.fuzz.test_old_routes import OLD
from tests.fuzz.test_parts import PARTS, HostilePart, request_with
from tests.server.test_hostile_requests import ROUTES

SEND = """
import base64, json, sys
import django; django.setup()
from django.conf import settings
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from django.test import Client
from events import clock
from events.models import Event
from tests.server.test_hostile_requests import ask
clock.now_ms = lambda: 1_800_000_000_000
client = Client(raise_request_exception=False, headers={"host": "localhost", "origin": "http://localhost:5173"})
client.force_login(User.objects.create_superuser("olga"))
session = f"{settings.SESSION_COOKIE_NAME}={client.cookies.pop(settings.SESSION_COOKIE_NAME).value}"
for line in open(sys.argv[1]):
    path, body, query, environ = json.loads(line)
    if environ:
        environ["HTTP_COOKIE"] = environ["HTTP_COOKIE"].replace("SESSION", session)
        print(json.dumps(ask("GET", path, query, **environ)[:1]))
        continue
    answer = client.generic("POST", path, base64.b64decode(body), content_type="application/json")
    rows = list(Event.objects.order_by("session_id", "id").values())
    Event.objects.all().delete() if len(rows) > 50 else None
    for row in rows:
        row["id"] = row["id"] if row["session_id"] is None else "random"
    content = answer.json()
    for result in [content, *content.get("results", [])]:
        result.pop("id", None)
    print(json.dumps([answer.status_code, content, sorted(map(str, rows))]))
"""


@pytest.fixture
def other_database(postgres_url: str) -> Iterator[str]:
    name = f"test_engines_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


# Pages with a search. A request changes nothing.
PAGES = [name for name, path in ROUTES.items() if path.startswith("/admin/") and "logout" not in path]
NO_THINGS: dict[str, str] = defaultdict(lambda: "1")


@pytest.mark.needs_postgres
@pytest.mark.fault("bytes that one engine takes and the other not")
def test_both_engines_give_the_same_answer_to_the_same_bytes(tmp_path: Path, other_database: str) -> None:
    requests: list[Any] = []

    @share(5)
    @given(
        st.tuples(st.sampled_from(["/event", "/client-log", "/increment"]), BODIES)
        | st.tuples(st.just("/event/batch"), BATCHES)
        | st.tuples(st.just("/client-log"), written(OLD))
    )
    def collect(request: tuple[str, bytes]) -> None:
        requests.append((request[0], base64.b64encode(request[1]).decode(), "", None))

    @share(2, short=60)
    @given(route=st.sampled_from(PAGES), part=PARTS.filter(lambda part: part.kind != "form"))
    def collect_page(route: str, part: HostilePart) -> None:
        _, path, query, _, environ = request_with(route, part, NO_THINGS, "SESSION")
        requests.append((path, "", query, environ))

    collect()
    collect_page()
    count(len(requests))
    (tmp_path / "requests").write_text("\n".join(map(json.dumps, requests)), encoding="ascii")
    limits = {"INGEST_RATE": "off", "BATCH_RATE": "off", "SECRET_KEY": "for-tests-alone-" + "x" * 50}
    answers = []
    for engine in ({}, {"DATABASE_URL": other_database}):
        code = f"import sys; sys.argv = ['', {str(tmp_path / 'requests')!r}]\n{SEND}"
        done = run_apart(code, DATA_DIR=str(tmp_path / ("postgres" if engine else "sqlite")), **limits, **engine)
        assert done.returncode == 0, done.stderr[-2_000:]
        answers.append([json.loads(line) for line in done.stdout.splitlines()])
    assert len(answers[0]) == len(requests) >= CASES // 100
    assert {answer[0] for answer in answers[0]} >= {200, 201, 400}
    for request, *both in zip(requests, *answers, strict=True):
        check("5xx", all(answer[0] < 500 for answer in both), request, both)
        check("else", both[0] == both[1], request, both)
