"""The body of `POST /groups/{key}/decision`."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from events.counting.releases import NO_RELEASES
from events.grouping.triage import MAX_NOTE, Decision
from events.ingest.contract import MAX_NAME, InvalidFields, fields_in_words
from events.models import GroupStatus

# The only status that each of these fields belongs to.
_BELONGS_TO = {"fixed_in": GroupStatus.RESOLVED, "until": GroupStatus.MUTED}


def _version(value: str | None) -> str | None:
    if value is None:
        return None
    version = value.strip()
    if not version:
        raise ValueError("must be a version, or null for the next one")
    if version in NO_RELEASES:
        raise ValueError(f"must not be {version}: no version follows it, because it is not a release")
    return version


def _note(value: str | None) -> str | None:
    if value is None:
        return None
    note = value.replace("\r\n", "\n").strip()
    if len(note) > MAX_NOTE:
        raise ValueError(f"at most {MAX_NOTE} characters")
    return note


def _day(value: str | None) -> str | None:
    if value is not None:
        _date(value)
    return value


def _date(value: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise ValueError("must be a date such as 2026-12-31, or null")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("there is no such date") from None


class DecisionPayload(BaseModel):
    """The body of `POST /groups/{key}/decision`. Unknown fields are refused: a misspelt one would be ignored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    status: Literal["resolved", "muted", "expected", "open"]
    fixed_in: Annotated[
        str | None,
        Field(max_length=MAX_NAME, description="For `resolved`: the version with the fix; null means the next one."),
        AfterValidator(_version),
    ] = None
    until: Annotated[
        str | None,
        Field(
            description="For `muted`: the day in the future on which the mute ends, UTC; null means never.",
            examples=["2026-12-31"],
        ),
        AfterValidator(_day),
    ] = None
    note: Annotated[
        str | None,
        Field(
            description="Replaces the note of the group; null leaves it as it is.",
            json_schema_extra={"maxLength": MAX_NOTE},
        ),
        AfterValidator(_note),
    ] = None


class DecisionRequest(NamedTuple):
    """A decision about a group, and its new note; None keeps the note."""

    decision: Decision
    note: str | None


def parse(body: Mapping[str, Any], now: datetime) -> DecisionRequest:
    """Return the decision that a JSON object describes. Raises InvalidFields with all errors at once."""
    fields: dict[str, list[str]] = {}
    try:
        payload = DecisionPayload.model_validate(body)
    except ValidationError as error:
        payload = None
        fields = fields_in_words(error)
    if body.get("status") in GroupStatus.values:
        for name, status in _BELONGS_TO.items():
            if body.get(name) is not None and body["status"] != status:
                fields.setdefault(name, []).append(f"Only for the status {status.value}.")
    until = _valid_date(body.get("until"))
    if until is not None and until <= now.date():
        fields.setdefault("until", []).append("This day is not in the future.")
    if payload is None or fields:
        raise InvalidFields(fields)
    until_ms = None if until is None else int(datetime.combine(until, time(), UTC).timestamp() * 1000)
    return DecisionRequest(Decision(GroupStatus(payload.status), payload.fixed_in, until_ms), payload.note)


def _valid_date(value: Any) -> date | None:
    try:
        return _date(value) if isinstance(value, str) else None
    except ValueError:
        return None
