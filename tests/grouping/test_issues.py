"""Issues of failure groups: which addresses may be stored, their short names, and changes that meet."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from events.grouping import groups, issues, merges
from events.grouping.fingerprints import ALGORITHM, Fingerprint
from events.grouping.issues import CannotLink
from events.maintenance import regrouping
from events.models import AuditEntry, Event, FailureGroup
from tests.conftest import make_event

pytestmark = pytest.mark.django_db

AT = datetime(2026, 2, 13, tzinfo=UTC)
URL = "https://github.com/owner/name/issues/12"


@pytest.fixture
def olga() -> User:
    return User.objects.create_user("olga")


@pytest.fixture
def key() -> str:
    return make_event(message="No ACK").fingerprint or ""


@pytest.mark.parametrize(
    ("url", "label"),
    [
        (URL, "owner/name#12"),
        ("https://github.com/owner/name/issues/12#issuecomment-4", "owner/name#12"),
        ("https://github.com/owner/name/pull/7", "owner/name#7"),
        ("https://codeberg.org/owner/name/issues/3", "owner/name#3"),
        ("https://git.example:8443/owner/name/pulls/3", "owner/name#3"),
        ("https://gitlab.com/group/sub/name/-/issues/5", "group/sub/name#5"),
        ("https://gitlab.example/group/name/-/work_items/5", "group/name#5"),
        ("https://gitlab.com/group/name/-/merge_requests/5", "group/name!5"),
        ("https://example.atlassian.net/browse/RADIO-41", "RADIO-41"),
        ("https://tracker.example/jira/browse/RADIO-41", "RADIO-41"),
        ("https://tracker.example/issues/new", "tracker.example"),
        ("https://github.com/owner/name", "github.com"),
        ("https://github.com/owner/name/issues/x", "github.com"),
        (f"https://git.example/{'o' * 50}/{'n' * 50}/issues/1", f"…{'o' * 6}/{'n' * 50}#1"),
    ],
)
def test_an_address_has_a_short_name(url: str, label: str) -> None:
    assert issues.fault_of_url(url) is None
    assert issues.label_of(url) == label


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://github.com/owner/name/issues/12",
        "javascript:alert(1)//https://github.com/",
        "https://",
        "https://user:password@github.com/owner/name/issues/12",
        "https://github.com@evil.example/",
        "https://github.com\\@evil.example/",
        "https://gíthub.com/owner/name/issues/12",
        "https://github.com/owner/\u202eeman/issues/12",
        "https://github.com/a b",
        "https://github.com/<b>",
        "https://github.com/a\nb",
        "https://github.com:99999/",
        f"https://github.com/{'x' * 500}",
    ],
)
def test_an_address_that_misleads_or_is_none_is_refused(url: str, key: str, olga: User) -> None:
    with pytest.raises(CannotLink):
        issues.link(key, url, replaces=None, user=olga, at=AT)
    assert FailureGroup.objects.get().issue_url is None
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("url", ["http://github.com/", "", f"https://github.com/{'x' * 490}"])
def test_the_database_refuses_it_too(url: str, key: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        FailureGroup.objects.filter(pk=key).update(issue_url=url)


def test_every_change_is_in_the_audit_log_once(key: str, olga: User) -> None:
    other = "https://codeberg.org/owner/name/issues/3"
    assert issues.link(key, URL, replaces=None, user=olga, at=AT)
    assert not issues.link(key, URL, replaces=None, user=olga, at=AT), "it is the same issue"
    assert issues.link(key, other, replaces=URL, user=olga, at=AT)
    assert issues.link(key, None, replaces=other, user=olga, at=AT)
    assert not issues.link(key, None, replaces=other, user=olga, at=AT)
    assert list(AuditEntry.objects.order_by("pk").values_list("who", "subject", "what")) == [
        ("olga", key, f"Linked the issue {URL}"),
        ("olga", key, f"Linked the issue {other}"),
        ("olga", key, f"Removed the link to the issue {other}"),
    ]


def test_two_people_do_not_overwrite_each_other(key: str, olga: User) -> None:
    issues.link(key, URL, replaces=None, user=olga, at=AT)
    for url in ("https://github.com/owner/name/issues/13", None):
        with pytest.raises(CannotLink, match="Somebody else"):
            issues.link(key, url, replaces=None if url else "https://github.com/another/", user=olga, at=AT)
    assert FailureGroup.objects.get().issue_url == URL


def test_a_group_that_is_gone_cannot_have_an_issue(key: str, olga: User) -> None:
    other = make_event(message="another").fingerprint or ""
    merges.merge(key, other, user=olga, at=AT)
    with pytest.raises(CannotLink, match="no longer exists"):
        issues.link(key, URL, replaces=None, user=olga, at=AT)


def test_an_issue_follows_the_failures_to_the_group_of_a_new_algorithm(key: str, olga: User) -> None:
    event = Event.objects.get()
    groups.join([(event, Fingerprint("old", "No ACK", ""))])
    groups.subtract([(event, key)])
    Event.objects.update(fingerprint="old")
    FailureGroup.objects.update(algorithm=ALGORITHM - 1)
    issues.link("old", URL, replaces=None, user=olga, at=AT)
    list(regrouping.regroup(regrouping.survey()))
    assert list(FailureGroup.objects.values_list("pk", "issue_url")) == [(key, URL)]
