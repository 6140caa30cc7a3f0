"""The audit log: every deed with who, when and why; to read for those with the right, to change for nobody."""

import io
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import audit, clock
from events.admin import events
from events.models import AuditEntry, AuditKind, FailureGroup, IngestToken
from tests.conftest import make_event, sign_in, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/events/auditentry/"


def shown(client: Client, **query: str) -> list[str]:
    page = client.get(PATH, query).context["page"]
    return [entry.what for entry in page.entries]


@pytest.mark.parametrize(("role", "status"), [(None, 403), ("Staff", 403), ("Maintainers", 200)])
def test_who_may_read_it(client: Client, role: str | None, status: int) -> None:
    sign_in(client, role)
    assert client.get(PATH).status_code == status
    assert (PATH in client.get("/admin/").content.decode()) == (status == 200)


def test_every_action_is_listed_newest_first(client: Client) -> None:
    olga = User.objects.create_superuser("olga")
    client.force_login(olga)
    group = make_event().fingerprint
    client.get("/admin/events/event/export/")
    client.post("/admin/events/failuregroup/decide/", {"action": "mute", "id": group})
    client.post(f"/admin/events/failuregroup/{group}/note/", {"note": "see the wiki"})
    call_command("issue_token", "web", "--expires", "never", stdout=io.StringIO(), stderr=io.StringIO())
    client.post(f"/admin/events/ingesttoken/{IngestToken.objects.get().pk}/revoke/")
    client.post("/admin/events/counterbaseline/", {"value": "412", "note": "the old counter", "confirmed": "1"})
    call_command("legacy_mode", "separate", "--reason", "phase 1", stdout=io.StringIO())
    entries = client.get(PATH).context["page"].entries
    logged = [(entry.kind, entry.what, entry.about, entry.why) for entry in entries]
    title = FailureGroup.objects.get().title
    assert logged == [
        ("mode", "Switched the old routes from alias to separate.", "", "phase 1"),
        ("baseline", "Set the baseline to 412.", "", "the old counter"),
        ("token", "Revoked.", "web", ""),
        ("token", "Issued for ingest, until it is revoked.", "web", ""),
        ("triage", "Noted: see the wiki", title, ""),
        ("triage", "Muted for good.", title, ""),
        ("export", "Exported Events: everything", "", ""),
    ]
    assert {entry.who for entry in entries if entry.kind in ("triage", "baseline", "export")} == {"olga"}
    assert f'href="/admin/events/failuregroup/{group}/"' in client.get(PATH).content.decode()


def test_every_text_of_an_entry_is_bounded() -> None:
    text = "x" * 60_000
    audit.note(AuditKind.MODE, text, who=text, at=clock.now(), why=text, about=text, subject=text)
    entry = AuditEntry.objects.get()
    kept = f"{'x' * (audit.MAX_CHARACTERS - 1)}…"
    assert [entry.what, entry.who, entry.why, entry.about, entry.subject] == [kept] * 5


@pytest.mark.parametrize("message", ["m" * 500, "No ACK\r\nGET /\x1b[2J", "<script>"])
def test_what_a_stranger_wrote_is_bounded_and_on_one_line_in_a_decision(client: Client, message: str) -> None:
    client.force_login(User.objects.create_superuser("olga"))
    group = make_event(message=message).fingerprint
    client.post("/admin/events/failuregroup/decide/", {"action": "mute", "id": group})
    entry = AuditEntry.objects.get()
    assert entry.what == "Muted for good."
    assert entry.about == FailureGroup.objects.get().title[:200]
    assert "\n" not in entry.about


def test_an_entry_survives_the_deletion_of_its_user(client: Client) -> None:
    sign_in(client, "Maintainers")
    client.get("/admin/events/event/export/")
    User.objects.all().delete()
    client.force_login(User.objects.create_superuser("root"))
    assert "someone-Maintainers" in text_of(client.get(PATH))


def test_filters_by_kind_and_person_combine(client: Client) -> None:
    for kind, who in [("token", "olga"), ("token", "robin"), ("export", "olga")]:
        audit.note(AuditKind(kind), f"{kind} {who}", who=who, at=clock.now())
    sign_in(client, "Maintainers")
    assert shown(client, kind="token") == ["token robin", "token olga"]
    assert shown(client, who="olga") == ["export olga", "token olga"]
    assert shown(client, kind="token", who="olga") == ["token olga"]
    assert "No entry matches these filters" in text_of(client.get(PATH, {"who": "nobody"}))


@pytest.mark.parametrize("query", [{"kind": "nonsense"}, {"cursor": "x"}, {"cursor": "1." + "9" * 30}, {"who": "a\0b"}])
def test_an_unknown_filter_is_refused(client: Client, query: dict[str, str]) -> None:
    sign_in(client, "Maintainers")
    answer = client.get(PATH, query)
    assert answer.status_code == 400
    assert "These filters are invalid" in text_of(answer)


def test_pages_are_bounded_and_lose_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events.AuditEntryAdmin, "list_per_page", 2)
    now = clock.now()
    for number in range(5):
        audit.note(AuditKind.TOKEN, f"{number}", who="olga", at=now)  # within one millisecond
    sign_in(client, "Maintainers")
    seen: list[str] = []
    query: dict[str, str] = {}
    while True:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = client.get(PATH, query)
        assert not [one for one in queries if "COUNT(" in one["sql"]]
        page = answer.context["page"]
        seen += [entry.what for entry in page.entries]
        if page.older is None:
            break
        query = {"cursor": str(page.older)}
    assert seen == ["4", "3", "2", "1", "0"]
    assert "There are no older entries" in text_of(client.get(PATH, {"cursor": "0.1"}))


def test_an_empty_log_says_what_will_be_listed(client: Client) -> None:
    sign_in(client, "Maintainers")
    assert "No entry yet" in text_of(client.get(PATH))


@pytest.mark.parametrize("path", ["add/", "{id}/", "{id}/change/", "{id}/delete/", "{id}/history/"])
def test_nobody_adds_changes_or_deletes_an_entry(client: Client, path: str) -> None:
    client.force_login(User.objects.create_superuser("root"))
    audit.note(AuditKind.TOKEN, "Revoked.", who="olga", at=clock.now())
    entry = AuditEntry.objects.get()
    for answer in (client.get(PATH + path.format(id=entry.pk)), client.post(PATH + path.format(id=entry.pk))):
        assert answer.status_code == 404
    client.post(PATH, {"action": "delete_selected", "_selected_action": [str(entry.pk)], "post": "yes"})
    assert list(AuditEntry.objects.values()) == [vars_of(entry)]


def vars_of(entry: AuditEntry) -> dict[str, Any]:
    return {field.attname: getattr(entry, field.attname) for field in AuditEntry._meta.fields}


def test_what_people_write_is_shown_as_text(client: Client) -> None:
    audit.note(AuditKind.MODE, "<b>x</b>", who="<i>o</i>", at=clock.now(), why="<script>1</script>", about="<u>t</u>")
    sign_in(client, "Maintainers")
    text = client.get(PATH).content.decode()
    for words in ("<b>x</b>", "<i>o</i>", "<script>1", "<u>t</u>"):
        assert words not in text
