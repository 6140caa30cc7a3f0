"""Sends one message through one channel. Only jobs and commands call `send`: no request waits for a service."""

import json
import subprocess
import sys
from typing import Any, NamedTuple

from django.conf import settings

from events.alerts.channels import mail, sealing, urls
from events.alerts.messages import Message, one_line
from events.models import AlertChannel

WAIT_SECONDS = 60.0
_PERMISSION = "events.view_event"


class ChannelFailed(Exception):
    """A channel did not send the message. The text says in words why, and contains no secret."""

    is_loggable = True


class Service(NamedTuple):
    """What a URL belongs to: a scheme such as "slack", and a name for people such as "Slack"."""

    scheme: str
    name: str


def send(channel: AlertChannel, message: Message) -> None:
    """Send a message. Returns when the service has accepted it; raises ChannelFailed."""
    try:
        if channel.person is not None:
            mail.send(message, [_address_of(channel.person)])
            return
        url = sealing.opened(channel.sealed_url)
        recipients = urls.recipients(url)
        if recipients:
            mail.send(message, recipients.addresses)
        else:
            _run(url, message)
    except (mail.MailFailed, sealing.NotOpened, urls.InvalidURL) as error:
        raise ChannelFailed(str(error)) from None


def service_of(url: str) -> Service:
    """Return the service of a URL that somebody has entered, without connecting to it. Raises InvalidURL.

    It raises ChannelFailed if the check itself fails.
    """
    if urls.recipients(url):
        return Service(urls.MAIL, "E-mail")
    try:
        return _run(url, None)
    except _Refused as refused:
        raise urls.InvalidURL(str(refused)) from None


class _Refused(ChannelFailed):
    """The program ran, and says why not."""


def _run(url: str, message: Message | None) -> Service:
    """Run `program` to check a URL, or to send a message to it. Raises InvalidURL or ChannelFailed."""
    schemes = urls.allowed_schemes(settings.ALERT_SCHEMES)
    urls.check(url, schemes)  # also before each message: the settings may have become stricter
    order: dict[str, Any] = {
        "url": url,
        "subject": one_line(message.subject) if message else None,
        "text": message.text if message else None,
        "schemes": schemes,
        "allowed": settings.ALERT_ALLOW_HOSTS,
        "site_url": settings.SITE_URL,
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "events.alerts.channels.program"],
            input=json.dumps(order),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may quote the URL
            cwd=settings.BASE_DIR,
            timeout=WAIT_SECONDS,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChannelFailed(f"The service did not answer within {WAIT_SECONDS:.0f} s.") from None
    except OSError as error:
        raise ChannelFailed(f"The sending process cannot start: {error.strerror}.") from None
    try:
        verdict = json.loads(ended.stdout)
    except ValueError:
        raise ChannelFailed(f"The sending process ended with status {ended.returncode}.") from None
    if "problem" in verdict:
        raise _Refused(verdict["problem"])
    return Service(verdict["scheme"], verdict["service"])


def _address_of(person: Any) -> str:
    """Return the mail address of an account that may still see what alerts say. Raises MailFailed."""
    if not person.is_active or not person.is_staff or not person.has_perm(_PERMISSION):
        raise mail.MailFailed("The account may not see events any more.")
    if not person.email:
        raise mail.MailFailed("The account has no mail address.")
    return str(person.email)
