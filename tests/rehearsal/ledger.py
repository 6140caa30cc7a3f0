"""Compares the events that the servers acknowledged during a rehearsal with the events that are stored at its end."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.browser.pages import Answered, Gate

NO_MESSAGE = "(no message)"


@dataclass
class Stored:
    """The unified stream: the number of stored successes by session, and of stored failures by message."""

    sessions: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)


class PhaseResult(NamedTuple):
    """The events of one phase: the requests that reported them, the acknowledged events, and the faults."""

    requests: int
    acknowledged: int
    lost: list[str]
    duplicated: list[str]


class Ledger:
    """Collects the requests and responses that the gates recorded."""

    def __init__(self, gates: Iterable[Gate]) -> None:
        self.gates = list(gates)
        self._read = [0] * len(self.gates)
        self._phases: list[tuple[str, list[Answered]]] = []

    def end_phase(self, name: str) -> None:
        """Assign the requests since the last call to this phase."""
        phase: list[Answered] = []
        for number, gate in enumerate(self.gates):
            answered = gate.answered[self._read[number] :]
            self._read[number] += len(answered)
            phase += answered
        self._phases.append((name, phase))

    def results(self, stored: Stored, counted_elsewhere: int) -> list[tuple[str, PhaseResult]]:
        """Compare each phase with `stored`. The baseline contains the successes of the port `counted_elsewhere`."""
        return [(name, _result(answered, stored, counted_elsewhere)) for name, answered in self._phases]


def _result(answered: list[Answered], stored: Stored, counted_elsewhere: int) -> PhaseResult:
    acknowledged = 0
    lost: list[str] = []
    duplicated: list[str] = []
    for one in answered:
        sessions, messages = _acknowledged(one)
        acknowledged += len(sessions) + len(messages)
        if one.port == counted_elsewhere:
            # The baseline includes these successes, so one in the stream would count twice.
            duplicated += [name for name in sessions if stored.sessions[name]]
            continue
        lost += [name for name in sessions if not stored.sessions[name]]
        lost += [name for name in messages if not stored.messages[name]]
        duplicated += [name for name in sessions if stored.sessions[name] > 1]
        duplicated += [name for name in messages if stored.messages[name] > 1]
    return PhaseResult(len(answered), acknowledged, lost, duplicated)


def _acknowledged(one: Answered) -> tuple[list[str], list[str]]:
    """Return the sessions and the failures' messages that a response acknowledged."""
    if one.status not in (200, 201):
        return [], []
    body = json.loads(one.body)
    match one.path:
        case "/increment":
            return [body["sessionId"]], []
        case "/client-log":
            return [], [body["message"] or NO_MESSAGE]
        case "/event":
            return _of_events([body])
        case "/event/batch":
            results = json.loads(one.answer)["results"]
            return _of_events([event for event, result in zip(body["events"], results, strict=True) if result["ok"]])
        case _:
            return [], []


def _of_events(events: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    successes = [event for event in events if event["event_type"] == "flash_success"]
    failures = [event for event in events if event["event_type"] != "flash_success"]
    return [event["session_id"] for event in successes], [event["message"] for event in failures]
