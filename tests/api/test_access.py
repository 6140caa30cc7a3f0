"""`events/api/access.py`: which credentials each permission admits, and how a refusal names the missing scope."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory, override_settings
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from events import clock
from events.api.access import RequiresTriage, TokenAuthentication, name_of
from events.api.answers import rendered
from events.api.views import SiteViewSet
from events.ingest import tokens
from events.ingest.tokens import Scope
from tests.conftest import sign_in

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


def issue(*scopes: Scope, name: str = "bot") -> str:
    return tokens.issue(name, who="someone", now=clock.now(), expires_at=None, scopes=scopes)


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


@override_settings(ADMIN_TOKEN=ADMIN_TOKEN)
def test_the_admin_token_may_decide() -> None:
    assert decide(settings.ADMIN_TOKEN) == (200, {"ok": True, "who": "ADMIN_TOKEN"})
