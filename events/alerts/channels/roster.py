"""The roster: the channels of the site, and who gets which alerts. The only writer of `events_alertchannel`.

Each change has an entry in the audit log, in the same transaction. No entry contains a URL.
"""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models, transaction

from events import audit, clock
from events.alerts.channels import sealing, sending
from events.alerts.channels.urls import InvalidURL
from events.models import AlertChannel, AlertKind, AuditKind

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,38}[A-Za-z0-9])?")
MAX_CHANNELS = 50
PERSONAL = "mail"


class InvalidChannel(ValueError):
    """A change that cannot be made, in words. `field` names what to correct: name, url or kinds."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class MailChoice(models.TextChoices):
    """The mail that a person gets."""

    ALL = "all", "All alerts"
    CHANGES = "changes", "Regressions and worse releases"
    DIGEST = "digest", "Monday's digest only"
    NONE = "none", "No mail"


_KINDS_OF = {
    MailChoice.ALL: AlertKind.values,
    MailChoice.CHANGES: [AlertKind.REGRESSION.value, AlertKind.RELEASE.value],
    MailChoice.DIGEST: [AlertKind.SUMMARY.value],
    MailChoice.NONE: [],
}


# --- shared channels -------------------------------------------------------------------------------------------------


def shared() -> models.QuerySet[AlertChannel]:
    """Return the channels of the site, without the mail of persons."""
    return AlertChannel.objects.filter(person=None).order_by("name")


def personal() -> models.QuerySet[AlertChannel]:
    """Return the mail of persons."""
    return AlertChannel.objects.exclude(person=None).select_related("person").order_by("name")


def add(name: str, url: str, kinds: Collection[str], *, who: str, at: datetime) -> AlertChannel:
    """Add a channel that is switched on. Raises InvalidChannel, or ChannelFailed when the URL cannot be checked."""
    if not _NAME.fullmatch(name):
        raise InvalidChannel(
            "name", "A name has 1 to 40 letters, digits, spaces, dots, hyphens or underscores, such as ops-slack."
        )
    chosen = _valid(kinds)
    if shared().count() >= MAX_CHANNELS:
        raise InvalidChannel("name", f"A site has at most {MAX_CHANNELS} channels. Remove one first.")
    if AlertChannel.objects.filter(name=name).exists():
        raise InvalidChannel("name", f"A channel named {name} exists already.")
    service = _service_of(url)
    try:
        with transaction.atomic():
            channel = AlertChannel.objects.create(
                name=name,
                sealed_url=sealing.seal(url),
                service=service,
                kinds=chosen,
                added_at_ms=clock.epoch_ms(at),
                added_by_name=who,
            )
            _note(channel, f"Added the channel ({service}) for {in_words(chosen)}.", who, at)
    except IntegrityError:
        raise InvalidChannel("name", f"A channel named {name} exists already.") from None
    return channel


def replace_url(channel: AlertChannel, url: str, *, who: str, at: datetime) -> None:
    """Enter the URL of a channel again. Raises InvalidChannel or ChannelFailed."""
    service = _service_of(url)
    with transaction.atomic():
        _update(channel, sealed_url=sealing.seal(url), service=service, problem="")
        _note(channel, f"Replaced the URL ({service}).", who, at)


def switch(channel: AlertChannel, *, is_on: bool, who: str, at: datetime) -> bool:
    """Switch a channel on or off. Return False if it was so already."""
    with transaction.atomic():
        is_changed = bool(AlertChannel.objects.filter(pk=channel.pk).exclude(is_on=is_on).update(is_on=is_on))
        if is_changed:
            _note(channel, f"Switched the channel {'on' if is_on else 'off'}.", who, at)
    channel.is_on = is_on
    return is_changed


def choose(channel: AlertChannel, kinds: Collection[str], *, who: str, at: datetime) -> bool:
    """Set the kinds of alerts that a channel gets. Return False if they were the same. Raises InvalidChannel."""
    chosen = _valid(kinds)
    with transaction.atomic():
        before = AlertChannel.objects.select_for_update().get(pk=channel.pk).kinds
        if before == chosen:
            return False
        _update(channel, kinds=chosen)
        _note(channel, f"Gets {in_words(chosen)}; before, {in_words(before)}.", who, at)
    return True


def remove(channel: AlertChannel, *, who: str, at: datetime) -> None:
    """Delete a channel, and its deliveries."""
    with transaction.atomic():
        _note(channel, f"Removed the channel ({channel.service}), which got {in_words(channel.kinds)}.", who, at)
        channel.delete()


# --- the mail of a person --------------------------------------------------------------------------------------------


def choice_of(person: Any) -> MailChoice:
    channel = AlertChannel.objects.filter(person=person, is_on=True).first()
    kinds = channel.kinds if channel else []
    return next((choice for choice, chosen in _KINDS_OF.items() if chosen == kinds), MailChoice.NONE)


def subscribe(person: Any, choice: MailChoice, *, at: datetime) -> bool:
    """Set the mail that a person gets. Return False if it was the same."""
    who, kinds = person.get_username(), _KINDS_OF[choice]
    with transaction.atomic():
        channel = AlertChannel.objects.select_for_update().filter(person=person).first()
        is_on = choice != MailChoice.NONE
        if channel is None:
            if not is_on:
                return False
            channel = AlertChannel.objects.create(
                name=_name_of(person),
                service=PERSONAL,
                person=person,
                kinds=kinds,
                added_at_ms=clock.epoch_ms(at),
                added_by_name=who,
            )
        elif (channel.kinds, channel.is_on) == (kinds, is_on):
            return False
        else:
            _update(channel, kinds=kinds, is_on=is_on, problem="")
        _note(channel, f"Gets mail: {choice.label.lower()}.", who, at)
    return True


def _name_of(person: Any) -> str:
    """Return a name that no shared channel can have. An account may have taken the name of another one."""
    name = f"@{person.get_username()}"
    return f"{name} ({person.pk})" if AlertChannel.objects.filter(name=name).exists() else name


# --- deliveries ------------------------------------------------------------------------------------------------------


def note_sent(channel: AlertChannel, at_ms: int) -> None:
    _update(channel, delivered_at_ms=at_ms, problem="")


def note_problem(channel: AlertChannel, problem: str) -> None:
    _update(channel, problem=problem)


def request_test(channel: AlertChannel, *, who: str, at: datetime) -> None:
    """Ask the jobs for a test message through a channel."""
    with transaction.atomic():
        _update(channel, test_requested_ms=clock.epoch_ms(at))
        _note(channel, "Requested a test message.", who, at)


def tests_requested() -> list[AlertChannel]:
    requested = AlertChannel.objects.filter(test_requested_ms__isnull=False).select_related("person")
    return list(requested.order_by("test_requested_ms", "pk"))


def end_test(channel: AlertChannel) -> None:
    """Note that the requested test message was tried. A newer request stays."""
    requested = AlertChannel.objects.filter(pk=channel.pk, test_requested_ms=channel.test_requested_ms)
    requested.update(test_requested_ms=None)


# --- shared ----------------------------------------------------------------------------------------------------------


def in_words(kinds: Collection[str]) -> str:
    """Return kinds as text: "all alerts", "no alert", or their names in brackets."""
    if set(kinds) >= set(AlertKind.values):
        return "all alerts"
    return " ".join(f"[{kind}]" for kind in AlertKind.values if kind in kinds) or "no alert"


def _valid(kinds: Collection[str]) -> list[str]:
    """Return kinds once each, in the order of AlertKind. Raises InvalidChannel."""
    if unknown := sorted(set(kinds) - set(AlertKind.values)):
        raise InvalidChannel("kinds", f"{unknown[0]!r} is no kind. The kinds are {', '.join(AlertKind.values)}.")
    return [kind for kind in AlertKind.values if kind in kinds]


def _service_of(url: str) -> str:
    try:
        return sending.service_of(url).scheme
    except InvalidURL as error:
        raise InvalidChannel("url", str(error)) from None


def _update(channel: AlertChannel, **values: Any) -> None:
    AlertChannel.objects.filter(pk=channel.pk).update(**values)
    for name, value in values.items():
        setattr(channel, name, value)


def _note(channel: AlertChannel, what: str, who: str, at: datetime) -> None:
    audit.note(AuditKind.ALERT, what, who=who, at=at, about=channel.name)
