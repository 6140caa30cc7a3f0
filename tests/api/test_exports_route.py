"""`GET /exports/NAME`: a stored export as a file, for scripts."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from events import clock
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.models import AuditEntry, NamedExport
from tests.conftest import make_event, sign_in

pytestmark = pytest.mark.django_db


def stored(name: str = "weekly", **changes: Any) -> NamedExport:
    values = {
        "list_key": "failures", "filters": "model=UV-17R", "columns": ["message", "model"], "format": "csv",
        "created_at_ms": 1, "created_by_name": "x",
    }  # fmt: skip
    return NamedExport.objects.create(name=name, **(values | changes))


@pytest.fixture
def script() -> Client:
    token = tokens.issue("nightly", who="x", now=clock.now(), expires_at=None, scopes=[Scope.READ])
    return Client(headers={"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("name", ["weekly", "Übersicht / Woche", "100 % ?&#"])
def test_a_token_downloads_the_rows_that_match(script: Client, name: str) -> None:
    stored(name)
    make_event(message="first", model="UV-17R")
    make_event(message="second")
    answer = script.get(f"/exports/{name.replace('%', '%25').replace('?', '%3F').replace('#', '%23')}")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert answer["Content-Disposition"] == f'attachment; filename="failures-all-{clock.today()}.csv"'
    assert answer["Cache-Control"] == "no-store"
    assert answer.getvalue().decode("utf-8-sig") == '"message","model"\r\n"first","UV-17R"\r\n'
    entry = AuditEntry.objects.get(kind="export")
    assert (entry.who, entry.what) == (
        "token nightly",
        f"Exported Recent failures: model=UV-17R (stored export {name})",
    )


def refused(answer: Any) -> tuple[int, dict[str, Any]]:
    return answer.status_code, answer.json()


def test_what_is_refused_has_the_shape_of_every_refusal(script: Client) -> None:
    stored("audit", list_key="audit", filters="", columns=["id"])
    stored("mine", list_key="groups", filters="status=mine", columns=["title"])
    stored("old", filters="f.gone=1")
    assert refused(script.get("/exports/nothing")) == (404, {"ok": False, "error": "No such export"})
    assert refused(script.get("/exports/%00")) == (404, {"ok": False, "error": "No such export"})
    assert refused(script.get("/exports/old?limit=1")) == (
        400,
        {"ok": False, "error": "Invalid parameters", "fields": {"limit": ["This route has no parameters."]}},
    )
    assert refused(script.get("/exports/audit")) == (
        403,
        {"ok": False, "error": "This export needs a permission that you do not have"},
    )
    status, body = refused(script.get("/exports/mine"))
    assert (status, body["fields"]["filters"][0][:18]) == (409, "The status “mine” ")
    status, body = refused(script.get("/exports/old"))
    assert (status, body["fields"]["filters"][0]) == (
        409,
        "The filter f.gone is no longer valid: FACETS has no such name.",
    )
    assert refused(Client().get("/exports/old"))[0] == 401
    assert not AuditEntry.objects.filter(kind="export").exists()


def test_a_column_that_no_longer_exists_is_named_in_a_header(script: Client) -> None:
    stored(columns=["facet_gone", "message"], filters="", format="ndjson")
    make_event(message="first")
    answer = script.get("/exports/weekly")
    assert answer["X-Export-Empty-Columns"] == "facet_gone"
    assert answer.getvalue() == b'{"facet_gone":null,"message":"first"}\n'


@pytest.mark.parametrize(("codenames", "status"), [(["view_event"], 403), (["view_event", "export_event"], 403),
                         (["view_event", "export_event", "view_recentfailure"], 200)])  # fmt: skip
def test_a_person_needs_the_permissions_of_the_page(client: Client, codenames: list[str], status: int) -> None:
    stored()
    user: User = sign_in(client)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert client.get("/exports/weekly").status_code == status


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_link_on_another_site_exports_nothing(client: Client, script: Client, site: str, status: int) -> None:
    stored()
    sign_in(client, "Staff")
    assert client.get("/exports/weekly", headers={"sec-fetch-site": site}).status_code == status
    assert AuditEntry.objects.filter(kind="export").exists() is (status == 200)
    assert script.get("/exports/weekly", headers={"sec-fetch-site": site}).status_code == 200
