"""`events/replica.py`: which database a query of staff uses."""

import re
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError, transaction

from events import replica
from events.models import Event, FailureGroup, IngestToken
from events.replica import Router
from legacy.models import ModeInForce


@pytest.fixture
def reading() -> Iterator[None]:
    token = replica._is_reading.set(True)
    yield
    replica._is_reading.reset(token)


@pytest.mark.parametrize(
    ("model", "alias"),
    [
        (Event, "replica"),
        (FailureGroup, "replica"),
        (IngestToken, "default"),  # a revoked token is refused at once
        (User, "default"),
        (Session, "default"),
        (ModeInForce, "default"),
    ],
)
def test_staff_reads_of_events_use_the_replica(reading: None, model: type, alias: str) -> None:
    assert Router().db_for_read(model) == alias


def test_every_other_query_uses_the_primary() -> None:
    router = Router()
    assert (router.db_for_read(Event), router.db_for_write(Event)) == ("default", "default")
    assert router.allow_relation(Event(), FailureGroup())
    assert [router.allow_migrate(alias, "events") for alias in ("default", "replica")] == [True, False]


def test_no_report_reads_by_sql_on_the_primary_alone() -> None:
    """`replica.cursor` chooses the database as the ORM does; `django.db.connection` is always the primary."""
    reports = sorted((settings.BASE_DIR / "events" / "reports").rglob("*.py"))
    texts = {file.name: file.read_text(encoding="utf-8") for file in reports}
    assert sum("replica.cursor(" in text for text in texts.values()) >= 4
    assert [name for name, text in texts.items() if re.search(r"\bconnections?\b(?=[\[.])", text)] == []


@pytest.mark.django_db
def test_a_transaction_reads_what_it_wrote(reading: None) -> None:
    with transaction.atomic():
        assert Router().db_for_read(Event) == Router().db_for_write(Event) == "default"


def test_only_an_error_of_a_database_is_repeated_on_the_primary(reading: None) -> None:
    assert replica.can_have_failed(OperationalError())
    assert not replica.can_have_failed(ValueError())
    with replica.given_up(OperationalError()) as reason:
        assert reason == "The replica did not answer."
        assert not replica.can_have_failed(OperationalError())
        assert Router().db_for_read(Event) == "default"
    assert Router().db_for_read(Event) == "replica"
