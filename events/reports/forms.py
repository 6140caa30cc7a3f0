"""Forms that validate the filters of lists, exports and API reads, and the inputs of admin pages.

The forms of events and groups read the search syntax of `q`: see `events.reports.search`.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Self

from django import forms
from django.conf import settings

from events import audit
from events.counting.buckets import FACET_PREFIX
from events.counting.corrections import Selection
from events.keyset import Cursor
from events.models import AuditKind, EventType, Source
from events.querysets import SUCCESS
from events.reports import badges
from events.reports.failures import Criteria, current_group
from events.reports.groups.breakdowns import SPANS
from events.reports.groups.ranking import COLUMNS, GroupCursor, Ranking
from events.reports.releases.verdicts import VerdictName
from events.reports.search import grammar, operators
from events.reports.search.grammar import MAX_QUERY, SearchError
from events.reports.search.operators import Meaning, Operator
from events.visible_text import is_visible

WINDOWS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "90d": ("Last 90 days", timedelta(days=90)),
}
FILTERS = (
    "type", "model", "version", "mode", "connected", "window", "expected", "session", "group", "released", "since",
    "until",
)  # fmt: skip
_SHOWN_FILTERS = 7
GROUP_FILTERS = ("type", "model", "version", "assigned", "new", "noise")
_GROUP_KEPT_FILTERS = ("mode", "connected", "fixed", "since", "until")
_COLUMNS = {"model": "model", "version": "app_version", "type": "event_type"}
GROUP_STATUSES = [
    ("open", "open"),
    ("mine", "mine"),
    ("regression", "regressions"),
    ("still_failing", "still failing"),
    ("resolved", "resolved"),
    ("muted", "muted"),
    ("expected", "expected"),
    ("all", "all"),
]
GROUP_SORTS = [*COLUMNS, *(f"-{name}" for name in COLUMNS)]
WRITE_MODES = [("", "any"), ("1", "write"), ("0", "no write")]
YES_OR_NO = [("", "any"), ("1", "yes"), ("0", "no")]


class CursorField(forms.CharField):
    """A keyset cursor, None for the first page. `parse` converts its text, or raises ValueError."""

    def __init__(self, parse: Callable[[str], Any], *, max_length: int) -> None:
        super().__init__(required=False, max_length=max_length)
        self._parse = parse

    def clean(self, value: Any) -> Any:
        raw = super().clean(value)
        if not raw:
            return None
        try:
            return self._parse(raw)
        except ValueError:
            raise forms.ValidationError("Not a cursor of this list. Start again without a cursor.") from None


class ListFilter(forms.Form):
    """The filters of a list, from its URL."""

    def refuse_unknown(self) -> Self:
        """Add an error for each parameter that is no field. Without it, a misspelt filter would show everything."""
        for name in [name for name in self.data if name not in self.fields and name not in self.errors]:
            self.errors[name] = self.error_class(["This list has no such filter."])
        return self

    def applied(self) -> dict[str, str]:
        """Return the active filters of the valid form, in the order of the URL."""
        cleaned = {name: self.cleaned_data[name] for name in self.data if name in self.fields}
        return {
            name: value.isoformat() if isinstance(value, datetime) else str(value)
            for name, value in cleaned.items()
            if value and name not in ("cursor", "limit")
        }


def _name_field(names: str, *, help_text: str = "") -> forms.CharField:
    """Return the field of a model or a version. The page has a `datalist` with the known names."""
    widget = forms.TextInput({"list": names})
    return forms.CharField(required=False, strip=False, max_length=64, help_text=help_text, widget=widget)


class FacetFilters(ListFilter):
    """Filters by each facet of the metadata, such as `f.browser`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for key in settings.FACETS:
            self.fields[FACET_PREFIX + key] = _name_field(FACET_PREFIX + key)
            self.fields[FACET_PREFIX + key].label = facet_label(key)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name in [name for name in self.data if name.startswith(FACET_PREFIX) and name not in self.fields]:
            self.errors[name] = self.error_class(["FACETS has no such name."])
        return cleaned

    @property
    def facet_values(self) -> dict[str, str]:
        """Return the active filters of the valid form, by the key in the metadata."""
        values = {key: self.cleaned_data[FACET_PREFIX + key] for key in settings.FACETS}
        return {key: value for key, value in values.items() if value}

    @property
    def active_facets(self) -> int:
        return sum(1 for key in settings.FACETS if self.data.get(FACET_PREFIX + key))

    def shown_facets(self, suggestions: Mapping[str, list[str]]) -> list[tuple[forms.BoundField, list[str]]]:
        """Return the fields of the facets that have values or a filter, each with its suggestions."""
        names = [FACET_PREFIX + key for key in settings.FACETS]
        return [
            (self[name], suggestions.get(name, [])) for name in names if suggestions.get(name) or self.data.get(name)
        ]


class SinceField(forms.DateTimeField):
    """The start of a list: a moment, or a duration up to now such as `7d` or `36h`, which stays text."""

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and operators.duration_ms(value.strip()) is not None:
            return value.strip()
        return super().to_python(value)


def _search_field(placeholder: str) -> forms.CharField:
    widget = forms.SearchInput({"placeholder": placeholder, "data-key": "/", "data-search": ""})
    return forms.CharField(required=False, max_length=MAX_QUERY, label="Search", widget=widget)


class SearchFilters(FacetFilters):
    """Filters with a search `q`, which can set the other filters.

    `data` has the normal form: the filters that `q` sets are parameters, and `q` is the rest of it. So every link that
    keeps the parameters of a list keeps its meaning. A query with a fault changes nothing; the form is then invalid.
    """

    search: Meaning
    _search_faults: tuple[str, ...]

    def read_search(self) -> None:
        """Bring `data` into the normal form. The fields must have their choices by now."""
        self.search, self._search_faults = Meaning(), ()
        raw = self.data.get("q")
        if not raw or not isinstance(raw, str):
            return
        names = self.search_operators()
        try:
            query = grammar.parse(raw, names)
            meaning = operators.read(query, names)
            self._refuse_contradictions(meaning)
        except SearchError as error:
            self._search_faults = error.args
            return
        self.search = meaning
        if query.filters:
            normal = self.data.copy()  # type: ignore[attr-defined]
            for name, value in {**meaning.parameters, "q": meaning.rest}.items():
                normal[name] = value
            if not meaning.rest:
                del normal["q"]
            self.data = normal

    def search_operators(self) -> dict[str, Operator]:
        """Return the filters that the search of this list knows."""
        return operators.of_list(self.fields)

    def clean_q(self) -> str:
        if self._search_faults:
            raise forms.ValidationError(list(self._search_faults))
        return str(self.cleaned_data["q"])

    @property
    def read_as(self) -> list[tuple[str, str]]:
        """Return the labels and values of what the search means, if that is not obvious: texts and excluded values."""
        texts, excluded = self.search.texts, self.search.excluded
        if not excluded and len(texts) <= 1 and not any(set(text) & set('":-') for text in texts):
            return []
        return [
            *((f"Not {_in_sentence(str(self[name].label))}", value) for name, value in excluded),
            *(("Text", text) for text in texts),
        ]

    @property
    def search_names(self) -> list[Operator]:
        """Return the filters that the search knows, without their other names."""
        return operators.without_aliases(self.search_operators())

    @property
    def search_help(self) -> list[tuple[str, str]]:
        """Return examples of searches in this list, each with its meaning."""
        examples = [
            ("No ACK for block", "this text, exactly"),
            ('"No ACK" "0x15"', "both texts"),
            ("model:UV-17R timed out", "the text, and the filter Model"),
            ('"model: unknown"', 'a text that would be read as a filter; a quote inside of quotes is \\"'),
            ("-version:dev", "all versions except this one"),
            ("-expected", "without expected outcomes"),
            ("since:2026-11-01 until:2026-11-30", "both days included, UTC"),
            ("since:36h", "the last 36 hours; 7d: the last 7 days"),
        ]
        if "status" in self.fields:
            examples.append(("is:resolved", "the groups of this tab; is:all: of all tabs"))
        return examples

    @property
    def text_query(self) -> str:
        """Return a query with the texts of this one alone, which every list reads in the same way."""
        return grammar.formatted(grammar.Query(texts=self.search.texts))

    def _refuse_contradictions(self, meaning: Meaning) -> None:
        faults = [
            f"The search sets {self[name].label} to {grammar.shown(value)}, but the filter below is"
            f" {grammar.shown(str(self.data[name]))}. Change one of them."
            for name, value in meaning.parameters.items()
            if self.data.get(name) and self.data[name] != value
        ]
        faults += [
            f"The search excludes {self[name].label} {grammar.shown(value)}, but the filter below is the same. Change"
            " one of them."
            for name, value in meaning.excluded
            if self.data.get(name) == value
        ]
        if faults:
            raise SearchError(*faults)


def _in_sentence(label: str) -> str:
    return label if label.isupper() else label[:1].lower() + label[1:]


def facet_label(key: str) -> str:
    """Return the heading of a facet: `os` as OS, `boot_loader` as Boot loader."""
    return key.upper() if key in ("os", "usb") else key.replace("_", " ").capitalize()


EXPECTED = {"0": False, "1": True, "any": None}


class ExpectedField(forms.ChoiceField):
    """Whether a list contains events of expected groups. Also accepts the value that equals the default choice."""

    def valid_value(self, value: str) -> bool:
        return value in EXPECTED


class EventFilter(SearchFilters):
    """The filters of every list of events. They come from the URL, and all of them apply."""

    type = forms.ChoiceField(required=False)
    model = _name_field("models")
    version = _name_field("versions")
    mode = forms.ChoiceField(required=False, choices=WRITE_MODES)
    connected = forms.ChoiceField(required=False, choices=YES_OR_NO)
    window = forms.ChoiceField(
        required=False, choices=[("", "all time"), *((key, label) for key, (label, _) in WINDOWS.items())]
    )
    expected = ExpectedField(required=False)
    session = forms.CharField(required=False, strip=False, max_length=128)
    group = forms.CharField(required=False, max_length=64)
    released = forms.ChoiceField(required=False, choices=[("", "all versions"), ("1", "only releases")])
    q = _search_field("Message, error, stack, model, version; a session or an id; or model:UV-17R")
    since = SinceField(required=False, label="Received from", help_text="ISO 8601, UTC; or 7d")
    until = forms.DateTimeField(required=False, label="Received before", help_text="ISO 8601, UTC; exclusive")
    cursor = CursorField(Cursor.parse, max_length=300)
    limit = forms.IntegerField(required=False, min_value=1, max_value=200)

    def __init__(self, *args: Any, failures_only: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failures_only = failures_only
        types = [(value, value) for value in EventType.values if not (failures_only and value == SUCCESS)]
        self.fields["type"].choices = [("", "any"), *types]  # type: ignore[attr-defined]
        # Lists of all events and of one group include expected events by default.
        self._leaves_out_expected = failures_only and not self.data.get("group")
        choices = [("", "left out"), ("any", "included"), ("1", "only these")]
        if not self._leaves_out_expected:
            choices = [("", "included"), ("0", "left out"), ("1", "only these")]
        self.fields["expected"].choices = choices  # type: ignore[attr-defined]
        self.read_search()

    @property
    def narrowed_by(self) -> int:
        """The number of active filters, without the search."""
        return sum(1 for name in self.data if name in FILTERS and self.data[name]) + self.active_facets

    @property
    def shown_filters(self) -> list[forms.BoundField]:
        return [self[name] for name in FILTERS[:_SHOWN_FILTERS]]

    @property
    def kept_filters(self) -> list[forms.BoundField]:
        """Filters that only links set. The page shows their fields while they are active."""
        return [self[name] for name in FILTERS[_SHOWN_FILTERS:] if self.data.get(name)]

    def criteria(self, now_ms: int) -> Criteria:
        """Return the criteria of the valid form. Its time window ends at `now_ms`."""
        cleaned = self.cleaned_data
        since_ms = _since_ms(cleaned["since"], now_ms)
        if cleaned["window"]:
            start_ms = now_ms - int(WINDOWS[cleaned["window"]][1].total_seconds() * 1000)
            since_ms = max(since_ms or 0, start_ms)
        return Criteria(
            failures_only=self.failures_only,
            event_type=cleaned["type"] or None,
            model=cleaned["model"] or None,
            app_version=cleaned["version"] or None,
            write_mode=int(cleaned["mode"]) if cleaned["mode"] else None,
            connected=int(cleaned["connected"]) if cleaned["connected"] else None,
            session_id=cleaned["session"] or None,
            fingerprint=current_group(cleaned["group"]) if cleaned["group"] else None,
            released=bool(cleaned["released"]),
            expected=EXPECTED.get(cleaned["expected"], False if self._leaves_out_expected else None),
            text=self.search.texts[0] if self.search.texts else None,
            phrases=tuple((text, ()) for text in self.search.texts[1:]),
            facets=tuple(self.facet_values.items()),
            without=tuple((_COLUMNS.get(name, name), value) for name, value in self.search.excluded),
            since_ms=since_ms,
            until_ms=_epoch_ms(cleaned["until"]),
        )


class GroupFilter(SearchFilters):
    """The filters and the order of every list of groups. They come from the URL, and all of them apply."""

    status = forms.ChoiceField(required=False, choices=[("", "open"), *GROUP_STATUSES])
    type = forms.ChoiceField(
        required=False, choices=[("", "any"), *((value, value) for value in EventType.values if value != SUCCESS)]
    )
    model = _name_field("models")
    version = _name_field("versions")
    assigned = forms.CharField(
        required=False, max_length=150, label="Assigned to", widget=forms.TextInput({"list": "people"})
    )
    new = forms.ChoiceField(
        required=False,
        label="First seen",
        choices=[("", "any time"), *((key, words.lower()) for key, (words, _) in WINDOWS.items())],
    )
    noise = forms.ChoiceField(
        required=False,
        label="Extensions and browser noise",
        choices=[("", "included"), ("hidden", "left out"), ("only", "only these")],
    )
    mode = forms.ChoiceField(required=False, choices=WRITE_MODES)
    connected = forms.ChoiceField(required=False, choices=YES_OR_NO)
    fixed = _name_field("versions")
    fixed.label = "Fixed in"
    since = SinceField(required=False, label="Failed from", help_text="ISO 8601, UTC; or 7d")
    until = forms.DateTimeField(required=False, label="Failed before", help_text="ISO 8601, UTC; exclusive")
    q = _search_field("Message, error or function; or model:UV-17R")
    sort = forms.ChoiceField(required=False, choices=[("", "last seen"), *((name, name) for name in GROUP_SORTS)])
    cursor = CursorField(GroupCursor.parse, max_length=450)
    limit = forms.IntegerField(required=False, min_value=1, max_value=200)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.read_search()

    @property
    def narrowed_by(self) -> int:
        """The number of active filters, without the search and the status."""
        names = (*GROUP_FILTERS, *_GROUP_KEPT_FILTERS)
        return sum(1 for name in names if self.data.get(name)) + self.active_facets

    @property
    def shown_filters(self) -> list[forms.BoundField]:
        return [self[name] for name in GROUP_FILTERS]

    @property
    def kept_filters(self) -> list[forms.BoundField]:
        """Filters that only the search and links set. The page shows their fields while they are active."""
        return [self[name] for name in _GROUP_KEPT_FILTERS if self.data.get(name)]

    def ranking(self, now_ms: int, viewer_id: int | None) -> Ranking:
        """Return the ranking of the valid form. The status `mine` means the groups of the account `viewer_id`."""
        cleaned = self.cleaned_data
        status, since = cleaned["status"] or "open", cleaned["since"]
        new = WINDOWS[cleaned["new"]][1] if cleaned["new"] else None
        return Ranking(
            now_ms,
            status=None if status == "all" else status,
            viewer_id=viewer_id if status == "mine" else None,
            assigned_to=cleaned["assigned"] or None,
            event_type=cleaned["type"] or None,
            model=cleaned["model"] or None,
            app_version=cleaned["version"] or None,
            write_mode=cleaned["mode"] or None,
            connected=cleaned["connected"] or None,
            fixed_in=cleaned["fixed"] or None,
            texts=self.search.texts,
            facets=tuple(self.facet_values.items()),
            without=self.search.excluded,
            failed_within_ms=operators.duration_ms(since) if isinstance(since, str) else None,
            failed_from_ms=_epoch_ms(since) if isinstance(since, datetime) else None,
            failed_before_ms=_epoch_ms(cleaned["until"]),
            new_within_ms=None if new is None else int(new.total_seconds() * 1000),
            is_noise=cleaned["noise"] == "only" if cleaned["noise"] else None,
            sort=cleaned["sort"] or "-last",
        )


class GroupQuery(ListFilter):
    """The time span in which a group is compared with the flashes."""

    span = forms.ChoiceField(required=False, choices=list(SPANS.items()))


def _since_ms(since: datetime | str | None, now_ms: int) -> int | None:
    if isinstance(since, str):
        return now_ms - (operators.duration_ms(since) or 0) if since else None
    return _epoch_ms(since)


def _epoch_ms(moment: datetime | None) -> int | None:
    return int(moment.timestamp() * 1000) if moment else None


RANGES = {
    "24h": "Last 24 hours",
    "1": "Today",
    "7": "Last 7 days",
    "30": "Last 30 days",
    "90": "Last 90 days",
    "this_month": "This month",
    "last_month": "Last month",
    "all": "All time",
}
MAX_DAYS = 3_660


class DayFilter(ListFilter):
    """The filters of the daily figures: the range of the overview, in UTC days.

    `days` is one of RANGES, and stays relative to the day of the export. `first` and `last` are days, and win.
    """

    days = forms.ChoiceField(required=False, label="Days", choices=[("", "default: last 30 days"), *RANGES.items()])
    first = forms.DateField(required=False, label="From", widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    last = forms.DateField(required=False, label="To", widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"))
    released = forms.ChoiceField(required=False, choices=[("", "all versions"), ("1", "only releases")])
    by = forms.ChoiceField(required=False, label="Rows", choices=[("", "one a day"), ("model", "one a day and model")])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("first"), cleaned.get("last")
        if last and not first and "first" not in self.errors:
            self.add_error("first", "Enter the first day too.")
        elif first and last and last < first:
            self.add_error("last", f"This day is before {first.isoformat()}.")
        elif first and last and (last - first).days >= MAX_DAYS:
            self.add_error("first", f"A range has at most {MAX_DAYS:,} days.")
        return cleaned

    def range(self, today: date, first_day: date) -> tuple[date, date]:
        """Return the first and the last day of the valid form. `first_day` is the first day of all time.

        No day is after today. If the range begins later, it has no day: the last one is before the first.
        """
        first, last = self.cleaned_data["first"], self.cleaned_data["last"]
        if first:
            return max(first, today - timedelta(days=MAX_DAYS)), min(last or today, today)
        month = today.replace(day=1)
        days = self.cleaned_data["days"] or "30"
        if days == "this_month":
            return month, today
        if days == "last_month":
            last = month - timedelta(days=1)
            return last.replace(day=1), last
        if days == "all":
            return min(first_day, today), today
        return today - timedelta(days=1 if days == "24h" else int(days) - 1), today


class SummaryQuery(forms.Form):
    days = forms.IntegerField(required=False, min_value=1, max_value=400)


class TimeseriesQuery(SummaryQuery):
    bucket = forms.ChoiceField(required=False, choices=[("day", "day"), ("hour", "hour")])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("bucket") == "hour" and (cleaned.get("days") or 1) > 31:
            self.add_error("days", "At most 31 days by the hour.")
        return cleaned


class ReleasesQuery(forms.Form):
    limit = forms.IntegerField(required=False, min_value=1, max_value=200)


class ReleaseQuery(forms.Form):
    """The version that a release is compared with; empty means the release before it."""

    against = forms.CharField(required=False, strip=False, max_length=64)


class ReleaseFilter(ListFilter):
    """The filter of the list of releases, from its URL."""

    verdict = forms.ChoiceField(
        required=False,
        choices=[("", "any"), *((name.value, name.value.replace("_", " ")) for name in VerdictName)],
    )

    @property
    def shown_filters(self) -> list[forms.BoundField]:
        return [self["verdict"]]


class BaselineForm(forms.Form):
    value = forms.IntegerField(
        min_value=0, max_value=10**12, label="Successes before this site", help_text="The total of the old counter."
    )
    note = forms.CharField(max_length=500, label="Why", help_text="Stored with your name and the time.")


MOMENT_HELP = "ISO 8601, such as 2026-02-12T18:00:00Z. Without an offset it is UTC."


class ReasonField(forms.CharField):
    """A reason of 1 to 500 characters. At least one must be visible."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=500, label="Why", help_text="Stored with your name and the time in the audit log.", **kwargs
        )

    def clean(self, value: Any) -> Any:
        reason = super().clean(value)
        if not is_visible(reason):
            raise forms.ValidationError(self.error_messages["required"], code="required")
        return reason


class CorrectionForm(forms.Form):
    """Which successes to void, and why."""

    since = forms.DateTimeField(label="Received from", help_text=MOMENT_HELP)
    until = forms.DateTimeField(label="Received before", help_text="Same format. Exclusive.")
    model = _name_field("models", help_text="Exact match. Empty for any.")
    version = _name_field("versions", help_text="Exact match. Empty for any.")
    source = forms.ChoiceField(
        required=False,
        choices=[("", "any"), *((source, source) for source in Source.values)],
        help_text="The route that received the success.",
    )
    reason = ReasonField()

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.now = now

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if until and until > self.now:
            self.add_error("until", "This time is in the future: later successes would be voided too.")
        elif since and until and until <= since:
            self.add_error("until", "This time must be after the first one.")
        return cleaned

    def selection(self) -> Selection:
        """Return the selection of the valid form."""
        cleaned = self.cleaned_data
        return Selection(
            since_ms=int(cleaned["since"].timestamp() * 1000),
            until_ms=int(cleaned["until"].timestamp() * 1000),
            model=cleaned["model"] or None,
            app_version=cleaned["version"] or None,
            source=cleaned["source"] or None,
        )


class UndoForm(forms.Form):
    reason = ReasonField()


class AuditFilter(ListFilter):
    """The filters of the audit log. They come from the URL, and all of them apply."""

    kind = forms.ChoiceField(required=False, choices=[("", "any"), *((kind, kind) for kind in AuditKind.values)])
    who = forms.CharField(required=False, strip=False, max_length=150)
    cursor = CursorField(audit.parse_cursor, max_length=40)

    @property
    def shown_filters(self) -> list[forms.BoundField]:
        return [self["kind"], self["who"]]


class BadgeQuery(forms.Form):
    """The parameters of the badge of the public count."""

    label = forms.CharField(required=False, strip=False, max_length=badges.MAX_LABEL)
    color = forms.CharField(required=False, strip=False)

    def clean_label(self) -> str:
        label: str = self.cleaned_data["label"]
        if "label" in self.data and not badges.is_label(label):
            raise forms.ValidationError("Must be visible text, without control characters.")
        return label

    def clean_color(self) -> str:
        color: str = self.cleaned_data["color"]
        if "color" in self.data and not badges.is_color(color):
            raise forms.ValidationError("Must be 3 or 6 hex digits, such as 2f6fde.")
        return color
