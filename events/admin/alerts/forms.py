"""The forms of the pages of alerts. No form shows a URL again: it contains a secret."""

import re
from typing import Any

from django import forms
from django.conf import settings

from events.alerts.channels.roster import MailChoice
from events.alerts.preview import Thresholds
from events.keyset import Cursor
from events.models import AlertKind, DeliveryState
from events.reports.forms import CursorField, ListFilter

MAX_NAME = 40
_URL_HELP = (
    "A URL of Apprise such as slack://… or json://…, the address of a webhook, or mailto:team@example.org. It is stored"
    " encrypted, and no page shows it again."
)
_KINDS_HELP = "Each kind is switched on or off for this channel."
WHAT_KINDS_SAY = {
    AlertKind.NEW: "a new failure that keeps happening",
    AlertKind.REGRESSION: "a resolved failure that came back",
    AlertKind.RELEASE: "a version that fails more often than the one before",
    AlertKind.RATE: "a failure rate far above its own past values",
    AlertKind.SILENCE: "no events where events used to arrive",
    AlertKind.JOB: "a failed job or backup",
    AlertKind.DISK: "little free disk space",
    AlertKind.PARITY: "the old and the new system count differently",
    AlertKind.SUMMARY: "the digest of the week, on Mondays",
}


class URLField(forms.CharField):
    """The URL of a channel. The browser shows dots, and does not fill in a stored password."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.PasswordInput({"autocomplete": "new-password", "spellcheck": "false"})
        super().__init__(label="URL", max_length=2_000, widget=widget, help_text=_URL_HELP, **kwargs)


class KindsField(forms.MultipleChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        choices = [(kind.value, f"[{kind.value}] {words}") for kind, words in WHAT_KINDS_SAY.items()]
        super().__init__(
            label="Alerts",
            required=False,
            choices=choices,
            widget=forms.CheckboxSelectMultiple,
            help_text=_KINDS_HELP,
            **kwargs,
        )


class ChannelForm(forms.Form):
    name = forms.CharField(
        max_length=MAX_NAME, widget=forms.TextInput({"autocomplete": "off"}), help_text="Such as ops-slack."
    )
    url = URLField()
    kinds = KindsField(initial=AlertKind.values)


class KindsForm(forms.Form):
    kinds = KindsField()


class URLForm(forms.Form):
    url = URLField()


class MailForm(forms.Form):
    choice = forms.ChoiceField(label="Mail for you", choices=MailChoice.choices, widget=forms.RadioSelect)


class ThresholdsForm(ListFilter):
    """The thresholds to try. They come from the URL; a missing one is that of the settings."""

    new_after = forms.IntegerField(
        required=False, min_value=1, max_value=100_000, label="Failures until [new]", help_text="ALERT_NEW_AFTER"
    )
    silence_hours = forms.IntegerField(
        required=False, min_value=1, max_value=720, label="Hours until [silence]", help_text="ALERT_SILENCE_HOURS"
    )

    def thresholds(self) -> Thresholds:
        cleaned = self.cleaned_data
        return Thresholds(
            cleaned["new_after"] or settings.ALERT_NEW_AFTER, cleaned["silence_hours"] or settings.ALERT_SILENCE_HOURS
        )


class OutboxFilter(ListFilter):
    """The filters of the outbox. They come from the URL, and all of them apply."""

    state = forms.ChoiceField(required=False, choices=[("", "any"), *DeliveryState.choices])
    kind = forms.ChoiceField(required=False, choices=[("", "any"), *((kind, f"[{kind}]") for kind in AlertKind.values)])
    channel = forms.CharField(required=False, strip=False, max_length=200)
    cursor = CursorField(lambda raw: _cursor(raw), max_length=40)

    @property
    def shown_filters(self) -> list[forms.BoundField]:
        return [self["state"], self["kind"], self["channel"]]


def _cursor(raw: str) -> Cursor:
    if not re.fullmatch(r"[0-9]{1,15}\.[0-9]{1,18}", raw):
        raise ValueError("not a cursor")
    return Cursor(*map(int, raw.split(".")))
