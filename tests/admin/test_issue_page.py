"""The issue about a failure group: its page, the links on other pages, and who may change it."""

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events import clock
from events.grouping import issues, triage
from events.models import AuditEntry, Event, FailureGroup
from tests.conftest import make_event, sign_in

pytestmark = pytest.mark.django_db
LIST = "/admin/events/failuregroup/"
URL = "https://github.com/owner/name/issues/12"
LINK = f'<a href="{URL}" title="{URL}" rel="noopener noreferrer"><bdi class="cut">owner/name#12</bdi></a>'


@pytest.fixture
def me(client: Client) -> User:
    return sign_in(client, "Maintainers")


@pytest.fixture
def key() -> str:
    return make_event(message="No ACK").fingerprint or ""


def text_of(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def test_an_issue_is_linked_changed_and_removed(client: Client, me: User, key: str) -> None:
    page = f"{LIST}{key}/"
    assert "No issue is linked." in text_of(client.get(page))
    answer = client.post(f"{page}issue/", {"issue_url": f" HTTPS{URL[5:]} ", "replaces": "", "back": "span=7"})
    assert answer["Location"] == page
    text = text_of(client.get(page))
    assert f"Issue {LINK}" in text
    assert text.count(LINK) == 2
    assert "The issue is linked." in text
    assert f'Linked the issue <a href="{URL}" rel="noopener noreferrer">{URL}</a>' in text  # in the history
    assert f'<span class="issue">{LINK}</span>' in text_of(client.get(LIST))
    client.post(f"{page}issue/", {"issue_url": "", "replaces": URL})
    assert FailureGroup.objects.get().issue_url is None
    assert "The link to the issue is removed." in text_of(client.get(page))


@pytest.mark.parametrize(
    "url", ["http://github.com/", "javascript:alert(1)", "https://a:b@github.com/", "https://" + "x" * 500]
)
def test_another_address_is_refused_and_stays_in_the_form(client: Client, me: User, key: str, url: str) -> None:
    answer = client.post(f"{LIST}{key}/issue/", {"issue_url": url, "replaces": ""})
    assert answer.status_code == 400
    assert f'value="{url}"' in text_of(answer)
    assert 'class="error"' in text_of(answer)
    assert FailureGroup.objects.get().issue_url is None


def test_a_link_that_a_colleague_has_changed_stays(client: Client, me: User, key: str) -> None:
    issues.link(key, URL, replaces=None, user=me, at=clock.now())
    client.post(f"{LIST}{key}/issue/", {"issue_url": "https://github.com/owner/name/issues/13", "replaces": ""})
    assert FailureGroup.objects.get().issue_url == URL
    assert "Nothing was changed. Somebody else has changed the issue" in text_of(client.get(f"{LIST}{key}/"))


def test_staff_see_the_issue_and_may_not_change_it(client: Client, key: str) -> None:
    user = sign_in(client, "Staff")
    issues.link(key, URL, replaces=None, user=user, at=clock.now())
    text = text_of(client.get(f"{LIST}{key}/"))
    assert LINK in text
    assert "Change or remove the link" not in text
    assert client.get(f"{LIST}{key}/issue/").status_code == 403
    assert client.post(f"{LIST}{key}/issue/", {"issue_url": "", "replaces": URL}).status_code == 403
    assert FailureGroup.objects.get().issue_url == URL


@pytest.mark.parametrize("role", ["Maintainers", "Staff"])
def test_a_note_is_shown_with_its_links(client: Client, key: str, role: str) -> None:
    user = sign_in(client, role)
    triage.annotate(key, f"Fixed by {URL}.", user=user, at=clock.now())
    link = f'<a href="{URL}" rel="noopener noreferrer">{URL}</a>'
    text = text_of(client.get(f"{LIST}{key}/"))
    assert f'<p class="note"><bdi>Fixed by {link}.</bdi></p>' in text
    assert f"Noted: Fixed by {link}." in text
    assert ("Change the note" in text) is (role == "Maintainers")


def test_the_audit_log_has_links(client: Client, key: str) -> None:
    user = sign_in(client, "Maintainers")
    user.is_superuser = True
    user.save()
    triage.annotate(key, f"Fixed by {URL}.", user=user, at=clock.now())
    assert f'Noted: Fixed by <a href="{URL}" rel="noopener noreferrer">' in text_of(
        client.get("/admin/events/auditentry/")
    )
    assert AuditEntry.objects.count() == 1


def test_a_merge_says_that_the_issue_passes(client: Client, me: User, key: str) -> None:
    other = make_event(message="another").fingerprint
    issues.link(key, URL, replaces=None, user=me, at=clock.now())
    text = text_of(client.get(f"{LIST}{key}/merge/", {"into": other}))
    assert f"The second group has no issue. It takes over {LINK}." in text
    assert "has no issue" not in text_of(client.get(f"{LIST}{other}/merge/", {"into": key}))


def test_a_group_can_be_copied_and_filed(client: Client, key: str, settings: Any) -> None:
    sign_in(client, "Staff")
    settings.SITE_URL = "https://telemetry.example"
    page = f"{LIST}{key}/"
    answer = client.get(page)
    assert answer.context["group_markdown"].startswith("### `No ACK`")
    assert f"- Telemetry: <https://telemetry.example{page}>" in answer.context["group_markdown"]
    text = text_of(answer)
    assert '<textarea class="terminal" id="group-markdown" readonly' in text
    assert 'data-copy="group-markdown" hidden>Copy as Markdown</button>' in text
    assert "New issue <span" not in text
    assert "set <code>ISSUE_URL</code> to the form of your tracker" in text
    settings.ISSUE_URL = "https://tracker.example/new?title={title}&body={body}"
    text = text_of(client.get(page))
    assert 'href="https://tracker.example/new?title=No%20ACK&body=%23%23%23%20' in text
    assert 'target="_blank" rel="noopener noreferrer" title="Opens tracker.example in a new tab">New issue' in text
    assert "ISSUE_URL" not in text


def test_a_group_without_stored_failures_can_be_copied(client: Client, key: str) -> None:
    sign_in(client, "Staff")
    Event.objects.all().delete()
    answer = client.get(f"{LIST}{key}/")
    assert answer.status_code == 200
    assert "Example" not in answer.context["group_markdown"]
