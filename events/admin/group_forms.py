"""Forms of the failure groups: the filters that their pages keep, and the inputs of each decision."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict

from events.admin.saved_views.addresses import OWN
from events.counting import releases
from events.counting.buckets import FACET_PREFIX
from events.counting.releases import NO_RELEASES
from events.grouping import triage
from events.ingest.contract import MAX_NAME
from events.models import FailureGroup, Release
from events.reports.failures import Criteria
from events.reports.forms import EventFilter, GroupFilter
from events.reports.search import operators
from events.reports.search.operators import Operator

MAX_SUGGESTED = 5


class OriginFilter(EventFilter):
    """The filters of the list that a failure or a group was opened from; the links of its page keep them.

    A page of one object ignores unknown parameters and invalid values, and does not pass them on. `origin` is the list:
    one of events, or the one of groups, whose search matches titles of groups and not events.
    """

    GROUPS = "failuregroup"
    LISTS = {"recentfailure": "Recent failures", "event": "Events"}

    origin = forms.ChoiceField(
        required=False, choices=[("", ""), (GROUPS, GROUPS), *((name, title) for name, title in LISTS.items())]
    )
    # The columns of the list, and the saved view that it was opened from.
    columns = forms.CharField(required=False, max_length=1_000)
    view = forms.CharField(required=False, max_length=64)
    # The filters that only the list of groups has.
    status, assigned, new, noise, fixed, sort = (
        GroupFilter.base_fields[name] for name in ("status", "assigned", "new", "noise", "fixed", "sort")
    )

    @classmethod
    def of(cls, parameters: QueryDict, *, origin: str = "", failures_only: bool = True) -> Self:
        """Return a valid form: the known parameters with a valid value, and `origin` if they name none."""
        named = parameters.copy()
        if origin and not named.get("origin"):
            named["origin"] = origin
        form = cls(named, failures_only=failures_only)
        form.is_valid()
        kept = {
            name: str(form.data[name])
            for name in form.fields
            if name in form.cleaned_data and form.data.get(name) and name not in ("cursor", "limit")
        }
        if origin:
            kept.setdefault("origin", origin)
        form = cls(kept, failures_only=failures_only)
        form.is_valid()
        return form

    def search_operators(self) -> dict[str, Operator]:
        """Return the filters that the search of the list of origin knows."""
        is_groups = self.data.get("origin") == self.GROUPS
        names = (GroupFilter if is_groups else EventFilter).base_fields
        return operators.of_list(
            {name: field for name, field in self.fields.items() if name in names or name.startswith(FACET_PREFIX)}
        )

    @classmethod
    def back_of(cls, query: str) -> str:
        """Return the query string of the page of a group that a form passes on: only its known filters."""
        try:
            filters = QueryDict(query)
        except TooManyFieldsSent:
            filters = QueryDict()
        return cls.of(filters, origin=cls.GROUPS).page_query()

    @property
    def from_events(self) -> str:
        """The list of events that the page was opened from, "" if there is none."""
        origin = str(self.cleaned_data["origin"])
        return origin if origin in self.LISTS else ""

    def query(self, **changes: str | None) -> str:
        """Return the query string of a link that keeps all filters. None removes one."""
        return _query_string({**self.data, **changes})

    def event_query(self, **changes: str | None) -> str:
        """Return the query string of a link to a list of events: the filters that this list has, and its columns."""
        names = [*self._event_filters(), *(OWN if self.cleaned_data["origin"] != self.GROUPS else ())]
        return _query_string({**{name: self.data[name] for name in names if name in self.data}, **changes})

    def group_query(self) -> str:
        """Return the query string of a link to the list of groups."""
        return _query_string(
            {
                name: value
                for name, value in self.data.items()
                if name in GroupFilter.base_fields
                or name.startswith(FACET_PREFIX)
                or (name in OWN and self.cleaned_data["origin"] == self.GROUPS)
            }
        )

    def narrowing(self) -> list[tuple[str, str]]:
        """Return the label and the value of each filter that applies to the events of a group."""
        return [
            (str(self[name].label), dict(getattr(self.fields[name], "choices", ())).get(value) or value)
            for name, value in self.data.items()
            if name in self._event_filters() and name not in ("group", "type")
        ]

    def page_query(self, *, is_narrowed: bool = True) -> str:
        """Return the query string of the page of a group, where the list of groups is the origin if none is named."""
        removed = () if is_narrowed else [name for name in self._event_filters() if name not in ("group", "type")]
        return self.query(origin=self.from_events, **dict.fromkeys(removed))

    def criteria(self, now_ms: int) -> Criteria:
        criteria = super().criteria(now_ms)
        return criteria if self._has_event_search() else replace(criteria, text=None, phrases=(), without=())

    def _event_filters(self) -> list[str]:
        return [
            name
            for name in self.data
            if (name in EventFilter.base_fields or name.startswith(FACET_PREFIX))
            and (name != "q" or self._has_event_search())
        ]

    def _has_event_search(self) -> bool:
        return bool(self.cleaned_data["origin"] != self.GROUPS)


def _query_string(parameters: dict[str, str | None]) -> str:
    query = urlencode({name: value for name, value in parameters.items() if value}, safe=",")
    return f"?{query}" if query else ""


class VersionQuestion(NamedTuple):
    """A version that no event has reported, and what the maintainer may have meant.

    `similar` are the similar releases, and `newest` the names of the newest ones, if none is similar.
    """

    typed: str
    similar: list[Release]
    newest: list[str]


class DecisionForm(forms.Form):
    """The inputs of a decision besides the groups. `decision()` returns the arguments for `triage`."""

    def __init__(
        self, data: Any = None, *, now: datetime, groups: Sequence[FailureGroup] = (), user: Any = None
    ) -> None:
        super().__init__(data, initial=self.first_values(groups, user))
        self.today = now.date()

    def first_values(self, groups: Sequence[FailureGroup], user: Any) -> dict[str, Any]:
        """Return the values that the empty form of a decision about these groups shows."""
        return {}

    def question(self) -> VersionQuestion | None:
        """Return what to ask before the decision of the valid form is carried out."""
        return None

    def decision(self) -> dict[str, Any]:
        return {}


class ResolveForm(DecisionForm):
    """The version with the fix: a named one, or the next one.

    `confirmed` repeats a version that no event has reported, after the maintainer was asked about it.
    """

    fixed_in = forms.CharField(
        required=False,
        max_length=MAX_NAME,
        label="Fixed in version",
        widget=forms.TextInput({"list": "releases", "autocomplete": "off"}),
        help_text="Leave empty for the next version: the first one that appears from now on.",
    )
    confirmed = forms.CharField(required=False, widget=forms.HiddenInput)

    def first_values(self, groups: Sequence[FailureGroup], user: Any) -> dict[str, Any]:
        versions = {group.fixed_in for group in groups}
        return {"fixed_in": versions.pop() if len(versions) == 1 else None}

    def question(self) -> VersionQuestion | None:
        version = self.cleaned_data["fixed_in"]
        if not version or version == self.cleaned_data["confirmed"] or releases.was_reported(version):
            return None
        similar = releases.similar(version, MAX_SUGGESTED)
        return VersionQuestion(version, similar, [] if similar else releases.newest(MAX_SUGGESTED))

    def clean_fixed_in(self) -> str:
        version = str(self.cleaned_data["fixed_in"])
        if version in NO_RELEASES:
            raise forms.ValidationError(f"{version} is not a release, so no version can follow it.")
        return version

    def decision(self) -> dict[str, Any]:
        return {"fixed_in": self.cleaned_data["fixed_in"] or None}


class MuteForm(DecisionForm):
    """The day on which the mute ends."""

    until = forms.DateField(
        required=False,
        label="Muted until",
        widget=forms.DateInput({"type": "date"}),
        help_text="The groups count as open again from this day on, UTC. Leave empty to mute them permanently.",
    )

    def clean_until(self) -> int | None:
        day = self.cleaned_data["until"]
        if day is None:
            return None
        if day <= self.today:
            raise forms.ValidationError("This day is not in the future.")
        return int(datetime.combine(day, time(), UTC).timestamp() * 1000)

    def decision(self) -> dict[str, Any]:
        return {"until_ms": self.cleaned_data["until"]}


class PersonField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """An account that can be assigned."""

    def label_from_instance(self, obj: Any) -> str:
        full_name = obj.get_full_name()
        return f"{obj.get_username()} ({full_name})" if full_name else str(obj.get_username())


class AssignForm(DecisionForm):
    """The account that works on the groups, or nobody."""

    person = PersonField(
        queryset=User.objects.none(),
        required=False,
        label="Assigned to",
        empty_label="nobody",
        help_text="Active accounts of staff that may see failure groups.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["person"].queryset = triage.assignable()  # type: ignore[attr-defined]

    def first_values(self, groups: Sequence[FailureGroup], user: Any) -> dict[str, Any]:
        people = {group.assigned_to_id for group in groups}
        return {"person": (people.pop() if len(people) == 1 else None) or user.pk}

    def decision(self) -> dict[str, Any]:
        return {"person": self.cleaned_data["person"]}


class NoteField(forms.CharField):
    """Multi-line text. Browsers count a line end as one character, but send CRLF."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class NoteForm(forms.Form):
    note = NoteField(
        required=False,
        max_length=triage.MAX_NOTE,
        label="Note",
        widget=forms.Textarea({"rows": 3, "maxlength": triage.MAX_NOTE}),
    )
