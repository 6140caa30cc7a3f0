"""Sign-in sessions that have expired are deleted: at the start, and once a day after a sign-in."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client

from events import clock
from telemetry_site import expired_sessions
from tests.servers import served

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_sessions, "_last_at", float("-inf"))


def keep_session(key: str, expires_at: datetime) -> None:
    Session.objects.create(session_key=key, session_data="", expire_date=expires_at)


def kept() -> list[str]:
    return sorted(Session.objects.filter(pk__startswith="s-").values_list("pk", flat=True))


def sign_in() -> None:
    form = {"username": "maintainer", "password": PASSWORD}
    assert Client().post("/admin/login/", form).status_code == 302


@pytest.mark.django_db
def test_only_expired_sessions_go_and_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_sessions, "MAX_PER_RUN", 2)
    for number, hours in enumerate((-1, -3, -2, 1, 2)):
        keep_session(f"s-{number}", clock.now() + timedelta(hours=hours))
    assert expired_sessions.delete() == 2
    assert kept() == ["s-0", "s-3", "s-4"]
    assert expired_sessions.delete() == 1
    assert expired_sessions.delete() == 0
    assert kept() == ["s-3", "s-4"]


@pytest.mark.django_db
def test_a_sign_in_deletes_them_once_a_day() -> None:
    User.objects.create_superuser("maintainer", password=PASSWORD)
    keep_session("s-first", clock.now() - timedelta(hours=1))
    keep_session("s-alive", clock.now() + timedelta(hours=1))
    sign_in()
    assert kept() == ["s-alive"]
    keep_session("s-second", clock.now() - timedelta(hours=1))
    sign_in()
    assert kept() == ["s-alive", "s-second"]


@pytest.mark.django_db
def test_a_failed_sign_in_deletes_nothing() -> None:
    keep_session("s-first", clock.now() - timedelta(hours=1))
    Client().post("/admin/login/", {"username": "nobody", "password": "wrong"})
    assert kept() == ["s-first"]


@pytest.mark.django_db
def test_a_database_that_refuses_stops_no_sign_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.create_superuser("maintainer", password=PASSWORD)

    def refuse() -> int:
        raise DatabaseError("database is locked")

    monkeypatch.setattr(expired_sessions, "delete", refuse)
    sign_in()
    assert "Expired sessions were not deleted: database is locked" in caplog.text


def test_a_start_deletes_them(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
        database.execute("INSERT INTO django_session VALUES ('s-old', '', '2026-01-01'), ('s-new', '', '2999-01-01')")
        database.commit()
    with served(data_dir), closing(sqlite3.connect(data_dir / "telemetry.sqlite3")) as database:
        assert database.execute("SELECT session_key FROM django_session").fetchall() == [("s-new",)]
