"""The issue about a failure group in a tracker: its address, and a short label such as `owner/name#12`.

`link` is the only writer of the column. `groups` copies it with merges.
"""

import re
from datetime import datetime
from urllib.parse import urlsplit

from django.db import transaction

from events import audit
from events.grouping import advice, groups
from events.grouping.triage import ABOUT_CHARACTERS, Author
from events.models import AuditKind, FailureGroup

MAX_URL = 500
LINKED, UNLINKED = "Linked the issue ", "Removed the link to the issue "
MAX_LABEL = 60

# The paths of issues. GitHub, Gitea, Forgejo and Codeberg have the same form; a Jira site can have a prefix.
_NAME = r"[\w.-]{1,100}"
_GITLAB = re.compile(
    rf"/(?P<project>{_NAME}(?:/{_NAME}){{1,9}})/-/(?P<kind>issues|work_items|merge_requests)/(?P<number>\d{{1,12}})/?"
)
_GITHUB = re.compile(rf"/(?P<project>{_NAME}/{_NAME})/(?:issues|pulls?)/(?P<number>\d{{1,12}})/?")
_JIRA = re.compile(r"(?:/\w{1,40})?/browse/(?P<key>[A-Z][A-Z0-9_]{1,20}-\d{1,9})/?")


class CannotLink(Exception):
    """The group cannot have this issue; the message says why. Nothing was changed."""


def fault_of_url(url: str) -> str | None:
    """Return why an address cannot be that of an issue, None if it can."""
    if len(url) > MAX_URL:
        return f"Use at most {MAX_URL:,} characters (now {len(url):,})."
    if not url.startswith("https://"):
        return "The address must begin with https://."
    if not advice.is_complete_url(url):
        return (
            "This is not a complete address with a host, without a user name, spaces and letters of other scripts."
            " Copy it from the address bar of a browser."
        )
    return None


def label_of(url: str, longest: int = MAX_LABEL) -> str:
    """Return a short name of an issue: `owner/name#12`, `PROJECT-12`, or the host of a tracker of another form.

    A name with more than `longest` characters is cut at its start.
    """
    parts = urlsplit(url)
    if match := _GITLAB.fullmatch(parts.path):
        label = f"{match['project']}{'!' if match['kind'] == 'merge_requests' else '#'}{match['number']}"
    elif match := _GITHUB.fullmatch(parts.path):
        label = f"{match['project']}#{match['number']}"
    elif match := _JIRA.fullmatch(parts.path):
        label = match["key"]
    else:
        label = parts.hostname or url
    return label if len(label) <= longest else f"…{label[1 - longest :]}"


def link(fingerprint: str, url: str | None, *, replaces: str | None, user: Author, at: datetime) -> bool:
    """Store the address of the issue about a group, or remove it with None; return whether that changed anything.

    `replaces` is the address that the user saw. Raises CannotLink, also if the group has another one by now.
    """
    if url is not None and (fault := fault_of_url(url)):
        raise CannotLink(fault)
    with transaction.atomic():
        for group in groups.lock([fingerprint]):
            if group.issue_url == url:
                return False
            if group.issue_url != replaces:
                raise CannotLink("Somebody else has changed the issue meanwhile. Look at it first.")
            FailureGroup.objects.filter(pk=group.pk).update(issue_url=url)
            words = f"{LINKED}{url}" if url else f"{UNLINKED}{group.issue_url}"
            about = str(group)[:ABOUT_CHARACTERS]
            audit.note(AuditKind.TRIAGE, words, who=user.get_username(), at=at, about=about, subject=group.pk)
            return True
    raise CannotLink("This group no longer exists. Somebody may have merged it.")
