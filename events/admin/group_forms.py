"""What a reader may ask of the list of failure groups, and what a maintainer may decide about some of them."""

from datetime import UTC, datetime, time
from typing import Any

from django import forms

from events.counting.releases import NO_RELEASES
from events.ingest.contract import MAX_NAME
from events.models import EventType
from events.querysets import SUCCESS
from events.reports.forms import WINDOWS, CursorField, ListFilter
from events.reports.ranking import COLUMNS, GroupCursor, Ranking

STATUSES = [
    ("open", "open"),
    ("regression", "regressions"),
    ("resolved", "resolved"),
    ("muted", "muted"),
    ("all", "all"),
]
FILTERS = ("type", "model", "version", "new")
SORTS = [*COLUMNS, *(f"-{name}" for name in COLUMNS)]
MAX_NOTE = 2_000


class GroupFilter(ListFilter):
    """The filters and the order of the list of groups; all of them live in the URL and combine."""

    status = forms.ChoiceField(required=False, choices=[("", "open"), *STATUSES])
    type = forms.ChoiceField(
        required=False, choices=[("", "any"), *((value, value) for value in EventType.values if value != SUCCESS)]
    )
    model = forms.CharField(
        required=False, strip=False, max_length=MAX_NAME, widget=forms.TextInput({"list": "models"})
    )
    version = forms.CharField(
        required=False, strip=False, max_length=MAX_NAME, widget=forms.TextInput({"list": "versions"})
    )
    new = forms.ChoiceField(
        required=False,
        label="First seen",
        choices=[("", "any time"), *((key, words.lower()) for key, (words, _) in WINDOWS.items())],
    )
    q = forms.CharField(
        required=False,
        max_length=200,
        label="Search",
        widget=forms.SearchInput({"placeholder": "Message, error or function", "data-key": "/"}),
    )
    sort = forms.ChoiceField(required=False, choices=[("", "last seen"), *((name, name) for name in SORTS)])
    cursor = CursorField(GroupCursor.parse, max_length=400)

    @property
    def narrowed_by(self) -> int:
        """How many filters are on, the search and the status aside."""
        return sum(1 for name in FILTERS if self.data.get(name))

    @property
    def shown_filters(self) -> list[forms.BoundField]:
        return [self[name] for name in FILTERS]

    def ranking(self, now_ms: int) -> Ranking:
        """Return what the valid form asks for."""
        asked = self.cleaned_data
        status = asked["status"] or "open"
        new_since_ms = now_ms - int(WINDOWS[asked["new"]][1].total_seconds() * 1000) if asked["new"] else None
        return Ranking(
            now_ms,
            status=None if status == "all" else status,
            event_type=asked["type"] or None,
            model=asked["model"] or None,
            app_version=asked["version"] or None,
            text=asked["q"] or None,
            new_since_ms=new_since_ms,
            sort=asked["sort"] or "-last",
        )


class DecisionForm(forms.Form):
    """What a decision asks beside which groups; `decision()` is what it hands to `triage`."""

    def __init__(self, data: Any = None, *, now: datetime) -> None:
        super().__init__(data)
        self.today = now.date()

    def decision(self) -> dict[str, Any]:
        return {}


class ResolveForm(DecisionForm):
    """In which version the groups are mended: the next one, or one that has a name."""

    fixed_in = forms.CharField(
        required=False,
        max_length=MAX_NAME,
        label="Fixed in version",
        widget=forms.TextInput({"list": "releases", "autocomplete": "off"}),
        help_text="Left empty: in the next version, the first that is new from now on.",
    )

    def clean_fixed_in(self) -> str:
        version = str(self.cleaned_data["fixed_in"])
        if version in NO_RELEASES:
            raise forms.ValidationError(f"{version} is no release, so nothing could come after it.")
        return version

    def decision(self) -> dict[str, Any]:
        return {"fixed_in": self.cleaned_data["fixed_in"] or None}


class MuteForm(DecisionForm):
    """Until when the groups are muted."""

    until = forms.DateField(
        required=False,
        label="Muted until",
        widget=forms.DateInput({"type": "date"}),
        help_text="The day on which they want attention again, UTC. Left empty: for good.",
    )

    def clean_until(self) -> int | None:
        day = self.cleaned_data["until"]
        if day is None:
            return None
        if day <= self.today:
            raise forms.ValidationError("That day is not in the future.")
        return int(datetime.combine(day, time(), UTC).timestamp() * 1000)

    def decision(self) -> dict[str, Any]:
        return {"until_ms": self.cleaned_data["until"]}


class NoteField(forms.CharField):
    """A text of several lines, whose ends browsers count as one character and send as two."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class NoteForm(forms.Form):
    note = NoteField(
        required=False, max_length=MAX_NOTE, label="Note", widget=forms.Textarea({"rows": 3, "maxlength": MAX_NOTE})
    )
