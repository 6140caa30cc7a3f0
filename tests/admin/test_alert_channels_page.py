"""The pages of the alert channels, and of the mail that each person chooses."""

from typing import Any

import pytest
from django.test import Client, override_settings

from events import clock
from events.alerts.channels import roster, sealing
from events.models import AlertChannel, AlertKind, AuditEntry, JobState
from tests.conftest import sign_in, text_of

pytestmark = pytest.mark.django_db

PATH = "/admin/events/alertchannel/"
SECRET = "s3cr3t-t0k3n"
URL = f"json://example.org/{SECRET}"


def add(name: str = "ops", kinds: Any = ("new", "job")) -> AlertChannel:
    return roster.add(name, URL, kinds, who="admin", at=clock.now())


def change_path(channel: AlertChannel) -> str:
    return f"{PATH}{channel.pk}/change/"


def page(client: Client, path: str = PATH, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    text = text_of(answer)
    assert SECRET not in text
    return text


def send(client: Client, path: str, status: int = 200, **form: Any) -> str:
    answer = client.post(path, form, follow=True)
    assert answer.status_code == status
    text = text_of(answer)
    assert SECRET not in text
    return text


def log() -> list[tuple[str, str]]:
    return [(entry.who, entry.what) for entry in AuditEntry.objects.filter(kind="alert").order_by("id")]


def test_a_site_without_channels_says_how_to_add_one(client: Client) -> None:
    sign_in(client, "Maintainers")
    text = page(client)
    assert "No channel yet" in text
    assert "manage.py add_channel ops-slack slack://…" in text
    assert "Nobody gets mail." in text


def test_a_channel_is_added_and_its_url_is_never_shown_again(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    form = page(client, f"{PATH}add/")
    assert 'type="password" name="url"' in form
    assert form.count("checked") == len(AlertKind.values)
    text = send(client, f"{PATH}add/", name="ops", url=URL, kinds=["new", "summary"])
    assert "ops is added. Send a test message to try it." in text
    channel = AlertChannel.objects.get()
    assert (channel.service, channel.kinds, channel.is_on) == ("json", ["new", "summary"], True)
    assert sealing.opened(channel.sealed_url) == URL
    assert (channel.added_by_name, log()) == (
        user.username,
        [(user.username, "Added the channel (json) for [new] [summary].")],
    )
    listed = page(client)
    assert "[new] [summary]" in listed
    assert "json" in listed


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": "", "url": URL}, "This field is required."),
        ({"name": "@ops", "url": URL}, "A name has 1 to 40 letters"),
        ({"name": "ops", "url": f"file:///{SECRET}"}, "This site does not allow the scheme file."),
        ({"name": "ops", "url": f"slack://{SECRET}"}, "Apprise does not accept this URL."),
        ({"name": "ops", "url": f"{URL}?verify=no"}, "The parameter verify is not allowed."),
        ({"name": "ops", "url": "x" * 2_001}, "at most 2000 characters"),
        ({"name": "ops", "url": URL, "kinds": ["nonsense"]}, "nonsense is not one of the available choices"),
    ],
)
def test_a_fault_stands_beside_its_field_and_nothing_is_added(client: Client, form: Any, words: str) -> None:
    sign_in(client, "Maintainers")
    assert words in send(client, f"{PATH}add/", 400, **form)
    assert not AlertChannel.objects.exists()


def test_each_kind_is_switched_by_itself(client: Client) -> None:
    sign_in(client, "Maintainers")
    channel = add()
    text = page(client, change_path(channel))
    assert text.count("checked") == 2
    assert "ops gets [release] [job]." in send(client, change_path(channel), action="kinds", kinds=["job", "release"])
    assert "ops gets no alert." in send(client, change_path(channel), action="kinds")
    assert "not one of the available" in send(client, change_path(channel), 400, action="kinds", kinds=["nonsense"])
    channel.refresh_from_db()
    assert channel.kinds == []


def test_a_channel_is_switched_off_and_on(client: Client) -> None:
    sign_in(client, "Maintainers")
    channel = add()
    assert "ops is off." in send(client, change_path(channel), action="off")
    assert ">off</span>: it gets no alert" in page(client, change_path(channel))
    assert "ops is on." in send(client, change_path(channel), action="on")
    assert [what for _, what in log()][1:] == ["Switched the channel off.", "Switched the channel on."]


def test_a_test_message_is_requested_and_a_job_sends_it(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    channel = add()
    assert "The site sends a test message within a few seconds." in send(client, change_path(channel), action="test")
    channel.refresh_from_db()
    assert channel.test_requested_ms is not None
    assert JobState.objects.get(name="alert-tests").due_ms <= clock.now_ms()
    assert (user.username, "Requested a test message.") in log()
    assert "is not sent yet" in page(client, change_path(channel))


def test_a_url_is_replaced(client: Client) -> None:
    sign_in(client, "Maintainers")
    channel = add()
    roster.note_problem(channel, "The secret key of the site has changed since the URL was entered.")
    assert "The secret key of the site has changed" in page(client)
    faulty = send(client, change_path(channel), 400, action="url", url=f"file:///{SECRET}")
    assert "does not allow the scheme file" in faulty
    assert "ops has a new URL." in send(client, change_path(channel), action="url", url="mailto:a@example.org")
    channel.refresh_from_db()
    assert (sealing.opened(channel.sealed_url), channel.service, channel.problem) == (
        "mailto:a@example.org",
        "mailto",
        "",
    )


def test_a_channel_is_removed_after_a_confirmation(client: Client) -> None:
    sign_in(client, "Maintainers")
    channel = add()
    path = f"{PATH}{channel.pk}/delete/"
    assert "It gets [new] [job]." in page(client, path)
    assert AlertChannel.objects.exists()
    assert "ops is removed." in send(client, path)
    assert not AlertChannel.objects.exists()
    assert log()[-1][1] == "Removed the channel (json), which got [new] [job]."


def test_the_history_of_a_channel_is_shown(client: Client) -> None:
    sign_in(client, "Maintainers")
    channel = add()
    assert "Added the channel (json) for [new] [job]." in page(client, f"{PATH}{channel.pk}/history/")


def test_an_unknown_action_and_an_unknown_channel_are_not_found(client: Client) -> None:
    sign_in(client, "Maintainers")
    send(client, change_path(add()), 404, action="nonsense")
    page(client, f"{PATH}999/change/", 404)
    page(client, f"{PATH}nonsense/change/", 404)


def test_staff_see_the_channels_and_change_nothing(client: Client) -> None:
    sign_in(client, "Staff")
    channel = add()
    text = page(client)
    assert "ops" in text
    assert "Add a channel" not in text
    page(client, change_path(channel), 403)
    send(client, change_path(channel), 403, action="off")
    send(client, f"{PATH}{channel.pk}/delete/", 403)


def test_hostile_texts_are_escaped(client: Client) -> None:
    sign_in(client, "Maintainers")
    channel = add()
    roster.note_problem(channel, "<script>alert(1)</script>")
    assert "<script>alert(1)" not in page(client) + page(client, change_path(channel))


# --- My alerts -------------------------------------------------------------------------------------------------------


def test_a_person_chooses_the_mail(client: Client) -> None:
    user = sign_in(client, "Staff")
    user.email = "someone@example.org"
    user.save()
    with override_settings(HAS_MAIL=True):
        text = page(client, f"{PATH}mine/")
        assert 'role="alert"' not in text
        assert "It goes to <bdi>someone@example.org</bdi>" in text
        changed = send(client, f"{PATH}mine/", choice="changes")
    assert "Your mail: regressions and worse releases." in changed
    assert AlertChannel.objects.get(person=user).kinds == ["regression", "release"]
    assert log() == [(user.username, "Gets mail: regressions and worse releases.")]
    assert "[regression] [release]" in page(client)
    assert "Your mail: no mail." in send(client, f"{PATH}mine/", choice="none")
    assert "Nobody gets mail." in page(client)
    assert "not one of the available choices" in send(client, f"{PATH}mine/", 400, choice="nonsense")


def test_the_page_warns_when_no_mail_can_arrive(client: Client) -> None:
    sign_in(client, "Staff")
    with override_settings(HAS_MAIL=False):
        assert "This site cannot send mail" in page(client, f"{PATH}mine/")
    with override_settings(HAS_MAIL=True):
        assert "Your account has no mail address" in page(client, f"{PATH}mine/")


def test_a_person_without_rights_gets_no_mail_and_the_mail_of_a_person_is_nobody_else_s(client: Client) -> None:
    other = sign_in(client, "Staff")
    send(client, f"{PATH}mine/", choice="all")
    channel = AlertChannel.objects.get(person=other)
    maintainer = Client()
    sign_in(maintainer, "Maintainers")
    page(maintainer, change_path(channel), 404)
    send(maintainer, f"{PATH}{channel.pk}/delete/", 404)
    nobody = Client()
    sign_in(nobody)
    page(nobody, f"{PATH}mine/", 403)
    send(nobody, f"{PATH}mine/", 403, choice="all")
