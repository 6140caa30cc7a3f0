"""Mail through the server of EMAIL_URL, with a real listener: its parts, its headers, and what goes wrong."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from events.alerts.channels import roster, sealing, sending
from events.alerts.channels.roster import MailChoice
from events.alerts.channels.sending import ChannelFailed
from events.alerts.messages import Message
from events.clock import now
from events.models import AlertChannel
from tests.alerts.channels.listeners import mail_server
from tests.alerts.channels.test_roster import make_user

MESSAGE = Message("[new] Radio vanished\r\nBcc: evil@example.org", "Größe: 12 ☃\n.\nend\n", "<p>Größe: 12</p>")


@contextmanager
def mail_through(port: int, **values: Any) -> Iterator[None]:
    """Send real mail to a port of this machine, instead of into the memory of the tests."""
    server = {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": port,
        "HAS_MAIL": True,
        "SITE_URL": "https://telemetry.example.org",
        "ALERT_FROM": "Telemetry <telemetry@example.org>",
    }
    with override_settings(**(server | values)):
        yield


def to(url: str) -> AlertChannel:
    return AlertChannel(name="team", sealed_url=sealing.seal(url), service="mailto")


def test_a_mail_has_both_parts_and_no_header_of_a_stranger() -> None:
    with mail_server() as (port, box), mail_through(port):
        sending.send(to("mailto:a@example.org"), MESSAGE)
    ((sender, recipients, mail, _),) = box.delivered
    assert (sender, recipients) == ("telemetry@example.org", ["a@example.org"])
    assert mail["Subject"] == "[new] Radio vanished Bcc: evil@example.org"
    assert mail["From"] == "Telemetry <telemetry@example.org>"
    assert mail.get_all("To") == ["a@example.org"]
    assert mail["Bcc"] is None
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "Telemetry alerts <alerts.telemetry.example.org>"
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["Date"]
    parts = [(part.get_content_type(), part.get_content().replace("\r\n", "\n")) for part in mail.iter_parts()]
    assert mail.get_content_type() == "multipart/alternative"
    assert parts == [("text/plain", MESSAGE.text), ("text/html", MESSAGE.html + "\n")] or parts == [
        ("text/plain", MESSAGE.text),
        ("text/html", MESSAGE.html),
    ]


def test_several_recipients_do_not_see_each_other() -> None:
    with mail_server() as (port, box), mail_through(port):
        sending.send(to("mailto:a@example.org,b@example.org"), MESSAGE)
    ((_, recipients, mail, _),) = box.delivered
    assert recipients == ["a@example.org", "b@example.org"]
    assert "example.org" not in mail["To"]


def test_a_password_is_used_and_a_wrong_one_is_told() -> None:
    with mail_server(password="right") as (port, box), mail_through(port, EMAIL_HOST_USER="u"):
        with override_settings(EMAIL_HOST_PASSWORD="right"):
            sending.send(to("mailto:a@example.org"), MESSAGE)
        with override_settings(EMAIL_HOST_PASSWORD="s3cr3t"), pytest.raises(ChannelFailed) as caught:
            sending.send(to("mailto:a@example.org"), MESSAGE)
    assert str(caught.value) == "The mail server refused the user name or the password (535)."
    assert [delivered.is_authenticated for delivered in box.delivered] == [True]


def test_a_refused_recipient_is_told_by_the_number() -> None:
    with mail_server() as (port, box), mail_through(port):
        box.unknown = {"nobody@example.org"}
        with pytest.raises(ChannelFailed) as caught:
            sending.send(to("mailto:nobody@example.org"), MESSAGE)
    assert str(caught.value) == "The mail server refused the recipient (550)."
    assert box.delivered == []


def test_starttls_is_required_when_the_url_asks_for_it() -> None:
    with mail_server() as (port, box), mail_through(port, EMAIL_USE_TLS=True), pytest.raises(ChannelFailed) as caught:
        sending.send(to("mailto:a@example.org"), MESSAGE)
    assert "does not offer what EMAIL_URL asks for" in str(caught.value)
    assert box.delivered == []


def test_a_server_that_is_away_or_silent_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        mail_through(silent.getsockname()[1], EMAIL_TIMEOUT=0.2),
        pytest.raises(ChannelFailed, match=r"did not answer in time\."),
    ):
        sending.send(to("mailto:a@example.org"), MESSAGE)
    with mail_through(1), pytest.raises(ChannelFailed, match=r"cannot be reached: Connection refused\."):
        sending.send(to("mailto:a@example.org"), MESSAGE)


def test_without_email_url_the_reason_names_it() -> None:
    with override_settings(HAS_MAIL=False), pytest.raises(ChannelFailed, match="EMAIL_URL is not set"):
        sending.send(to("mailto:a@example.org"), MESSAGE)


# --- the mail of a person --------------------------------------------------------------------------------------------


def subscribed(person: User) -> AlertChannel:
    roster.subscribe(person, MailChoice.ALL, at=now())
    return AlertChannel.objects.select_related("person").get(person=person)


@pytest.mark.django_db
def test_mail_of_a_person_goes_to_the_address_of_the_account() -> None:
    person = make_user()
    person.email = "person@example.org"
    person.save()
    with mail_server() as (port, box), mail_through(port):
        sending.send(subscribed(person), MESSAGE)
    assert box.delivered[0].recipients == ["person@example.org"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"email": ""}, "The account has no mail address."),
        ({"is_active": False}, "The account may not see events any more."),
        ({"is_staff": False}, "The account may not see events any more."),
    ],
)
def test_a_person_who_may_not_see_events_any_more_gets_no_mail(change: dict[str, Any], words: str) -> None:
    person = make_user()
    User.objects.filter(pk=person.pk).update(**({"email": "person@example.org"} | change))
    with override_settings(HAS_MAIL=True), pytest.raises(ChannelFailed) as caught:
        sending.send(subscribed(person), MESSAGE)
    assert str(caught.value) == words


@pytest.mark.django_db
def test_a_person_without_the_permission_gets_no_mail() -> None:
    person = make_user()
    User.objects.filter(pk=person.pk).update(email="person@example.org")
    channel = subscribed(person)
    person.groups.clear()
    channel = AlertChannel.objects.select_related("person").get(pk=channel.pk)
    with override_settings(HAS_MAIL=True), pytest.raises(ChannelFailed, match="may not see events"):
        sending.send(channel, MESSAGE)
