"""The same bytes, sent to the site on SQLite and on PostgreSQL: the same answers, the same rows."""

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import run_apart
from tests.fuzz.judge import CASES, share
from tests.fuzz.strategies import BATCHES, BODIES, written
from tests.fuzz.test_old_routes import OLD

SEND = """
import base64, json, sys
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.test import Client
from events import clock
from events.models import Event
clock.now_ms = lambda: 1_800_000_000_000
client = Client(raise_request_exception=False, headers={"host": "localhost", "origin": "http://localhost:5173"})
for line in open(sys.argv[1]):
    path, body = json.loads(line)
    answer = client.generic("POST", path, base64.b64decode(body), content_type="application/json")
    rows = list(Event.objects.order_by("session_id", "id").values())
    Event.objects.all().delete() if len(rows) > 50 else None
    for row in rows:
        row["id"] = row["id"] if row["session_id"] is None else "random"
    told = answer.json()
    for one in [told, *told.get("results", [])]:
        one.pop("id", None)
    print(json.dumps([answer.status_code, told, sorted(map(str, rows))]))
"""


@pytest.fixture
def other_database(postgres_url: str) -> Iterator[str]:
    name = f"test_engines_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.needs_postgres
def test_both_engines_give_the_same_answer_to_the_same_bytes(tmp_path: Path, other_database: str) -> None:
    requests: list[Any] = []

    @share(5)
    @given(
        st.tuples(st.sampled_from(["/event", "/client-log", "/increment"]), BODIES)
        | st.tuples(st.just("/event/batch"), BATCHES)
        | st.tuples(st.just("/client-log"), written(OLD))
    )
    def collect(request: tuple[str, bytes]) -> None:
        requests.append((request[0], base64.b64encode(request[1]).decode()))

    collect()
    (tmp_path / "requests").write_text("\n".join(map(json.dumps, requests)), encoding="ascii")
    limits = {"INGEST_RATE": "off", "BATCH_RATE": "off", "SECRET_KEY": "for-tests-alone-" + "x" * 50}
    answers = []
    for engine in ({}, {"DATABASE_URL": other_database}):
        code = f"import sys; sys.argv = ['', {str(tmp_path / 'requests')!r}]\n{SEND}"
        done = run_apart(code, DATA_DIR=str(tmp_path / ("postgres" if engine else "sqlite")), **limits, **engine)
        assert done.returncode == 0, done.stderr[-2_000:]
        answers.append(done.stdout.splitlines())
    assert len(answers[0]) == len(requests) >= CASES // 100
    assert {json.loads(answer)[0] for answer in answers[0]} >= {200, 201, 400}
    differing = [trio for trio in zip(requests, *answers, strict=True) if trio[1] != trio[2]]
    assert differing[:3] == []
