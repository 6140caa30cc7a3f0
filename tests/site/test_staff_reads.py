"""`StaffReads`: which requests read from the replica, and what happens when it fails."""

from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import ResolverMatch

from events import replica
from telemetry_site.middleware import StaffReads

SESSION, OWN_WRITES = "sessionid", "reads_primary"
pytestmark = pytest.mark.usefixtures("a_replica")


@pytest.fixture
def a_replica() -> Any:
    names = {"SESSION_COOKIE_NAME": SESSION, "READS_PRIMARY_COOKIE_NAME": OWN_WRITES}
    with override_settings(HAS_REPLICA=True, **names):
        yield


def answered(request: HttpRequest, status: int = 200) -> Any:
    return StaffReads(lambda _: HttpResponse(status=status))(request)


@pytest.mark.parametrize(
    ("cookies", "status", "is_set"),
    [({SESSION: "1"}, 302, True), ({SESSION: "1"}, 403, False), ({}, 200, False)],
)
def test_who_changed_something_reads_from_the_primary_for_a_while(
    rf: RequestFactory, cookies: dict[str, str], status: int, is_set: bool
) -> None:
    request = rf.post("/admin/")
    request.COOKIES |= cookies
    answer = answered(request, status)
    assert (OWN_WRITES in answer.cookies) is is_set
    if is_set:
        cookie = answer.cookies[OWN_WRITES]
        assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (15, True, "Lax")
        assert cookie["max-age"] > replica.MAX_LAG_SECONDS


def test_a_request_with_this_cookie_does_not_ask_for_the_replica(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    request.COOKIES[OWN_WRITES] = "1"
    assert "X-Reads-From" not in answered(request)


def test_a_view_that_failed_on_the_replica_is_repeated_on_the_primary(rf: RequestFactory) -> None:
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(f"{args} {kwargs} {replica._is_reading.get()}")

    request: Any = rf.get("/admin/")
    request.resolver_match = ResolverMatch(view, ("one",), {"two": 2})
    middleware = StaffReads(lambda _: HttpResponse())
    error = OperationalError("the connection is closed")
    assert middleware.process_exception(request, error) is None  # it was not read from the replica
    token = replica._is_reading.set(True)
    try:
        assert middleware.process_exception(request, ValueError()) is None
        answer: Any = middleware.process_exception(request, error)
    finally:
        replica._is_reading.reset(token)
    assert answer.content == b"('one',) {'two': 2} False"
    assert request.replica_fault == "The replica did not answer."


def test_a_replica_of_sqlite_is_refused() -> None:
    with pytest.raises(SystemCheckError, match=r"telemetry_site\.E004"):
        call_command("check")
