"""Shared by the tests of groups: a maintainer, and the comparison of all counts after each test."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from events.maintenance import regrouping


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


@pytest.fixture
def compared_counts(db: None) -> Iterator[None]:
    """Compare the counts of all groups with their events at the end of a test."""
    yield
    assert regrouping.compare() == []
