"""Looks up the channel that a command names."""

from django.core.management.base import CommandError

from events.alerts.channels import roster
from events.models import AlertChannel


def channel_named(name: str) -> AlertChannel:
    """Return a shared channel. Raises CommandError, which lists the names."""
    channel = roster.shared().filter(name=name).first() if "\0" not in name else None
    if channel is None:
        names = ", ".join(roster.shared().values_list("name", flat=True))
        raise CommandError(
            f"There is no channel named {name!r}. "
            + (f"The channels are: {names}." if names else "The site has no channel: see manage.py add_channel --help")
        )
    return channel
