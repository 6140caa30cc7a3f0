"""The old routes deliver no advice: their clients do not know it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from events import clock
from events.grouping import advice
from events.models import AdviceDay
from tests.conftest import make_event, payload

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/client-log", "/increment"])
def test_the_old_routes_deliver_no_advice(post: Callable[..., Any], path: str) -> None:
    key = make_event().fingerprint or ""
    advice.give(key, "Wait.", None, user=User(username="olga"), at=clock.now())
    answer = post(path, payload(sessionId="session", session_id=None))
    assert answer.status_code in (200, 201)
    assert "advice" not in answer.json()
    assert not AdviceDay.objects.exists()
