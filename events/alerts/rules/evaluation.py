"""Asks the rules of all apps for their problems, and writes one alert for each new problem.

`alert_rules()` of an AppConfig returns a tuple of `Rule`. A problem has a name. While a rule goes on reporting that
name, nothing more is written. After a report without it, the problem is over, and the name is a new problem.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from django.apps import apps
from django.db import transaction

from events.alerts import outbox, texts
from events.alerts.messages import Part
from events.models import Alert, AlertKind

logger = logging.getLogger(__name__)


class RulesFailed(Exception):
    """Some rules could not be evaluated. The message names them."""


class Problem(NamedTuple):
    """A problem that exists now.

    With `opens` False, the state is not bad enough for an alert, but a problem that was reported lasts: otherwise, a
    value at a threshold would be reported again and again.
    """

    name: str
    part: Part | None = None  # None: about the group `subject`, whose text is written when it is sent
    opens: bool = True
    subject: str = ""
    facts: Mapping[str, Any] = MappingProxyType({})


class Rule(NamedTuple):
    """A rule: it finds all problems of its kind that exist at a time.

    `ended` returns the text of a further alert for the end of a problem, None for no alert. It receives the alert of
    the problem and the time.
    """

    name: str  # unique for its kind, such as "backups"
    kind: AlertKind
    find: Callable[[datetime], Iterable[Problem]]
    ended: Callable[[Alert, datetime], Part | None] | None = None


def registered() -> list[Rule]:
    """Return the rules of all apps."""
    offered = (getattr(config, "alert_rules", None) for config in apps.get_app_configs())
    return [rule for offer in offered if offer for rule in offer()]


def evaluate(now: datetime, rules: Iterable[Rule] | None = None) -> str:
    """Evaluate each rule, and return in words how many alerts were written. Raises RulesFailed after all of them."""
    written, broken = 0, []
    for rule in registered() if rules is None else rules:
        try:
            problems = list(rule.find(now))
            with transaction.atomic():
                written += _compare(rule, problems, now)
        except Exception as error:  # one rule must not silence the others
            logger.error("The alert rule %s failed: %s", rule.name, type(error).__name__)
            broken.append(f"{rule.name} ({type(error).__name__}: {error})")
    if broken:
        raise RulesFailed(f"These rules could not be evaluated: {'; '.join(broken)}.")
    return f"Wrote {written:,} alert{'' if written == 1 else 's'}."


def _compare(rule: Rule, problems: Iterable[Problem], now: datetime) -> int:
    now_ms = int(now.timestamp() * 1000)
    lasting = outbox.open_problems(rule.kind, rule.name)
    found = {problem.name: problem for problem in problems}
    new = [problem for problem in found.values() if problem.opens and problem.name not in lasting]
    for problem in new:
        facts = {**problem.facts, **(texts.facts_of(problem.part) if problem.part else {})}
        outbox.open_problem(rule.kind, rule.name, problem.name, facts, subject=problem.subject, now_ms=now_ms)
    written = len(new)
    for name, alert in lasting.items():
        if name not in found:
            outbox.end_problem(alert, now_ms)
            end = rule.ended(alert, now) if rule.ended else None
            if end:
                facts = texts.facts_of(end)
                outbox.write(rule.kind, f"{alert.key}:ended", happened_at_ms=now_ms, facts=facts)
                written += 1
    return written
