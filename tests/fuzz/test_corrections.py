"""Voids, undoes and repeats successes in any order. The public count equals that of a reference model."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import TestCase
from hypothesis import given
from hypothesis import strategies as st

from events import clock, process_memory
from events.counting import corrections, rollups
from events.counting.buckets import HOUR_MS
from events.counting.corrections import AlreadyUndone, NothingMatches, Selection
from events.ingest import contract, writer
from events.models import Correction
from events.reports import metrics
from tests.conftest import success
from tests.fuzz.judge import case, check, rolled_back, share

pytestmark = pytest.mark.django_db

NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
MODELS = ["UV-5RM", "UV-17R"]
VERSIONS = ["19afc18", "f0f0f0f"]
SENDS = st.tuples(
    st.just("send"),
    st.lists(
        st.tuples(st.integers(0, 15), st.sampled_from(MODELS), st.sampled_from(VERSIONS), st.integers(0, 2 * HOUR_MS)),
        min_size=1,
        max_size=8,
    ),
)
SELECTIONS = st.builds(
    lambda start, length, model, version: Selection(NOON_MS + start, NOON_MS + start + length, model, version),
    st.sampled_from([0, 0, HOUR_MS, HOUR_MS + 1]),
    st.sampled_from([1, HOUR_MS, 2 * HOUR_MS]),
    st.sampled_from([None, None, *MODELS]),
    st.sampled_from([None, None, *VERSIONS]),
)
VOIDS = st.tuples(st.just("void"), SELECTIONS)
UNDOS = st.tuples(st.just("undo"), st.integers(0, 5))


@dataclass
class Success:
    """A session in the model; `void_by` is the index of a correction."""

    model: str
    version: str
    at_ms: int
    void_by: int | None = None

    def is_in(self, selection: Selection) -> bool:
        return (
            self.void_by is None
            and selection.since_ms <= self.at_ms < selection.until_ms
            and selection.model in (None, self.model)
            and selection.app_version in (None, self.version)
        )


class Model:
    """The reference model. It also sends each action to the site."""

    def __init__(self) -> None:
        self.sessions: dict[int, Success] = {}
        self.made: list[int] = []  # the primary keys of the corrections on the site
        self.undone: set[int] = set()

    def send(self, events: list[tuple[int, str, str, int]]) -> None:
        rows = []
        for number, model, version, after_ms in events:
            body = success(session_id=f"session {number}", model=model, app_version=version)
            rows.append(contract.parse(body, received_at_ms=NOON_MS + after_ms))
            self.sessions.setdefault(number, Success(model, version, NOON_MS + after_ms))
        writer.record_many(rows)

    def void(self, selection: Selection) -> None:
        matching = [one for one in self.sessions.values() if one.is_in(selection)]
        try:
            correction = corrections.begin(selection, who="olga", at=clock.now(), why="forged")
        except NothingMatches:
            check("refused", not matching, selection, matching)
            return
        check("else", correction.matched == len(matching), correction.matched, matching)
        list(corrections.carry_out(correction))
        for one in matching:
            one.void_by = len(self.made)
        self.made.append(correction.pk)

    def undo(self, place: int) -> None:
        if place >= len(self.made):
            return
        correction = Correction.objects.get(pk=self.made[place])
        try:
            list(corrections.undo(correction, who="olga", at=clock.now(), why="real"))
        except AlreadyUndone:
            check("refused", place in self.undone, place)
        self.undone.add(place)
        for one in self.sessions.values():
            if one.void_by == place:
                one.void_by = None


@pytest.mark.fault("successes that should not count")
@share(1, short=10)
@given(steps=st.lists(SENDS | VOIDS | UNDOS, max_size=10))
def test_any_order_of_corrections(steps: list[tuple[str, Any]]) -> None:
    process_memory.clear()
    model = Model()
    with rolled_back():
        with case():
            for name, what in steps:
                with TestCase.captureOnCommitCallbacks(execute=True):
                    getattr(model, name)(what)
                counting = sum(one.void_by is None for one in model.sessions.values())
                void = len(model.sessions) - counting
                actual = (metrics.flash_count().total, corrections.void_now())
                check("else", actual == (counting, void), actual, counting, void, name)
        differing = [one for day in rollups.days_in_use(0, None) for one in rollups.compare(day)]
        check("else", differing + rollups.compare_totals() == [], differing)
