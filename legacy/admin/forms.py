"""The form that switches the mode."""

from datetime import date
from typing import Any

from django import forms

from legacy.cutover import parity
from legacy.cutover.parity import CutOff
from legacy.models import Mode


class SwitchForm(forms.Form):
    mode = forms.ChoiceField(widget=forms.RadioSelect, label="Switch to")
    reason = forms.CharField(max_length=500, label="Why", help_text="Stored with your name and the time.")

    def __init__(self, *args: Any, in_force: Mode, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today
        self.cut_off: CutOff | None = None  # Set when `gone` was chosen.
        self.fields["mode"].choices = [  # type: ignore[attr-defined]
            (mode.value, mode.value) for mode in Mode if mode != in_force
        ]

    def clean_mode(self) -> Mode:
        """Refuse `gone` while a new comparison proves parity on too few consecutive days."""
        mode = Mode(self.cleaned_data["mode"])
        if mode == Mode.GONE:
            finding = parity.check_window(self.today)
            self.cut_off = finding.cut_off
            missing = parity.missing_from_window(finding, self.today)
            if missing:
                raise forms.ValidationError(missing)
        return mode
