"""`manage.py issue_token`: a signed token, shown once."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events import clock
from events.models import IngestToken
from tests.tokens import admit

pytestmark = pytest.mark.django_db


def issue(*arguments: str) -> str:
    out = StringIO()
    call_command("issue_token", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_token_alone_is_printed_and_it_is_valid() -> None:
    token = issue("web-v2", "--expires", "90d")
    assert token.count("\n") == 1
    assert admit(token.strip())


def test_only_the_name_is_kept() -> None:
    token = issue("web-v2", "--expires", "90d").strip()
    kept = IngestToken.objects.values().get()
    assert kept["name"] == "web-v2"
    assert not any(token in str(value) for value in kept.values())


@pytest.mark.parametrize(
    ("expires", "span"),
    [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("30m", timedelta(minutes=30))],
)
def test_it_expires_when_asked(expires: str, span: timedelta) -> None:
    before = datetime.now(UTC)
    issue("web-v2", "--expires", expires)
    expires_at = IngestToken.objects.get().expires_at
    assert before + span <= expires_at <= datetime.now(UTC) + span


def test_it_may_never_expire() -> None:
    issue("web-v2", "--expires", "never")
    assert IngestToken.objects.get().expires_at is None


def test_a_name_is_given_once() -> None:
    issue("web-v2", "--expires", "1d")
    IngestToken.objects.update(revoked_at=clock.now())
    with pytest.raises(CommandError, match="Names are unique, so choose another"):
        issue("web-v2", "--expires", "90d")
    assert IngestToken.objects.count() == 1


@pytest.mark.parametrize("expires", ["", "90", "0d", "-1d", "1.5h", "90 d", "5y", "9999999d", "soon", "NEVER", "٩d"])
def test_what_is_no_duration_is_refused_in_words(expires: str) -> None:
    with pytest.raises(CommandError, match="is neither a duration such as 90d"):
        issue("web-v2", f"--expires={expires}")
    assert not IngestToken.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "two\nlines", "flàsher"])
def test_what_is_no_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(CommandError, match="1 to 64 printable ASCII characters"):
        issue(name, "--expires", "1d")


@pytest.mark.parametrize(
    ("arguments", "scopes"),
    [
        ((), "ingest"),
        (("--scope", "sourcemaps"), "sourcemaps"),
        (("--scope", "read,sourcemaps"), "sourcemaps read"),
        (("--scope", "triage", "--scope", "ingest, read"), "ingest read triage"),
        (("--scope=read", "--scope=read"), "read"),
    ],
)
def test_it_has_the_scopes_that_are_named(arguments: tuple[str, ...], scopes: str) -> None:
    issue("ci", "--expires", "1d", *arguments)
    assert IngestToken.objects.get().scopes == scopes


@pytest.mark.parametrize(("rate", "stored"), [(None, ""), ("60/m", "60/m"), ("5/10s", "5/10s"), ("OFF", "off")])
def test_it_has_the_rate_limit_that_is_named(rate: str | None, stored: str) -> None:
    issue("ci", "--expires", "1d", *([f"--rate={rate}"] if rate else []))
    assert IngestToken.objects.get().rate == stored


@pytest.mark.parametrize("rate", ["60", "0/m", "60/w", "-1/s", "٦/m", "off/m"])
def test_what_is_no_rate_is_refused_in_words(rate: str) -> None:
    with pytest.raises(CommandError, match="is neither a rate such as 60/m"):
        issue("ci", "--expires", "1d", f"--rate={rate}")
    assert not IngestToken.objects.exists()


@pytest.mark.parametrize("scope", ["", "admin", "read,", "read sourcemaps", "READ"])
def test_what_is_no_scope_is_refused_in_words(scope: str) -> None:
    with pytest.raises(CommandError, match="is no scope; the scopes are ingest, sourcemaps, read, triage"):
        issue("ci", "--expires", "1d", f"--scope={scope}")
    assert not IngestToken.objects.exists()
