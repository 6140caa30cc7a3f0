"""The names of filters in a search: which parameters of a list each of them sets, and what it can exclude."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from events.counting.buckets import FACET_PREFIX
from events.reports.search.grammar import EXPECTED, MAX_QUERY, Filter, Query, SearchError, formatted, shown

_DURATION = re.compile(r"([1-9][0-9]{0,3})([hd])", re.IGNORECASE)
_HOURS = {"h": 1, "d": 24}
_YEARS = range(1970, 3000)
_BITS = {"1": "0", "0": "1"}


@dataclass(frozen=True)
class Operator:
    """A filter that takes any text, such as `model:UV-17R`.

    It sets the parameter `parameter` of a list. `values` is the id of the page's `datalist` with its values.
    """

    name: str
    parameter: str
    example: str
    values: str = ""
    max_length: int = 64
    can_exclude: bool = True

    def read(self, value: str) -> dict[str, str]:
        """Return the parameters that this value stands for. Raises SearchError."""
        if len(value) > self.max_length:
            raise SearchError(
                f"{self.name}: has at most {self.max_length} characters; {shown(value)} has {len(value)}."
            )
        return {self.parameter: value}

    def read_excluded(self, value: str) -> dict[str, str] | None:
        """Return the parameters that exclude this value, None if no parameter can. Raises SearchError."""
        self.read(value)
        return None

    @property
    def choices(self) -> list[str]:
        """The values that the completion offers, if the page has no list of them."""
        return []


@dataclass(frozen=True)
class ChoiceOperator(Operator):
    """A filter that takes one of some words. `words` maps them to the parameter's values.

    `opposites` maps a value to the one that excludes it. The value `every` matches everything.
    """

    words: Mapping[str, str] = field(default_factory=dict)
    opposites: Mapping[str, str] = field(default_factory=dict)
    every: str = ""

    def read(self, value: str) -> dict[str, str]:
        found = {_plain(word): value for word, value in self.words.items()}.get(_plain(value))
        if found is None:
            raise SearchError(
                f"There is no {self.name}:{shown(value)}. Write {_listed(self.choices, f'{self.name}:')}. To search for"
                " this text itself, put it in quotes."
            )
        return {self.parameter: found}

    def read_excluded(self, value: str) -> dict[str, str] | None:
        (found,) = self.read(value).values()
        if found == self.every:
            raise SearchError(f"-{self.name}:{shown(value)} would exclude everything.")
        return {self.parameter: self.opposites[found]} if found in self.opposites else None

    @property
    def choices(self) -> list[str]:
        first_words: dict[str, str] = {}
        for word, value in self.words.items():
            first_words.setdefault(value, word)
        return list(first_words.values())


@dataclass(frozen=True)
class TimeOperator(Operator):
    """The first or the last UTC day of a list, or for `since` also a duration up to now, such as `7d` or `36h`.

    `windows` are the durations that the parameter `window` has.
    """

    windows: tuple[str, ...] = ()

    def read(self, value: str) -> dict[str, str]:
        is_since = self.name == "since"
        if is_since and duration_ms(value) is not None:
            lower = value.lower()
            return {"window": lower} if lower in self.windows else {self.parameter: lower}
        day = _day(value)
        if day is None:
            raise SearchError(
                f"{self.name}:{shown(value)} is not a date. Write {self.name}:{self.example}"
                + (", since:7d or since:24h." if is_since else ".")
            )
        # The parameter `until` is exclusive, the operator is inclusive.
        return {self.parameter: str(day if is_since else day + timedelta(days=1))}

    @property
    def choices(self) -> list[str]:
        return ["24h", "7d", "30d"] if self.name == "since" else []


@dataclass(frozen=True)
class Meaning:
    """What a query stands for: parameters of the list, excluded values by parameter, and texts.

    `rest` is the part of the query that the parameters do not express. Its texts and excluded values are these.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    excluded: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = ()
    rest: str = ""


def of_list(fields: Mapping[str, Any]) -> dict[str, Operator]:
    """Return the operators of a list by name. `fields` are the form fields of its parameters."""
    return {operator.name: operator for operator in _operators(fields)}


def without_aliases(operators: Mapping[str, Operator]) -> list[Operator]:
    """Return the first operator of each parameter."""
    firsts: dict[str, Operator] = {}
    for operator in operators.values():
        firsts.setdefault(operator.parameter, operator)
    return list(firsts.values())


def duration_ms(text: str) -> int | None:
    """Return the length of a duration such as `7d` or `36h`, None for any other text."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _HOURS[match[2].lower()] * 3_600_000 if match else None


def read(query: Query, operators: Mapping[str, Operator]) -> Meaning:
    """Return the meaning of a query. Raises SearchError with one argument for each fault."""
    parameters: dict[str, str] = {}
    excluded: dict[tuple[str, str], Filter] = {}
    typed: dict[str, str] = {}
    faults: list[str] = []
    for found in query.filters:
        operator = operators[found.name]
        try:
            values = _excluded(operator, found, operators) if found.is_excluded else operator.read(found.value)
        except SearchError as error:
            faults += error.args
            continue
        if values is None:
            (key,) = operator.read(found.value or EXPECTED).items()
            excluded[key] = Filter(_main_name(key[0], operators), key[1], is_excluded=True)
            continue
        words = f"{'-' if found.is_excluded else ''}{found.name}{':' if found.value else ''}{shown(found.value)}"
        # `since:7d` and `since:2026-11-01` set different parameters.
        slot = operator.parameter
        if parameters.items() >= values.items():
            continue
        if slot in typed:
            faults.append(f"{typed[slot]} and {words} contradict each other. Keep one of them.")
            continue
        typed[slot] = words
        parameters |= values
    faults += [
        f"{name}:{shown(value)} and its exclusion contradict each other. Keep one of them."
        for (parameter, value), (name, *_) in excluded.items()
        if parameters.get(parameter) == value
    ]
    since, until = parameters.get("since"), parameters.get("until")
    if since and until and duration_ms(since) is None and since >= until:
        faults.append(f"{typed['until']} is before {typed['since']}, so nothing can match.")
    if faults:
        raise SearchError(*faults)
    rest = formatted(Query(tuple(excluded.values()), query.texts))
    if len(rest) > MAX_QUERY:
        raise SearchError("This search is too long. Use fewer words and excluded values.")
    return Meaning(parameters, tuple(excluded), query.texts, rest)


def _excluded(operator: Operator, found: Filter, operators: Mapping[str, Operator]) -> dict[str, str] | None:
    if not operator.can_exclude:
        names = [f"-{one.name}:" for one in without_aliases(operators) if one.can_exclude and one.name != EXPECTED]
        raise SearchError(f"-{found.name}: does not work. Write {_listed([*names, f'-{EXPECTED}'])}.")
    return operator.read_excluded(found.value or EXPECTED)


def _main_name(parameter: str, operators: Mapping[str, Operator]) -> str:
    """Return the first name of the operators that set a parameter."""
    return next(operator.name for operator in without_aliases(operators) if operator.parameter == parameter)


def _operators(fields: Mapping[str, Any]) -> Iterator[Operator]:
    taken = {"is", "status", "fixed", "assigned", "since", "until", "model", "version", "type", "mode", "connected"}
    if "model" in fields:
        yield Operator("model", "model", "UV-17R", values="models")
    if "version" in fields:
        yield Operator("version", "version", "19afc18", values="versions")
    if "type" in fields:
        types = {value: value for value, _ in fields["type"].choices if value}
        yield ChoiceOperator("type", "type", "connect_error", words=types)
    if "mode" in fields:
        modes = {"write": "1", "no-write": "0", "1": "1", "0": "0"}
        yield ChoiceOperator("mode", "mode", "write", words=modes, opposites=_BITS)
    if "connected" in fields:
        bits = {"yes": "1", "no": "0", "1": "1", "0": "0"}
        yield ChoiceOperator("connected", "connected", "yes", words=bits, opposites=_BITS)
    facets = [name.removeprefix(FACET_PREFIX) for name in fields if name.startswith(FACET_PREFIX)]
    for key in facets:
        values = FACET_PREFIX + key
        if key not in taken and key != EXPECTED:
            yield Operator(key, values, '"Chrome 139"' if key == "browser" else "…", values=values)
        yield Operator(values, values, "…", values=values)
    if "status" in fields:
        statuses = {value: value for value, _ in fields["status"].choices if value}
        for name in ("is", "status"):
            yield ChoiceOperator(name, "status", "resolved", words=statuses, every="all")
        yield ChoiceOperator(EXPECTED, "status", EXPECTED, words={EXPECTED: EXPECTED})
    elif "expected" in fields:
        which = {"any": "any", "only": "1", "none": "0", EXPECTED: "1"}
        yield ChoiceOperator(EXPECTED, "expected", "any", words=which, opposites=_BITS, every="any")
        yield ChoiceOperator("is", "expected", EXPECTED, words={EXPECTED: "1"}, opposites={"1": "0"})
    if "fixed" in fields:
        yield Operator("fixed", "fixed", "19afc18", values="versions")
    if "assigned" in fields:
        yield Operator("assigned", "assigned", "anna", values="people", max_length=150)
    if "since" in fields:
        windows = tuple(value for value, _ in fields["window"].choices if value) if "window" in fields else ()
        yield TimeOperator("since", "since", "2026-11-30", can_exclude=False, windows=windows)
    if "until" in fields:
        yield TimeOperator("until", "until", "2026-11-30", can_exclude=False)


def _plain(word: str) -> str:
    return " ".join(re.split(r"[\s_-]+", word.lower().strip()))


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        return None
    return day if day and day.year in _YEARS else None


def _listed(words: list[str], prefix: str = "") -> str:
    named = [f"{prefix}{word}" for word in words]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} or {named[-1]}"
