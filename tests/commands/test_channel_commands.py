"""`add_channel`, `test_channel`, `channels`, `switch_channel`, `remove_channel`: the channels of alerts by command."""

import io
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from events import clock
from events.alerts.channels import roster, sealing
from events.alerts.channels.roster import MailChoice
from events.models import AlertChannel, AlertKind, AuditEntry
from tests.alerts.channels.listeners import hook
from tests.alerts.channels.test_roster import make_user

pytestmark = pytest.mark.django_db
SECRET = "s3cr3t-t0k3n"


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def failure(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_channel_is_added_tested_switched_off_and_removed() -> None:
    with hook() as listener, override_settings(ALERT_ALLOW_HOSTS=[("127.0.0.1", listener.port)]):
        out = run("add_channel", "ops", f"json://127.0.0.1:{listener.port}/{SECRET}")
        assert out == "Added ops (json) for all alerts.\nTo try it: manage.py test_channel 'ops'\n"
        assert run("channels") == "on   ops  json  all alerts  no message yet\n"
        assert run("test_channel", "ops") == "ops (json) accepted the message.\n"
        assert [request.path for request in listener.requests] == [f"/{SECRET}"]
        listener.status = 500
        assert failure("test_channel", "ops") == (
            "ops did not send the message. The service answered 500 (Internal Server Error)."
        )
    assert run("switch_channel", "ops", "off") == "ops is off.\n"
    assert run("switch_channel", "ops", "off") == "ops was off already.\n"
    listed = run("channels")
    assert listed.startswith("off  ops  json  all alerts  last message 20")
    assert listed.endswith("UTC; The service answered 500 (Internal Server Error).\n")
    assert run("remove_channel", "ops") == "Removed ops.\n"
    assert run("channels") == "No channel. To add one: manage.py add_channel NAME URL\n"
    assert AuditEntry.objects.filter(kind="alert", about="ops").count() == 3


def test_the_url_can_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"  json://example.org/{SECRET}\nmore\n"))
    run("add_channel", "ops", "-", "--kinds", "job, disk,")
    channel = AlertChannel.objects.get()
    assert sealing.opened(channel.sealed_url) == f"json://example.org/{SECRET}"
    assert channel.kinds == ["job", "disk"]


def test_a_url_is_replaced() -> None:
    run("add_channel", "ops", "json://example.org/old")
    assert run("add_channel", "ops", "mailto:a@example.org", "--replace").startswith(
        "Replaced the URL of ops (mailto)."
    )
    channel = AlertChannel.objects.get()
    assert sealing.opened(channel.sealed_url) == "mailto:a@example.org"
    assert channel.kinds == AlertKind.values


def test_personal_mail_is_listed_and_cannot_be_removed_by_others() -> None:
    roster.subscribe(make_user(), MailChoice.DIGEST, at=clock.now())
    assert run("channels") == "on   @kim  mail  [summary]  no message yet\n"
    assert failure("remove_channel", "@kim").startswith("There is no channel named '@kim'.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add_channel", "@x", "mailto:a@example.org"), "A name has 1 to 40 letters"),
        (("add_channel", "x", f"file:///{SECRET}"), "does not allow the scheme file"),
        (("add_channel", "x", "mailto:a@example.org", "--kinds", "nonsense"), "'nonsense' is no kind."),
        (("add_channel", "x", "mailto:a@example.org", "--replace"), "There is no channel named 'x'."),
        (("test_channel", "x"), "The site has no channel: see manage.py add_channel --help"),
        (("switch_channel", "x\0", "on"), "There is no channel named"),
    ],
)
def test_a_fault_is_told_in_words(arguments: tuple[str, ...], words: str) -> None:
    assert words in failure(*arguments)
    assert not AlertChannel.objects.exists()
