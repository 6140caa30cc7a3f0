"""Groups are assigned to a person: the question, the page, the list with its tab and filter, and the export."""

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from events import clock
from events.grouping import triage
from events.models import AuditEntry, FailureGroup
from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db
LIST = "/admin/events/failuregroup/"
DECIDE = f"{LIST}decide/"


@pytest.fixture
def me(client: Client) -> User:
    return sign_in(client, "Maintainers")


@pytest.fixture
def kim() -> User:
    user = User.objects.create_user("kim", first_name="Kim", last_name="Doe", is_staff=True)
    user.groups.add(Group.objects.get(name="Staff"))
    return user


@pytest.fixture
def key() -> str:
    return make_event(message="No ACK").fingerprint or ""


def text_of(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def assign(client: Client, keys: str | list[str], person: User | None) -> Any:
    return client.post(DECIDE, {"action": "assign", "id": keys, "person": person.pk if person else ""})


def titles(client: Client, **query: str) -> set[str]:
    return {row.group.title for row, _ in client.get(LIST, query).context["rows"]}


def test_a_group_is_assigned_and_its_page_says_so(client: Client, me: User, kim: User, key: str) -> None:
    page = f"{LIST}{key}/"
    assert "Assign…" in text_of(client.get(page))
    assert assign(client, key, kim)["Location"].startswith(page)
    text = text_of(client.get(page))
    assert "Assigned to <strong><bdi>kim</bdi></strong> by someone-Maintainers," in text
    assert "Assigned to kim." in text  # in the history
    assert AuditEntry.objects.get().who == me.get_username()
    assert FailureGroup.objects.get().status == "open"


def test_the_question_offers_those_who_may_see_groups_and_proposes_the_reader(
    client: Client, me: User, kim: User, key: str
) -> None:
    User.objects.create_user("gone", is_staff=True, is_active=False).groups.add(Group.objects.get(name="Staff"))
    User.objects.create_user("visitor")
    answer = client.get(DECIDE, {"action": "assign", "id": key})
    text = text_of(answer)
    assert ">kim (Kim Doe)</option>" in text
    assert f'<option value="{me.pk}" selected>' in text
    assert 'value="">nobody</option>' in text
    assert "gone" not in text
    assert "visitor" not in text
    assign(client, key, kim)
    assert f'<option value="{kim.pk}" selected>' in text_of(client.get(DECIDE, {"action": "assign", "id": key}))


@pytest.mark.parametrize("who", ["inactive", "no staff", "no such account", "text"])
def test_an_account_that_cannot_be_assigned_is_refused(client: Client, me: User, kim: User, key: str, who: str) -> None:
    User.objects.filter(pk=kim.pk).update(is_active=who != "inactive", is_staff=who != "no staff")
    person = {"no such account": "999999", "text": "kim"}.get(who, str(kim.pk))
    answer = client.post(DECIDE, {"action": "assign", "id": key, "person": person})
    assert answer.status_code == 400
    assert "Select a valid choice" in text_of(answer)
    assert FailureGroup.objects.get().assigned_to is None
    assert not AuditEntry.objects.exists()


def test_an_assignment_ends_with_nobody(client: Client, me: User, kim: User, key: str) -> None:
    assign(client, key, kim)
    assign(client, key, None)
    assert "Assigned to <strong>" not in text_of(client.get(f"{LIST}{key}/"))
    assert AuditEntry.objects.order_by("-id")[0].what == "No longer assigned to kim."


def test_a_switched_off_and_a_deleted_account_are_named_so(client: Client, me: User, kim: User, key: str) -> None:
    assign(client, key, kim)
    User.objects.filter(pk=kim.pk).update(is_active=False)
    assert "<bdi>kim</bdi></strong>, an account that is not active," in text_of(client.get(f"{LIST}{key}/"))
    kim.delete()
    assert "Assigned to an account that was deleted." in text_of(client.get(f"{LIST}{key}/"))
    assert titles(client, assigned="(nobody)") == {"No ACK"}


def test_many_groups_are_assigned_from_the_list(client: Client, me: User, kim: User, key: str) -> None:
    other = make_event(message="another").fingerprint or ""
    make_event(message="a third")
    assert assign(client, [key, other], kim)["Location"] == LIST
    text = text_of(client.get(LIST))
    assert text.count('title="Assigned to kim"') == 2
    assert titles(client, assigned="kim") == {"No ACK", "another"}
    assert titles(client, assigned="(nobody)") == {"a third"}
    assert titles(client, assigned="unheard of") == set()
    assert '<option value="(nobody)"></option><option value="kim"></option>' in text


def test_mine_is_what_is_assigned_to_the_reader_and_needs_work(client: Client, me: User, kim: User) -> None:
    keys = {
        message: make_event(message=message, received_at_ms=clock.now_ms() - 9).fingerprint or ""
        for message in ("open", "resolved", "muted", "still failing", "kim's", "nobody's")
    }
    assert "No group is yours" in text_of(client.get(LIST, {"status": "mine"}))
    assign(client, [key for message, key in keys.items() if message not in ("kim's", "nobody's")], me)
    assign(client, keys["kim's"], kim)
    triage.resolve([keys["resolved"]], fixed_in=None, user=me, at=clock.now())
    triage.mute([keys["muted"]], until_ms=None, user=me, at=clock.now())
    triage.resolve([keys["still failing"]], fixed_in="typo", user=me, at=clock.now())
    make_event(**success(app_version="new"), received_at_ms=clock.now_ms() + 1)
    for number in range(3):
        at_ms = clock.now_ms() + 2 + number
        make_event(message="still failing", app_version="new", session_id=f"{number}", received_at_ms=at_ms)
    assert titles(client, status="mine") == {"open", "still failing"}
    assert titles(client, status="mine", q="open") == {"open"}
    # The page of a group keeps the list, and a decision about all of it concerns only these.
    page = client.get(f"{LIST}{keys['open']}/", {"status": "mine", "sort": "title"})
    assert (page.context["before_key"], page.context["after_key"]) == (None, keys["still failing"])
    chosen = client.get(DECIDE, {"action": "mute", "all": "1", "status": "mine"}).context["chosen"]
    assert {group.title for group in chosen} == {"open", "still failing"}
    exported = b"".join(client.get(f"{LIST}export/", {"status": "mine"}).streaming_content).decode()
    assert exported.count(f'"{me.get_username()}"') == 2
    client.force_login(kim)
    assert titles(client, status="mine") == {"kim's"}


def test_staff_can_be_assigned_but_assign_nobody(client: Client, key: str) -> None:
    user = sign_in(client, "Staff")
    assert "Assign…" not in text_of(client.get(f"{LIST}{key}/"))
    assert assign(client, key, user).status_code == 403
    triage.assign([key], person=user, user=user, at=clock.now())
    assert titles(client, status="mine") == {"No ACK"}


def test_the_confirmation_of_a_merge_tells_that_the_assignment_passes_on(
    client: Client, me: User, kim: User, key: str
) -> None:
    other = make_event(message="another").fingerprint or ""
    words = "It takes over the assignment to <bdi>kim</bdi>."
    confirmation = f"{LIST}{key}/merge/"
    assert words not in text_of(client.get(confirmation, {"into": other}))
    assign(client, key, kim)
    assert words in text_of(client.get(confirmation, {"into": other}))
    client.post(confirmation, {"into": other})
    assert titles(client, assigned="kim") == {"another"}


def test_a_hostile_name_is_text(client: Client, me: User, key: str) -> None:
    hostile = User.objects.create_superuser("<script>alert(1)</script>")
    assign(client, key, hostile)
    for path in (LIST, f"{LIST}{key}/", f"{DECIDE}?action=assign&id={key}"):
        text = client.get(path).content.decode()
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
