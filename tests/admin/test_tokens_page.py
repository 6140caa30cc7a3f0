"""Tokens: a list, a page to create one that shows it once, and a page to revoke one."""

import html
import logging
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from events import clock
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.models import AuditEntry, IngestToken
from tests.conftest import sign_in
from tests.tokens import admit

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
    assert admit(token)


def test_looking_at_the_question_revokes_nothing(client: Client, token: str) -> None:
    sign_in(client, "Maintainers")
    assert b"requests with this token get 401" in client.get(revoke_path()).content
    assert admit(token)


def test_a_confirmed_revocation_ends_the_token_and_is_kept(client: Client, token: str) -> None:
    user = sign_in(client, "Maintainers")
    assert "is revoked" in client.post(revoke_path(), follow=True).content.decode()
    assert not admit(token)
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
    assert admit(token)
    assert row_of(client).count("<time") == 2  # created, used


# --- creating a token -----------------------------------------------------------------------------------------

ADD = f"{PATH}add/"


def form(**changes: Any) -> dict[str, Any]:
    return {"name": "release-bot", "scopes": ["read"], "lifetime": "90", "last_day": "", "rate": ""} | changes


def shown_token(response: Any) -> str:
    found = re.search('<pre [^>]*id="token"[^>]*>(.+?)</pre>', response.content.decode())
    return html.unescape(found[1]) if found else ""


def test_a_new_token_is_shown_once_and_is_stored_nowhere(
    client: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    user = sign_in(client, "Maintainers")
    response = client.post(ADD, form(scopes=["triage", "read"], rate="60/m"))
    token = shown_token(response)
    row = IngestToken.objects.get()
    assert (response.status_code, row.name, row.scopes, row.rate) == (200, "release-bot", "read triage", "60/m")
    assert admit(token, Scope.READ)
    assert admit(token, Scope.TRIAGE)
    # No page shows it again: neither a repeated POST, nor the list, its history or the audit log.
    again = client.post(ADD, form(scopes=["triage", "read"], rate="60/m"))
    assert again.status_code == 400
    assert b"A token named release-bot exists or existed" in again.content
    pages = [
        again,
        *(client.get(path) for path in (ADD, PATH, f"{PATH}{row.pk}/history/", "/admin/events/auditentry/")),
    ]
    signature = token.rpartition(":")[2]
    assert not [page for page in pages if signature in page.content.decode()]
    assert IngestToken.objects.count() == 1
    entry = AuditEntry.objects.get()
    until = f"{row.expires_at:%Y-%m-%d %H:%M}"
    assert (entry.kind, entry.who, entry.about) == ("token", user.username, "release-bot")
    assert entry.what == f"Issued for read, triage, until {until} UTC, with the rate limit 60/m."
    # Neither the database with its sessions nor the headers nor the log contain it.
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            assert signature not in repr(cursor.fetchall())
    assert not [value for value in response.headers.values() if signature in value]
    assert signature not in "".join(morsel.OutputString() for morsel in client.cookies.values())
    assert signature not in caplog.text + "".join(capfd.readouterr())
    assert {"no-store", "private"} <= set(response.headers["Cache-Control"].split(", "))


@pytest.mark.parametrize(
    ("changes", "expires"),
    [
        ({"lifetime": "7"}, "2026-02-19 12:00"),
        ({"lifetime": "90"}, "2026-05-13 12:00"),
        ({"lifetime": "365"}, "2027-02-12 12:00"),
        ({"lifetime": "date", "last_day": "2026-02-12"}, "2026-02-13 00:00"),
        ({"lifetime": "date", "last_day": "2036-02-10"}, "2036-02-11 00:00"),
        ({"lifetime": "never"}, None),
    ],
)
def test_a_token_is_limited_in_time(
    client: Client, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], expires: str | None
) -> None:
    sign_in(client, "Maintainers")
    monkeypatch.setattr("events.clock.now", lambda: datetime(2026, 2, 12, 12, tzinfo=UTC))
    assert client.post(ADD, form(**changes)).status_code == 200
    expires_at = IngestToken.objects.get().expires_at
    assert (expires_at and f"{expires_at:%Y-%m-%d %H:%M}") == expires


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": " "}, "name"),
        ({"name": "flàsher"}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "admin"]}, "scopes"),
        ({"lifetime": ""}, "lifetime"),
        ({"lifetime": "1"}, "lifetime"),
        ({"lifetime": "date"}, "last_day"),
        ({"lifetime": "date", "last_day": "2020-01-01"}, "last_day"),
        ({"lifetime": "date", "last_day": "9999-12-31"}, "last_day"),
        ({"lifetime": "date", "last_day": "tomorrow"}, "last_day"),
        ({"lifetime": "90", "last_day": "2030-01-01"}, "last_day"),
        ({"rate": "60"}, "rate"),
        ({"rate": "0/m"}, "rate"),
        ({"rate": "60/w"}, "rate"),
        ({"rate": "٦/m"}, "rate"),
        ({"rate": "60/m" * 9}, "rate"),
    ],
)
def test_a_wrong_form_names_its_field_and_creates_nothing(client: Client, changes: dict[str, Any], field: str) -> None:
    sign_in(client, "Maintainers")
    response = client.post(ADD, form(**changes))
    assert (response.status_code, set(response.context["form"].errors)) == (400, {field})
    assert not IngestToken.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_person_gives_only_scopes_of_their_own_permissions(client: Client) -> None:
    user = User.objects.create_user("operator", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["add_ingesttoken", "view_event"]))
    client.force_login(user)
    assert re.findall('name="scopes" value="([a-z]+)"', client.get(ADD).content.decode()) == ["ingest", "read"]
    assert client.post(ADD, form(scopes=["triage"])).status_code == 400
    assert shown_token(client.post(ADD, form(scopes=["read"])))


def test_the_list_shows_the_rate_limit(client: Client) -> None:
    tokens.issue("a", who="someone", now=clock.now(), expires_at=None, rate="60/m")
    sign_in(client, "Maintainers")
    assert ">60/m<" in row_of(client)
    IngestToken.objects.update(rate="")
    assert "of the site" in row_of(client)


def row_of(client: Client) -> str:
    return re.findall(r"<tbody><tr>.*?</tr>", client.get(PATH).content.decode(), re.DOTALL)[0].split("Revoke…")[0]
