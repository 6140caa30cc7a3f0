"""`manage.py tokens` and `manage.py revoke_token`: the list of tokens, and the end of one."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events import clock
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.management.account import login
from events.models import AuditEntry, IngestToken
from tests.tokens import admit

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_list_shows_each_token_with_its_state() -> None:
    assert run("tokens") == "No token. To create one: manage.py issue_token NAME --expires 90d\n"
    now = clock.now()
    used = tokens.issue("a", who="someone", now=now, expires_at=None, scopes=[Scope.READ, Scope.TRIAGE], rate="60/m")
    admit(used, Scope.READ)
    yesterday = now - timedelta(days=1)
    tokens.issue("b", who="someone", now=now, expires_at=yesterday, scopes=[Scope.INGEST])
    tokens.issue("c", who="someone", now=now, expires_at=None)
    tokens.revoke(IngestToken.objects.get(name="c"), who="someone", now=now)
    used_at = IngestToken.objects.get(name="a").last_used_at
    assert run("tokens").splitlines() == [
        f"valid    a  read,triage  limit 60/m  until it is revoked  last used {used_at:%Y-%m-%d %H:%M} UTC",
        f"expired  b  ingest  limit of the site  until {yesterday:%Y-%m-%d %H:%M} UTC  never used",
        "revoked  c  ingest  limit of the site  until it is revoked  never used",
    ]


def test_a_revoked_token_is_refused_and_the_log_says_by_whom() -> None:
    token = tokens.issue("web", who="someone", now=clock.now(), expires_at=None)
    assert run("revoke_token", "web") == "Revoked web. From now on the site refuses it.\n"
    assert not admit(token)
    entry = AuditEntry.objects.latest("id")
    assert (entry.kind, entry.who, entry.what, entry.about) == ("token", login(), "Revoked.", "web")
    entries = AuditEntry.objects.count()
    assert run("revoke_token", "web").startswith("web was revoked already, at ")
    assert AuditEntry.objects.count() == entries


@pytest.mark.parametrize("name", ["", "other", "nul\0", "WEB"])
def test_an_unknown_name_is_refused_and_not_repeated(name: str) -> None:
    token = tokens.issue("web", who="someone", now=clock.now(), expires_at=None)
    for argument in (name, token):
        with pytest.raises(CommandError) as refused:
            run("revoke_token", argument)
        assert str(refused.value) == "There is no token of this name. To list the names: manage.py tokens"
    assert admit(token)
