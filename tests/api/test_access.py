"""`events/api/access.py`: who is admitted, the scope that a refusal names, and the rate limit of a token."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from events import clock
from events.api.access import RequiresTriage, TokenAuthentication, name_of
from events.api.answers import rendered
from events.api.views import SiteViewSet
from events.ingest import tokens
from events.ingest.tokens import Scope
from tests.conftest import sign_in, success
from tests.refusals import counted, expect_answer

pytestmark = pytest.mark.django_db
ADMIN_TOKEN = "an-admin-token-for-tests"


class DecisionViewSet(SiteViewSet):
    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [RequiresTriage]

    def create(self, request: Request) -> Any:
        return rendered({"ok": True, "who": name_of(request)})


def decide(token: str = "", user: User | AnonymousUser | None = None) -> tuple[int, dict[str, Any]]:
    request = RequestFactory().post("/decision", headers={"authorization": f"Bearer {token}"} if token else {})
    request.user = user or AnonymousUser()
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    response = DecisionViewSet.as_view({"post": "create"})(request)
    content = response.render().content if hasattr(response, "render") else response.content
    return response.status_code, json.loads(content)


def issue(*scopes: Scope, name: str = "bot", rate: str = "") -> str:
    return tokens.issue(name, who="someone", now=clock.now(), expires_at=None, scopes=scopes or [Scope.READ], rate=rate)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_decision_needs_the_scope_triage(scope: Scope) -> None:
    answer = decide(issue(scope))
    if scope is Scope.TRIAGE:
        assert answer == (200, {"ok": True, "who": "token bot"})
    else:
        assert answer == (401, {"ok": False, "error": "This token lacks the scope triage"})


@pytest.mark.parametrize("token", ["", "bot:forged", "revoked"])
def test_without_a_valid_token_a_refusal_names_no_scope(token: str) -> None:
    if token == "revoked":
        token = issue()
        tokens.revoke(tokens.find(token), who="someone", now=clock.now())  # type: ignore[arg-type]
    assert decide(token) == (401, {"ok": False, "error": "Unauthorized"})


@pytest.mark.parametrize(("role", "status"), [("Staff", 401), ("Maintainers", 200)])
def test_a_session_needs_the_permission_to_triage(client: Any, role: str, status: int) -> None:
    user = sign_in(client, role)
    assert decide(user=User.objects.get(pk=user.pk))[0] == status


# --- the rate limit of a token ----------------------------------------------------------------------------------

FAILURES, EVENT = "/failures", "/event"


def ask(client: Client, path: str, token: str, address: str = "192.0.2.1") -> Any:
    bearer = {"authorization": f"Bearer {token}"}
    if path == EVENT:
        return client.post(path, success(), content_type="application/json", headers=bearer, REMOTE_ADDR=address)
    return client.get(path, headers=bearer, REMOTE_ADDR=address)


@override_settings(INGEST_TOKEN_REQUIRED=True)
@pytest.mark.parametrize("path", [FAILURES, EVENT])
def test_a_token_over_its_rate_limit_gets_429(client: Client, path: str) -> None:
    token, other = (issue(*Scope, name=name, rate="2/h") for name in ("one", "other"))
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]  # it is the limit of the token, not of the address
    answers = [ask(client, path, token, address) for address in addresses]
    assert [answer.status_code for answer in answers[:2]] == [200 if path == FAILURES else 201] * 2
    expect_answer(answers[2], 429, {"ok": False, "error": "Too many requests"})
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 3_600
    assert ask(client, path, other).status_code < 300
    assert counted() == ({"rate_limited": 1} if path == EVENT else {})


@override_settings(INGEST_TOKEN_REQUIRED=True, READ_RATE="1/h")
@pytest.mark.parametrize(
    ("path", "rate", "statuses"), [(FAILURES, "", [200, 429]), (FAILURES, "off", [200, 200]), (EVENT, "", [201, 201])]
)
def test_the_default_is_the_limit_of_the_site(client: Client, path: str, rate: str, statuses: list[int]) -> None:
    token = issue(*Scope, rate=rate)
    assert [ask(client, path, token).status_code for _ in statuses] == statuses


def test_requests_without_the_scope_count_too(client: Client) -> None:
    token = issue(Scope.INGEST, rate="2/h")
    assert [ask(client, FAILURES, token).status_code for _ in range(3)] == [401, 401, 429]


@override_settings(INGEST_TOKEN_REQUIRED=True)
@pytest.mark.parametrize("rate", ["", "900/m", "off"])
def test_a_rate_limit_adds_no_query_to_an_event(client: Client, rate: str) -> None:
    token = issue(Scope.INGEST, rate=rate)
    ask(client, EVENT, token)
    with CaptureQueriesContext(connection) as queries:
        ask(client, EVENT, token)
    assert len([query for query in queries if "ingesttoken" in query["sql"]]) == 1


@override_settings(ADMIN_TOKEN=ADMIN_TOKEN)
def test_the_admin_token_may_decide() -> None:
    assert decide(settings.ADMIN_TOKEN) == (200, {"ok": True, "who": "ADMIN_TOKEN"})
