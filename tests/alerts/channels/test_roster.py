"""The roster: what each change writes, what the audit log says, and what is refused."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection

from events import clock
from events.alerts.channels import roster
from events.alerts.channels.roster import InvalidChannel, MailChoice
from events.models import AlertChannel, AlertKind, AuditEntry

pytestmark = pytest.mark.django_db

SECRET = "s3cr3t-t0k3n"
URL = f"json://example.org/{SECRET}"


def make_user(name: str = "kim") -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name="Staff"))
    return user


def add(name: str = "ops", url: str = URL, kinds: Any = ("new", "regression")) -> AlertChannel:
    return roster.add(name, url, kinds, who="admin", at=clock.now())


def log() -> list[tuple[str, str, str, str]]:
    entries = AuditEntry.objects.filter(kind="alert").order_by("id")
    return [(entry.who, entry.about, entry.what, entry.why) for entry in entries]


def test_each_change_is_in_the_audit_log() -> None:
    channel = add()
    at = clock.now()
    assert roster.choose(channel, ["job", "new"], who="kim", at=at)
    assert not roster.choose(channel, ["new", "job"], who="kim", at=at)
    assert roster.switch(channel, is_on=False, who="kim", at=at)
    assert not roster.switch(channel, is_on=False, who="kim", at=at)
    assert roster.switch(channel, is_on=True, who="kim", at=at)
    roster.request_test(channel, who="kim", at=at)
    roster.replace_url(channel, "mailto:a@example.org", who="kim", at=at)
    roster.remove(channel, who="kim", at=at)
    assert log() == [
        ("admin", "ops", "Added the channel (json) for [new] [regression].", ""),
        ("kim", "ops", "Gets [new] [job]; before, [new] [regression].", ""),
        ("kim", "ops", "Switched the channel off.", ""),
        ("kim", "ops", "Switched the channel on.", ""),
        ("kim", "ops", "Requested a test message.", ""),
        ("kim", "ops", "Replaced the URL (mailto).", ""),
        ("kim", "ops", "Removed the channel (mailto), which got [new] [job].", ""),
    ]
    assert not AlertChannel.objects.exists()


def test_no_column_of_the_database_contains_the_secret() -> None:
    channel = add()
    roster.note_problem(channel, "The service answered 403 (Forbidden).")
    with connection.cursor() as cursor:
        for table in ("events_alertchannel", "events_auditentry"):
            cursor.execute(f"SELECT * FROM {table}")
            assert SECRET not in str(cursor.fetchall())


def test_a_channel_keeps_the_kinds_in_their_order() -> None:
    assert add(kinds=["summary", "new", "new"]).kinds == ["new", "summary"]
    assert roster.in_words(AlertKind.values) == "all alerts"
    assert roster.in_words([]) == "no alert"


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"name": ""}, "name", "A name has 1 to 40 letters"),
        ({"name": "@admin"}, "name", "A name has 1 to 40 letters"),
        ({"name": "a" * 41}, "name", "A name has 1 to 40 letters"),
        ({"name": "a\n"}, "name", "A name has 1 to 40 letters"),
        ({"name": "ends "}, "name", "A name has 1 to 40 letters"),
        ({"kinds": ["new", "nonsense"]}, "kinds", "'nonsense' is no kind."),
        ({"url": "file:///etc/passwd"}, "url", "does not allow the scheme file"),
        ({"url": f"slack://{SECRET}"}, "url", "Apprise does not accept this URL."),
    ],
)
def test_a_fault_names_its_field(values: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidChannel) as caught:
        add(**values)
    assert (caught.value.field, words in str(caught.value)) == (field, True)
    assert SECRET not in str(caught.value)
    assert (AlertChannel.objects.count(), log()) == (0, [])


def test_a_name_is_given_once() -> None:
    add()
    with pytest.raises(InvalidChannel, match="A channel named ops exists already"):
        add(url="mailto:a@example.org")
    assert AlertChannel.objects.count() == 1


def test_a_site_has_a_limit_of_channels() -> None:
    for number in range(roster.MAX_CHANNELS):
        AlertChannel.objects.create(
            name=f"c{number}", sealed_url="x", service="json", added_at_ms=0, added_by_name="admin"
        )
    with pytest.raises(InvalidChannel, match="at most 50 channels"):
        add()


def test_a_result_is_kept_until_the_next_one() -> None:
    channel = add()
    roster.note_sent(channel, 1_000)
    roster.note_problem(channel, "The host refused the connection.")
    channel.refresh_from_db()
    assert (channel.delivered_at_ms, channel.problem) == (1_000, "The host refused the connection.")
    roster.note_sent(channel, 2_000)
    channel.refresh_from_db()
    assert (channel.delivered_at_ms, channel.problem) == (2_000, "")


# --- the mail of a person --------------------------------------------------------------------------------------------


def test_a_person_chooses_the_mail() -> None:
    person, at = make_user(), clock.now()
    name = person.get_username()
    assert roster.choice_of(person) == MailChoice.NONE
    assert not roster.subscribe(person, MailChoice.NONE, at=at)
    assert roster.subscribe(person, MailChoice.CHANGES, at=at)
    assert not roster.subscribe(person, MailChoice.CHANGES, at=at)
    assert roster.choice_of(person) == MailChoice.CHANGES
    channel = AlertChannel.objects.get()
    assert (channel.name, channel.kinds, channel.sealed_url) == (f"@{name}", ["regression", "release"], "")
    assert roster.subscribe(person, MailChoice.DIGEST, at=at)
    assert AlertChannel.objects.get().kinds == ["summary"]
    assert roster.subscribe(person, MailChoice.ALL, at=at)
    assert AlertChannel.objects.get().kinds == AlertKind.values
    assert roster.subscribe(person, MailChoice.NONE, at=at)
    assert (AlertChannel.objects.get().is_on, roster.choice_of(person)) == (False, MailChoice.NONE)
    assert [what for _, _, what, _ in log()] == [
        "Gets mail: regressions and worse releases.",
        "Gets mail: monday's digest only.",
        "Gets mail: all alerts.",
        "Gets mail: no mail.",
    ]
    assert {who for who, *_ in log()} == {name}
    assert not roster.shared().exists()
    assert roster.personal().count() == 1


def test_an_account_with_the_former_name_of_another_one_gets_a_channel_too() -> None:
    first = make_user()
    roster.subscribe(first, MailChoice.ALL, at=clock.now())
    name = first.get_username()
    first.username = "renamed"
    first.save()
    second = make_user(name)
    roster.subscribe(second, MailChoice.ALL, at=clock.now())
    assert sorted(AlertChannel.objects.values_list("name", flat=True)) == [f"@{name}", f"@{name} ({second.pk})"]


def test_a_deleted_account_gets_no_mail() -> None:
    person = make_user()
    roster.subscribe(person, MailChoice.ALL, at=clock.now())
    person.delete()
    assert not AlertChannel.objects.exists()
