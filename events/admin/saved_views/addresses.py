"""The address of a list: the columns that it chooses, and the normalised query string that a saved view keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict

from events.models import Event
from events.models.saved_views import MAX_VIEW_QUERY

COLUMNS, VIEW = "columns", "view"
# Parameters that are no filters of the list: its columns, and the saved view that the address was opened from.
OWN = (COLUMNS, VIEW)
# A saved view starts at the first page.
_NOT_SAVED = ("cursor", "limit", VIEW)
_NAMED_UNKNOWN = 5
_SESSION_WORDS = (
    "A saved view keeps no session, because it would outlive the erasure of the session. Remove it from the filters."
)


class Refused(Exception):
    """The reason why a view is not saved, in words for the page."""


@dataclass(frozen=True)
class Columns:
    """The columns that a list offers, by their names in addresses, and those that an address chooses.

    The list always shows the column `required`. The columns keep the order of the list.
    """

    offered: Mapping[str, Any]
    labels: Mapping[str, str]
    default: Sequence[str]
    required: str
    chosen: Sequence[str]
    unknown: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        parameters: QueryDict,
        offered: Mapping[str, Any],
        labels: Mapping[str, str],
        *,
        default: Sequence[str],
        required: str,
    ) -> Self:
        """Read the parameter `columns`: names separated by commas. A form sends it once for each name."""
        names = [name.strip() for value in parameters.getlist(COLUMNS) for name in value.split(",")]
        wanted = dict.fromkeys(name for name in names if name)
        unknown = [name for name in wanted if name not in offered]
        chosen = list(default)
        if wanted and not unknown:
            chosen = [name for name in offered if name in wanted or name == required]
        return cls(offered, labels, default, required, chosen, unknown)

    @property
    def is_chosen(self) -> bool:
        """Whether the address chooses other columns than the default ones."""
        return list(self.chosen) != list(self.default)

    @property
    def text(self) -> str:
        """The value of the parameter `columns`, "" for the default columns."""
        return ",".join(self.chosen) if self.is_chosen else ""

    @property
    def shown(self) -> tuple[Any, ...]:
        return tuple(self.offered[name] for name in self.chosen)

    @property
    def choices(self) -> list[tuple[str, str, bool]]:
        """The name, the heading and the state of each column that can be left out."""
        return [(name, self.labels[name], name in self.chosen) for name in self.offered if name != self.required]

    @property
    def fault(self) -> str:
        """What is wrong with the parameter, as a sentence; "" if nothing."""
        if not self.unknown:
            return ""
        named = ", ".join(f"“{name[:64]}”" for name in self.unknown[:_NAMED_UNKNOWN])
        more = " and others" if len(self.unknown) > _NAMED_UNKNOWN else ""
        return f"This list has no column {named}{more}. It has {', '.join(self.offered)}."


def filters(parameters: QueryDict) -> QueryDict:
    """Return the parameters without those of OWN."""
    kept = parameters.copy()
    for name in OWN:
        kept.pop(name, None)
    return kept


def query_of(parameters: QueryDict) -> str:
    """Return the query string of a link. A comma, which separates columns, needs no escape."""
    return urlencode(list(parameters.items()), safe=",")


def plain_query(parameters: QueryDict) -> str:
    """Return the query string that a saved view of this address would keep: sorted, without page and empty values."""
    kept = [(name, str(value)) for name, value in parameters.items() if value and name not in _NOT_SAVED]
    return urlencode(sorted(kept), safe=",")


def parse(query: str) -> QueryDict:
    """Return the parameters of a query string. Raises Refused."""
    if len(query) > 10 * MAX_VIEW_QUERY or "\0" in query:
        raise Refused("The filters are too long for a saved view.")
    try:
        return QueryDict(query.removeprefix("?"))
    except TooManyFieldsSent:
        raise Refused("The filters are too many for a saved view.") from None


def normalised(page: Any, parameters: QueryDict) -> str:
    """Return the query string of valid parameters of a list of the admin. Raises Refused."""
    form, columns = page.read_address(parameters)
    if not form.is_valid():
        raise Refused("The filters of this list are invalid. Correct them before you save a view.")
    if form.data.get("session") or _names_a_session(form.data.get("q", "")):
        raise Refused(_SESSION_WORDS)
    kept = parameters.copy()
    kept[COLUMNS] = columns.text
    query = plain_query(kept)
    if len(query) > MAX_VIEW_QUERY:
        raise Refused(f"The filters have more than {MAX_VIEW_QUERY:,} characters, so they cannot be saved.")
    return query


def _names_a_session(text: str) -> bool:
    return bool(text) and Event.objects.of_sessions(text).exists()


def in_words(page: Any, query: str) -> list[tuple[str, str, str]]:
    """Return the label, the value and the fault ("" if none) of each parameter of a saved query string."""
    parameters = QueryDict(query)
    form, columns = page.read_address(parameters)
    words = []
    for name, value in parameters.items():
        field = form.fields.get(name)
        label = "Columns" if name == COLUMNS else str(form[name].label) if field else name
        shown = str(dict(getattr(field, "choices", ())).get(value) or value)
        if name == COLUMNS and not columns.unknown:
            shown = ", ".join(columns.labels[key] for key in columns.chosen)
        fault = " ".join(str(error) for error in form.errors.get(name, ()))
        words.append((label, shown, fault))
    return words
