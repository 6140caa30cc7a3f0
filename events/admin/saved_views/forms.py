"""The forms of saved views."""

from typing import Any

from django import forms

from events.models.saved_views import MAX_VIEW_NAME
from events.visible_text import is_visible


class NameField(forms.CharField):
    """A name on one line. At least one character must be visible."""

    def __init__(self) -> None:
        super().__init__(
            max_length=MAX_VIEW_NAME,
            label="Name",
            widget=forms.TextInput({"autocomplete": "off"}),
            help_text=f"At most {MAX_VIEW_NAME} characters, such as “Failed writes of this week”.",
        )

    def clean(self, value: Any) -> str:
        name = str(super().clean(" ".join(str(value or "").split())))
        if not is_visible(name):
            raise forms.ValidationError(self.error_messages["required"], code="required")
        return name


class RenameForm(forms.Form):
    name = NameField()


class SaveForm(RenameForm):
    """A name, and for whom to save. Only accounts with the permission can save for everybody."""

    everybody = forms.BooleanField(required=False, label="For everybody", help_text="Everybody sees it in the menu.")

    def __init__(self, *args: Any, may_share: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        if not may_share:
            del self.fields["everybody"]
