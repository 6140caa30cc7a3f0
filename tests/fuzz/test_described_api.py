"""Schemathesis sends requests to every operation of the OpenAPI description, and compares the responses with it."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.db import close_old_connections
from django.test import Client, override_settings
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from telemetry_site.wsgi import application
from tests.conftest import make_event
from tests.fuzz.judge import case, check, share

pytestmark = [pytest.mark.django_db, pytest.mark.fault("any input that the API describes")]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [
    ("POST", "/event"), ("POST", "/event/batch"), ("GET", "/metrics/flash-count"), ("GET", "/health"),
    ("GET", "/health/ready"), ("POST", "/client-log"), ("GET", "/count"), ("POST", "/increment"), ("GET", "/recent"),
    ("GET", "/metrics/summary"), ("GET", "/metrics/timeseries"), ("GET", "/metrics/prometheus"), ("GET", "/failures"),
    ("PUT", "/sourcemaps/{app_version}/{file}"), ("GET", "/sourcemaps/{app_version}"),
    ("DELETE", "/sourcemaps/{app_version}"), ("GET", "/releases"), ("GET", "/releases/{version}"),
    ("GET", "/groups"), ("GET", "/groups/{key}"), ("POST", "/groups/{key}/decision"),
    ("GET", "/exports/{name}"),
    ("GET", "/badge.svg"), ("GET", "/badge.json"), ("GET", "/stats"), ("GET", "/stats.json"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """Keep the database connection open after each request, as Django's test client does."""
    signals.request_started.disconnect(close_old_connections)
    signals.request_finished.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)
    signals.request_finished.connect(close_old_connections)


@cache
def schema() -> Any:
    """Return the description for Schemathesis, which takes a while to read it."""
    return schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)


def described() -> dict[str, Any]:
    return json.loads(Client().get("/api/schema/?format=json").content)  # type: ignore[no-any-return]


def test_no_operation_is_left_out() -> None:
    operations = {(method.upper(), path) for path, methods in described()["paths"].items() for method in methods}
    assert operations == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@override_settings(ADMIN_TOKEN="for-tests", PUBLIC_STATS=True)
def test_an_operation(method: str, path: str) -> None:
    operation = schema()[path][method]
    stored = make_event()

    @share(1)
    @given(
        call=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        bearer=st.sampled_from(["Bearer for-tests", "Bearer nonsense"]),
        is_known=st.booleans(),
    )
    def check_description(call: Any, bearer: str, is_known: bool) -> None:
        if is_known and path.startswith("/groups/"):
            call.path_parameters["key"] = stored.fingerprint  # no generated key is one of a group
        with case():
            answer = call.call(headers={"Authorization": bearer})
        check("5xx", answer.status_code < 500, answer.status_code, call)
        call.validate_response(answer, checks=CHECKS)

    check_description()
