"""Requests that share a commit get the same answers, whether the view or the server waits for it."""

import json
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events.api.pending import IS_COMPLETED_BY_SERVER, PendingResponse
from events.ingest import contract, group_commit, writer
from events.ingest.refusals import RefusalReason
from events.models import Event, IngestTally
from tests.conftest import payload, success
from tests.ingest.test_ingest import row
from tests.storage import read_only_database

pytestmark = pytest.mark.django_db(transaction=True)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def send(path: str, body: object, *, is_completed_by_server: bool) -> Any:
    extra: dict[str, Any] = {IS_COMPLETED_BY_SERVER: True} if is_completed_by_server else {}
    return Client().post(path, json.dumps(body), content_type="application/json", **extra)


def answer_of(response: Any) -> Answer:
    return Answer(response.status_code, dict(response.items()), json.loads(response.content))


def without_ids(answer: Answer) -> Answer:
    """Return the answer without the random ids of stored events."""
    body = answer.body | {"results": [result | {"id": ""} for result in answer.body.get("results", [])], "id": ""}
    return answer._replace(body=body)


def commits(queries: CaptureQueriesContext) -> int:
    return sum(query["sql"] == "COMMIT" for query in queries.captured_queries)


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/event", success(session_id="one")),
    ("/event", payload(message="a failure")),
    ("/event", success(session_id="one")),
    ("/event/batch", {"events": [success(session_id="two"), {"event_type": "flash_error"}]}),
]


def test_a_response_is_the_same_whether_the_view_waits_or_the_server_completes_it() -> None:
    at_once = [answer_of(send(path, body, is_completed_by_server=False)) for path, body in REQUESTS]
    assert Event.objects.count() == 3
    Event.objects.all().delete()

    pending = [send(path, body, is_completed_by_server=True) for path, body in REQUESTS]
    assert {type(response) for response in pending} == {PendingResponse}
    assert Event.objects.count() == 0
    with CaptureQueriesContext(connection) as queries:
        for response in pending:
            response.complete()
    assert commits(queries) == 1
    assert [without_ids(answer_of(response)) for response in pending] == list(map(without_ids, at_once))
    assert Event.objects.count() == 3


def test_a_failed_commit_is_the_same_refusal_for_both() -> None:
    pending = send("/event", payload(), is_completed_by_server=True)
    with read_only_database():
        pending.complete()
    connection.close()
    with read_only_database():
        at_once = send("/event", payload(), is_completed_by_server=False)
    assert answer_of(pending) == answer_of(at_once)
    assert (pending.status_code, pending.headers["Retry-After"]) == (503, "2")
    assert not Event.objects.exists()
    writer.flush_refusals()
    assert list(IngestTally.objects.values_list("outcome", "count")) == [(RefusalReason.STORAGE, 2)]


def test_an_internal_error_is_the_same_answer_for_both(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(raise_request_exception=False)
    bad = row(payload())._replace(write_mode=7)  # only the database refuses it
    monkeypatch.setattr(contract, "parse", lambda *_, **__: bad)
    answers = []
    for extra in ({}, {IS_COMPLETED_BY_SERVER: True}):
        response: Any = client.post("/event", payload(), content_type="application/json", **extra)
        if extra:
            response.complete()
        assert response.headers.pop("X-Request-ID")
        answers.append(answer_of(response))
    assert answers[0] == answers[1]
    assert (answers[0].status, answers[0].body) == (500, {"ok": False, "error": "Internal error"})
    assert caplog.text.count("Internal Server Error: /event") == 2
    assert not Event.objects.exists()


def test_a_refusal_needs_no_commit() -> None:
    response = send("/event", payload(connected=2), is_completed_by_server=True)
    assert (type(response) is PendingResponse, response.status_code) == (False, 400)


def test_who_waits_commits_the_events_before_its_own_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_COMMIT_EVENTS", 2)
    submissions = [writer.submit([row(payload(message=str(number)))]) for number in range(6)]
    with CaptureQueriesContext(connection) as queries:
        (outcome,) = writer.wait(submissions[3])
    assert outcome.stored
    assert commits(queries) == 2
    assert [submission.is_done for submission in submissions] == [True] * 4 + [False] * 2
    assert [writer.wait(submission)[0].stored for submission in reversed(submissions)] == [True] * 6
    assert Event.objects.count() == 6
