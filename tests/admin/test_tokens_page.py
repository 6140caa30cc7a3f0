"""Ingest tokens: a list, and a page to revoke one."""

import re
import shlex
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client

from events import clock
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.models import AuditEntry, IngestToken
from tests.conftest import sign_in

pytestmark = pytest.mark.django_db
PATH = "/admin/events/ingesttoken/"


def revoke_path() -> str:
    return f"{PATH}{IngestToken.objects.get().pk}/revoke/"


@pytest.fixture
def token() -> str:
    return tokens.issue("flasher <b>web</b>", who="someone", now=clock.now(), expires_at=None)


def test_the_list_shows_which_tokens_are_valid(client: Client, token: str) -> None:
    tokens.issue("old one", who="someone", now=clock.now(), expires_at=clock.now() - timedelta(days=1))
    sign_in(client, "Maintainers")
    text = client.get(PATH).content.decode()
    assert "flasher &lt;b&gt;web&lt;/b&gt;" in text
    assert '<span class="bad">expired</span>' in text
    assert token not in text


def test_the_list_shows_the_scopes_of_each_token(client: Client) -> None:
    tokens.issue("ci", who="someone", now=clock.now(), expires_at=None, scopes=[Scope.SOURCE_MAPS, Scope.READ])
    sign_in(client, "Maintainers")
    assert "sourcemaps, read" in row_of(client)


def test_no_token_is_explained(client: Client) -> None:
    sign_in(client, "Maintainers")
    assert b"INGEST_TOKEN_REQUIRED" in client.get(PATH).content


def test_the_command_that_the_empty_page_names_makes_a_token(client: Client) -> None:
    sign_in(client, "Maintainers")
    named = re.search("<code[^>]*>manage.py (issue_token .+?)</code>", client.get(PATH).content.decode())
    assert named
    call_command(*shlex.split(named[1]))
    assert "web-v2" in client.get(PATH).content.decode()
    assert IngestToken.objects.get().expires_at


def test_staff_may_neither_look_nor_revoke(client: Client, token: str) -> None:
    sign_in(client, "Staff")
    assert client.get(PATH).status_code == 403
    assert client.post(revoke_path()).status_code == 403
    assert tokens.admit(token)


def test_looking_at_the_question_revokes_nothing(client: Client, token: str) -> None:
    sign_in(client, "Maintainers")
    assert b"requests with this token get 401" in client.get(revoke_path()).content
    assert tokens.admit(token)


def test_a_confirmed_revocation_ends_the_token_and_is_kept(client: Client, token: str) -> None:
    user = sign_in(client, "Maintainers")
    assert "is revoked" in client.post(revoke_path(), follow=True).content.decode()
    assert not tokens.admit(token)
    entry = AuditEntry.objects.order_by("-pk").first()
    assert entry
    assert (entry.kind, entry.who, entry.what) == ("token", user.username, "Revoked.")
    assert entry.about == "flasher <b>web</b>"


def test_a_second_revocation_keeps_the_first_moment(client: Client, token: str) -> None:
    sign_in(client, "Maintainers")
    client.post(revoke_path())
    first = IngestToken.objects.get().revoked_at
    client.post(revoke_path())
    assert IngestToken.objects.get().revoked_at == first


@pytest.mark.parametrize("key", ["999999", "9" * 30, "nonsense", "1²"])
def test_an_unknown_token_is_not_found(client: Client, key: str) -> None:
    sign_in(client, "Maintainers")
    assert client.get(f"{PATH}{key}/revoke/").status_code == 404


def test_the_list_shows_when_a_token_was_last_used(client: Client, token: str) -> None:
    sign_in(client, "Maintainers")
    assert '<span class="quiet">never</span>' in row_of(client)
    assert tokens.admit(token)
    assert row_of(client).count("<time") == 2  # created, used


def row_of(client: Client) -> str:
    return re.findall(r"<tbody><tr>.*?</tr>", client.get(PATH).content.decode(), re.DOTALL)[0].split("Revoke…")[0]
