"""Problems: one alert while they last, a new one when they return, and rules that fail."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from events.alerts.messages import Part
from events.alerts.rules import evaluation
from events.alerts.rules.evaluation import Problem, Rule, RulesFailed
from events.models import Alert, AlertKind
from tests.threads import in_threads

NOON = datetime(2026, 2, 12, 12, tzinfo=UTC)


def full(name: str = "disk", *, opens: bool = True) -> Problem:
    return Problem(name, Part(f"{name} is full", ("1 GiB is free.",), "/admin/"), opens=opens)


def evaluate(*problems: Problem, minutes: int = 0, rule: str = "disk") -> int:
    """Evaluate a rule that finds these problems; return the number of alerts after it."""
    evaluation.evaluate(NOON + timedelta(minutes=minutes), [Rule(rule, AlertKind.DISK, lambda _: problems)])
    return Alert.objects.count()


@pytest.mark.django_db
def test_a_problem_that_lasts_is_one_alert() -> None:
    assert evaluate(full()) == 1
    assert evaluate(full(), minutes=5) == 1
    alert = Alert.objects.get()
    assert (alert.kind, alert.happened_at_ms) == ("disk", int(NOON.timestamp() * 1000))
    assert (alert.facts["heading"], alert.facts["lines"], alert.facts["path"]) == (
        "disk is full", ["1 GiB is free."], "/admin/",
    )  # fmt: skip


@pytest.mark.django_db
def test_a_problem_that_returns_is_a_new_alert() -> None:
    evaluate(full())
    assert evaluate(minutes=5) == 1
    assert evaluate(full(), minutes=10) == 2
    assert evaluate(full(), minutes=15) == 2


@pytest.mark.django_db
def test_a_problem_near_its_threshold_lasts_but_does_not_begin() -> None:
    assert evaluate(full(opens=False)) == 0
    assert evaluate(full(), minutes=5) == 1
    for minutes in (10, 20):
        assert evaluate(full(opens=False), minutes=minutes) == 1
        assert evaluate(full(), minutes=minutes + 5) == 1


@pytest.mark.django_db
def test_problems_and_rules_are_told_apart_by_their_names() -> None:
    assert evaluate(full("a"), full("b")) == 2
    assert evaluate(full("b"), full("c"), minutes=5) == 3
    assert evaluate(full("b"), minutes=10, rule="other") == 4
    assert evaluate(full("b"), full("a"), minutes=15) == 5


@pytest.mark.django_db
def test_the_end_of_a_problem_can_be_an_alert_too() -> None:
    def ended(alert: Alert, now: datetime) -> Part:
        return Part(f"{alert.facts['problem']} is over")

    problems = [full()]
    rule = Rule("disk", AlertKind.DISK, lambda _: problems, ended)
    evaluation.evaluate(NOON, [rule])
    problems.clear()
    for minutes in (5, 10):
        assert (
            evaluation.evaluate(NOON + timedelta(minutes=minutes), [rule])
            == f"Wrote {2 - minutes // 5} alert" + ("" if minutes == 5 else "s") + "."
        )
    headings = list(Alert.objects.order_by("id").values_list("facts__heading", flat=True))
    assert headings == ["disk is full", "disk is over"]


@pytest.mark.django_db
def test_a_rule_that_fails_does_not_silence_the_others() -> None:
    def broken(now: datetime) -> Iterator[Problem]:
        yield full()
        raise ValueError("no such figure")

    evaluate(full("a"))
    rules = [Rule("disk", AlertKind.DISK, broken), Rule("other", AlertKind.DISK, lambda _: [full("b")])]
    with pytest.raises(RulesFailed, match=r"could not be evaluated: disk \(ValueError: no such figure\)"):
        evaluation.evaluate(NOON, rules)
    # The broken rule has neither ended its problem nor begun another one.
    assert [alert.facts.get("ended_ms") for alert in Alert.objects.order_by("id")] == [None, None]


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_one_writes_the_alert() -> None:
    outcomes = in_threads([partial(evaluate, full("a"), full("b"), minutes=number) for number in range(4)])
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert Alert.objects.count() == 2


@pytest.mark.django_db
def test_the_rules_of_all_apps_find_nothing_on_a_new_site() -> None:
    rules = evaluation.registered()
    assert {rule.kind for rule in rules} == set(AlertKind) - {AlertKind.NEW}
    assert len({(rule.kind, rule.name) for rule in rules}) == len(rules)
    assert evaluation.evaluate(NOON) == "Wrote 0 alerts."
