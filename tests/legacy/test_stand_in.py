"""The stand-in for the old Workers gives the recorded responses of the deployed Workers."""

import http.client
import json
from contextlib import closing
from typing import Any

import pytest

from tests.fixtures.old_answers import ROWS, AnswerRow
from tests.fixtures.stand_in import CounterWorker, LogWorker, old_workers

# The stand-in has no `/recent`, because no front end reads it.
RECORDED = [row for row in ROWS if row.old is not None and not row.path.startswith("/recent")]


def ask(worker: LogWorker | CounterWorker, method: str, path: str, body: str, origin: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
    with closing(http.client.HTTPConnection("127.0.0.1", worker.server_port)) as connection:
        connection.request(method, path, body.encode(errors="surrogatepass") or None, headers)
        answer = connection.getresponse()
        assert answer.getheader("Access-Control-Allow-Origin") == (origin or None)
        assert answer.getheader("Access-Control-Allow-Credentials") is None
        text = answer.read()
        return answer.status, json.loads(text) if text else None


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row.case)
def test_the_stand_in_answers_as_recorded(row: AnswerRow) -> None:
    assert row.old is not None
    origin = row.headers.get("origin", "")
    with old_workers() as (log, counter):
        # Only the log Worker's status is known.
        worker = counter if row.old.status is None else log
        for sent in row.before:
            ask(worker, sent.method, sent.path, sent.body or "", origin)
        status, body = ask(worker, row.method, row.path, row.body, origin)
    assert row.old.status in (None, status)
    assert row.old.body in (None, body)
