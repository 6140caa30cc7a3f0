"""What all lists of the admin share: columns from `list_display`, known parameters only, actions, no count."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.admin.changelist import KeysetChangeList
from events.grouping.fingerprints import ALGORITHM
from events.ingest import tokens
from events.models import AuditEntry, CounterBaseline, Event, FailureGroup, IngestToken, RecentFailure
from legacy.models import ClientLog
from tests.conftest import BANNER_QUERIES, VIEW_QUERIES, make_event, sign_in, text_of

pytestmark = pytest.mark.django_db
MODELS = [Event, RecentFailure, FailureGroup, AuditEntry, IngestToken, CounterBaseline, ClientLog]


def path_of(model: type[Any]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize(
    ("model", "name", "heading", "cell"),
    [
        (Event, "source", "Source", '<bdi class="cut">event</bdi>'),
        (RecentFailure, "source", "Source", '<bdi class="cut">event</bdi>'),
        (FailureGroup, "algorithm", "Algorithm", str(ALGORITHM)),
        (FailureGroup, "fixed_in", "Fixed in", '<span class="quiet wide-only">–</span>'),
        (FailureGroup, "last_seen_ms", "Last seen", "<time "),
    ],
)
def test_one_name_adds_a_column(
    root: Client, monkeypatch: pytest.MonkeyPatch, model: type[Any], name: str, heading: str, cell: str
) -> None:
    make_event()
    model_admin = admin.site._registry[model]
    monkeypatch.setattr(type(model_admin), "list_display", (*model_admin.list_display, name))
    text = text_of(root.get(path_of(model)))
    assert f'<th scope="col" class="field-{name}"> {heading} </th>' in text
    assert f'<td class="field-{name}">{cell}' in text
    assert model_admin.check() == []


def test_contributing_shows_the_line_that_adds_a_column(settings: Any) -> None:
    shown, code = (
        (settings.BASE_DIR / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "events/admin/events.py")
    )
    (diff,) = re.findall(r"^```diff\n(.*?)```", shown, re.MULTILINE | re.DOTALL)
    lines = diff.splitlines()
    assert [line for line in lines if line.startswith("+")] == ['+        "source",']
    assert "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+")) in code


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "name", ["event_type__exact", "o", "p", "e", "all", "_popup", "_facets", "_changelist_filters"]
)
def test_a_parameter_that_no_filter_knows_is_refused(root: Client, model: type[Any], name: str) -> None:
    make_event(message="not shown")
    answer = root.get(path_of(model), {name: "1"})
    assert answer.status_code == 400
    text = text_of(answer)
    assert f"<bdi>{name}</bdi></strong>: This list has no such filter." in text
    assert "not shown" not in text
    assert '<nav class="site-nav"' in text


@pytest.mark.parametrize("model", MODELS)
def test_every_list_is_a_keyset_change_list_and_counts_nothing(root: Client, model: type[Any]) -> None:
    make_event()
    with CaptureQueriesContext(connection) as queries:
        answer = root.get(path_of(model))
    assert isinstance(answer.context["cl"], KeysetChangeList)
    assert len(queries) <= 12 + BANNER_QUERIES + VIEW_QUERIES
    assert not [query["sql"] for query in queries if "COUNT(*) AS" in query["sql"]]


@pytest.mark.parametrize("action", ["resolve", "mute", "reopen"])
def test_an_action_of_the_change_list_asks_first(client: Client, action: str) -> None:
    sign_in(client, "Maintainers")
    group = make_event().fingerprint
    text = text_of(client.post(path_of(FailureGroup), {"action": action, "_selected_action": group}))
    assert "1 group" in text
    assert 'action="/admin/events/failuregroup/decide/" class="plain-form decide"' in text
    assert f'<input type="hidden" name="id" value="{group}">' in text
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("model", [Event, RecentFailure])
def test_an_action_of_the_change_list_exports_the_selected_rows(client: Client, model: type[Any]) -> None:
    sign_in(client, "Staff")
    make_event(message="left out")
    event = make_event(message="selected")
    answer: Any = client.post(path_of(model), {"action": "export_csv", "_selected_action": event.pk})
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert ["selected" in line for line in lines] == [False, True]
    assert AuditEntry.objects.get().what.startswith("Exported 1 selected rows of ")


def test_all_rows_are_exported_by_the_filters_and_never_by_an_action(root: Client) -> None:
    for number in range(60):
        make_event(message=f"failure {number}")
    answer: Any = root.post(path_of(Event), {"action": "export_csv", "_selected_action": "x", "select_across": "1"})
    assert len(b"".join(answer.streaming_content).splitlines()) == 51


def test_no_action_without_its_permission(client: Client) -> None:
    user = sign_in(client)
    user.user_permissions.add(Permission.objects.get(codename="view_event"))
    event = make_event()
    for model, action in ((Event, "export_csv"), (FailureGroup, "resolve")):
        answer = client.post(path_of(model), {"action": action, "_selected_action": event.fingerprint})
        assert 'name="id"' not in answer.content.decode()
    assert FailureGroup.objects.get().status == "open"
    assert not AuditEntry.objects.exists()


def test_the_history_of_a_group_and_of_a_token_is_the_audit_log(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    group = make_event().fingerprint
    client.post("/admin/events/failuregroup/decide/", {"action": "mute", "id": group})
    tokens.issue("web", who="olga", now=clock.now(), expires_at=None)
    tokens.issue("another", who="olga", now=clock.now(), expires_at=None)
    token = IngestToken.objects.get(name="web")
    tokens.revoke(token, who="robin", now=clock.now())
    for path, expected in (
        (f"{path_of(FailureGroup)}{group}/history/", [(user.username, "Muted for good.")]),
        (
            f"{path_of(IngestToken)}{token.pk}/history/",
            [("robin", "Revoked."), ("olga", "Issued for ingest, until it is revoked.")],
        ),
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert [(entry.who, entry.what) for entry in answer.context["entries"]] == expected
        assert all(what in answer.content.decode() for _, what in expected)


def test_a_long_history_of_a_group_has_a_page_of_its_own(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.admin.groups.HISTORY_SHOWN", 2)
    sign_in(client, "Maintainers")
    path = f"{path_of(FailureGroup)}{make_event().fingerprint}/"
    for number in range(3):
        assert (f'href="{path}history/"' in text_of(client.get(path))) is (number == 2)
        client.post(f"{path}note/", {"note": f"note {number}"})
    assert len(client.get(f"{path}history/").context["entries"]) == 3


@pytest.mark.parametrize(("codename", "statuses"), [("view_event", [200, 403]), ("view_recentfailure", [403, 200])])
def test_recent_failures_have_a_permission_of_their_own(client: Client, codename: str, statuses: list[int]) -> None:
    user = sign_in(client)
    user.user_permissions.add(Permission.objects.get(codename=codename))
    event = make_event()
    for model, status in zip((Event, RecentFailure), statuses, strict=True):
        assert client.get(path_of(model)).status_code == status
        assert client.get(f"{path_of(model)}{event.pk}/").status_code == status
        assert (f'href="{path_of(model)}"' in client.get("/admin/").content.decode()) is (status == 200)


def test_no_page_links_to_recent_failures_without_their_permission(client: Client) -> None:
    user = sign_in(client)
    user.user_permissions.add(*Permission.objects.filter(codename__in=("view_event", "export_event")))
    group = make_event(model="UV-5RM").fingerprint
    for path in ("/admin/", path_of(Event), f"{path_of(FailureGroup)}{group}/"):
        page = client.get(path).content.decode()
        assert "/event" in page
        assert "/recentfailure/" not in page
