"""Who may open which page and do what: every role against every route. A new route without a row here fails."""

import hmac
from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client, override_settings
from django.urls import URLResolver

from events import clock
from events.admin.saved_views import store as saved_views
from events.alerts.channels import roster
from events.counting import corrections
from events.counting.buckets import HOUR_MS
from events.counting.corrections import Selection
from events.grouping import advice, merges
from events.ingest import tokens
from events.models import Alert, AlertDelivery, DeliveryState, Event, IngestToken, NamedExport
from events.sourcemaps import store
from events.sourcemaps.intake import CheckedMap
from events.sourcemaps.store import Key
from legacy.cutover import parity
from legacy.models import ParityRun
from telemetry_site.public_urls import urlpatterns as public_urlpatterns
from telemetry_site.urls import urlpatterns
from tests.conftest import make_event, rolled_back, success

pytestmark = pytest.mark.django_db

ROLES = ("anonymous", "visitor", "newcomer", "Staff", "Maintainers", "superuser")
PASSWORD = "correct horse battery"
VOID_MS = 1_770_915_600_000  # 2026-02-12 17:00 UTC
# What looking may write: who is signed in, that somebody exported, that the database takes writes.
# The overview records the size of the database and the proxy headers of a day.
WRITTEN_BY_READING = {"session", "logentry", "readinessprobe", "auditentry", "siteday", "visit"}

# Who may, as the first role of a growing line; a visitor is signed in and no staff.
ANYONE, STAFF_PERSON, STAFF, MAINTAINERS, SUPERUSER, NOBODY = (
    "anonymous",
    "newcomer",
    "Staff",
    "Maintainers",
    "superuser",
    "",
)


class Access(NamedTuple):
    """A route: who may GET it, what a POST to it says, and who may change something by that."""

    path: str
    see: str
    act: str = NOBODY
    form: dict[str, str] = {}
    seen: int = 200
    is_json: bool = False

    def post(self, client: Client, things: dict[str, Any]) -> Any:
        path = self.path.partition("?")[0].format_map(things)
        form = {field: value.format_map(things) for field, value in self.form.items()}
        return client.post(path, form, content_type="application/json") if self.is_json else client.post(path, form)


USER = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
CHANGED_USER = {"username": "renamed", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
ROWS = {
    "home": Access("/", ANYONE, seen=302),
    "metrics-summary": Access("/metrics/summary", STAFF),
    "metrics-timeseries": Access("/metrics/timeseries", STAFF),
    "monitoring-prometheus": Access("/metrics/prometheus", NOBODY),  # for tokens alone
    "failures": Access("/failures", STAFF),
    "groups": Access("/groups", STAFF),
    "group": Access("/groups/{group}", STAFF),
    "group-decision": Access(
        "/groups/{group}/decision", NOBODY, MAINTAINERS, {"status": "muted"}, is_json=True
    ),  # only a POST
    "releases": Access("/releases", STAFF),
    "release": Access("/releases/19afc18", STAFF),
    "export": Access("/exports/weekly", STAFF),
    "source-maps": Access("/sourcemaps/19afc18", STAFF),
    "source-map": Access("/sourcemaps/19afc18/index.js", NOBODY),  # for tokens alone
    "api-schema": Access("/api/schema/", ANYONE),
    "api": Access("/api/", ANYONE),
    "demo": Access("/demo/", NOBODY),  # there with DEMO=1 alone
    "admin:index": Access("/admin/", STAFF_PERSON),
    "admin:about": Access("/admin/about/", STAFF),
    "admin:app_list": Access("/admin/events/", STAFF),
    "admin:saved_views": Access("/admin/views/", STAFF_PERSON),
    "admin:saved_view": Access("/admin/views/{view}/", STAFF, seen=302),
    "admin:saved_view_save": Access(
        "/admin/views/save/?list=events_event", STAFF, STAFF, {"list": "events_event", "name": "mine", "query": ""}
    ),
    "admin:saved_view_update": Access(
        "/admin/views/{view}/update/", MAINTAINERS, MAINTAINERS, {"query": "type=flash_error"}, seen=405
    ),
    "admin:saved_view_rename": Access("/admin/views/{view}/rename/", MAINTAINERS, MAINTAINERS, {"name": "renamed"}),
    "admin:saved_view_delete": Access("/admin/views/{view}/delete/", MAINTAINERS, MAINTAINERS),
    "admin:login": Access("/admin/login/", ANYONE),
    "admin:logout": Access("/admin/logout/", NOBODY),
    "admin:password_change": Access(
        "/admin/password_change/",
        STAFF_PERSON,
        STAFF_PERSON,
        {"old_password": PASSWORD, "new_password1": PASSWORD + "!", "new_password2": PASSWORD + "!"},
    ),
    "admin:password_change_done": Access("/admin/password_change/done/", STAFF_PERSON),
    "admin:autocomplete": Access("/admin/autocomplete/", NOBODY),
    "admin:jsi18n": Access("/admin/jsi18n/", STAFF_PERSON),
    "admin:view_on_site": Access("/admin/r/1/1/", NOBODY),
    "admin:events_failuregroup_changelist": Access("/admin/events/failuregroup/", STAFF),
    "admin:events_failuregroup_decide": Access(
        "/admin/events/failuregroup/decide/?action=mute&id={group}",
        MAINTAINERS,
        MAINTAINERS,
        {"action": "mute", "id": "{group}"},
    ),
    "admin:events_failuregroup_export": Access("/admin/events/failuregroup/export/", STAFF),
    "admin:events_failuregroup_export_xlsx": Access("/admin/events/failuregroup/export.xlsx/", STAFF),
    "admin:events_failuregroup_note": Access(
        "/admin/events/failuregroup/{group}/note/", MAINTAINERS, MAINTAINERS, {"note": "seen"}, seen=302
    ),
    "admin:events_failuregroup_issue": Access(
        "/admin/events/failuregroup/{group}/issue/",
        MAINTAINERS,
        MAINTAINERS,
        {"issue_url": "https://github.com/owner/name/issues/12", "replaces": ""},
    ),
    "admin:events_failuregroup_history": Access("/admin/events/failuregroup/{group}/history/", STAFF),
    "admin:events_failuregroup_change": Access("/admin/events/failuregroup/{group}/", STAFF),
    "admin:events_failuregroup_advice": Access(
        "/admin/events/failuregroup/{group}/advice/", MAINTAINERS, MAINTAINERS, {"step": "remove"}
    ),
    "admin:events_failuregroup_merge": Access(
        "/admin/events/failuregroup/{group}/merge/", MAINTAINERS, MAINTAINERS, {"into": "{other}"}
    ),
    # This group has one place. tests/admin/test_place_pages.py splits another one.
    "admin:events_failuregroup_split_place": Access(
        "/admin/events/failuregroup/{group}/split-place/", MAINTAINERS, seen=302
    ),
    "admin:events_failuregroup_dismiss_merge": Access(
        "/admin/events/failuregroup/{group}/dismiss-merge/", MAINTAINERS, MAINTAINERS, {"other": "{other}"}, seen=302
    ),
    "admin:events_failuregroup_split": Access(
        "/admin/events/failuregroup/{former}/split/", MAINTAINERS, MAINTAINERS, {"sent": "yes"}
    ),
    "admin:events_event_changelist": Access("/admin/events/event/", STAFF),
    "admin:events_event_export": Access("/admin/events/event/export/", STAFF),
    "admin:events_event_export_xlsx": Access("/admin/events/event/export.xlsx/", STAFF),
    "admin:events_event_change": Access("/admin/events/event/{event}/", STAFF),
    "admin:events_recentfailure_changelist": Access("/admin/events/recentfailure/", STAFF),
    "admin:events_recentfailure_export": Access("/admin/events/recentfailure/export/", STAFF),
    "admin:events_recentfailure_export_xlsx": Access("/admin/events/recentfailure/export.xlsx/", STAFF),
    "admin:events_recentfailure_change": Access("/admin/events/recentfailure/{event}/", STAFF),
    "admin:events_counterbaseline_changelist": Access("/admin/events/counterbaseline/", STAFF),
    "admin:events_counterbaseline_add": Access(
        "/admin/events/counterbaseline/add/",
        STAFF,
        MAINTAINERS,
        {"value": "7", "note": "from before", "confirmed": "1"},
    ),
    "admin:events_counterbaseline_badge": Access("/admin/events/counterbaseline/badge/", STAFF),
    "admin:events_correction_changelist": Access(
        "/admin/events/correction/",
        STAFF,
        MAINTAINERS,
        {
            "since": "2026-02-12T18:00:00Z",
            "until": "2026-02-12T19:00:00Z",
            "reason": "forged",
            "previewed": "1",
            "confirmed": "1",
        },
    ),
    "admin:events_correction_undo": Access(
        "/admin/events/correction/{correction}/undo/", MAINTAINERS, MAINTAINERS, {"reason": "they were real"}
    ),
    "admin:events_alertchannel_changelist": Access("/admin/events/alertchannel/", STAFF),
    "admin:events_alertchannel_add": Access(
        "/admin/events/alertchannel/add/",
        MAINTAINERS,
        MAINTAINERS,
        {"name": "new", "url": "mailto:new@example.org", "kinds": "job"},
    ),
    "admin:events_alertchannel_change": Access(
        "/admin/events/alertchannel/{channel}/change/", MAINTAINERS, MAINTAINERS, {"action": "off"}
    ),
    "admin:events_alertchannel_delete": Access(
        "/admin/events/alertchannel/{channel}/delete/", MAINTAINERS, MAINTAINERS, {"sent": "yes"}
    ),
    "admin:events_alertchannel_history": Access("/admin/events/alertchannel/{channel}/history/", STAFF),
    "admin:events_alertchannel_mine": Access("/admin/events/alertchannel/mine/", STAFF, STAFF, {"choice": "all"}),
    "admin:events_alert_changelist": Access("/admin/events/alert/", STAFF),
    "admin:events_alert_preview": Access("/admin/events/alert/preview/", STAFF),
    "admin:events_alert_retry": Access(
        "/admin/events/alert/retry/", MAINTAINERS, MAINTAINERS, {"delivery": "{delivery}"}, seen=405
    ),
    "admin:events_backup_changelist": Access("/admin/events/backup/", STAFF),
    "admin:events_jobstate_changelist": Access("/admin/events/jobstate/", STAFF),
    "admin:events_jobstate_run": Access(
        "/admin/events/jobstate/run/", MAINTAINERS, MAINTAINERS, {"job": "counts"}, seen=405
    ),
    "admin:events_release_changelist": Access("/admin/events/release/", STAFF),
    "admin:events_release_change": Access("/admin/events/release/19afc18/", STAFF),
    "admin:events_retentionmark_changelist": Access("/admin/events/retentionmark/", STAFF),
    "admin:events_sourcemap_changelist": Access("/admin/events/sourcemap/", STAFF),
    "admin:events_sourcemap_delete": Access(
        "/admin/events/sourcemap/delete/?version=19afc18", MAINTAINERS, MAINTAINERS, {"version": "19afc18"}
    ),
    "admin:events_namedexport_changelist": Access("/admin/events/namedexport/", STAFF),
    "admin:events_namedexport_of": Access(
        "/admin/events/namedexport/of/failures/", STAFF, MAINTAINERS,
        {"x.column": "id", "x.action": "store", "x.name": "mine"},
    ),
    "admin:events_namedexport_progress": Access(
        "/admin/events/namedexport/progress/0123456789abcdef/", STAFF, seen=404
    ),
    "admin:events_namedexport_export": Access("/admin/events/namedexport/{export}/download/", STAFF),
    "admin:events_namedexport_change": Access(
        "/admin/events/namedexport/{export}/change/", MAINTAINERS, MAINTAINERS, {"name": "other"}
    ),
    "admin:events_namedexport_delete": Access(
        "/admin/events/namedexport/{export}/delete/", MAINTAINERS, MAINTAINERS, {"post": "yes"}
    ),
    "admin:events_namedexport_history": Access("/admin/events/namedexport/{export}/history/", STAFF),
    "admin:events_ingesttoken_changelist": Access("/admin/events/ingesttoken/", MAINTAINERS),
    "admin:events_ingesttoken_add": Access(
        "/admin/events/ingesttoken/add/",
        MAINTAINERS,
        MAINTAINERS,
        {"name": "new", "scopes": "ingest", "lifetime": "90"},
    ),
    "admin:events_ingesttoken_change": Access("/admin/events/ingesttoken/{token}/revoke/", MAINTAINERS, MAINTAINERS),
    "admin:events_ingesttoken_history": Access("/admin/events/ingesttoken/{token}/history/", MAINTAINERS),
    "admin:events_auditentry_changelist": Access("/admin/events/auditentry/", MAINTAINERS),
    "admin:legacy_cutover_changelist": Access(
        "/admin/legacy/cutover/", STAFF, MAINTAINERS, {"mode": "separate", "reason": "to see", "confirmed": "1"}
    ),
    "admin:legacy_parityrun_changelist": Access("/admin/legacy/parityrun/", STAFF),
    "admin:legacy_parityrun_check": Access("/admin/legacy/parityrun/check/", STAFF, STAFF, seen=302),
    "admin:legacy_parityrun_change": Access("/admin/legacy/parityrun/{run}/", STAFF),
    "admin:legacy_importrun_changelist": Access("/admin/legacy/importrun/", STAFF),
    "admin:legacy_clientlog_changelist": Access("/admin/legacy/clientlog/", STAFF),
    "admin:legacy_clientlog_export": Access("/admin/legacy/clientlog/export/", STAFF),
    "admin:legacy_clientlog_export_xlsx": Access("/admin/legacy/clientlog/export.xlsx/", STAFF),
    "admin:auth_group_changelist": Access("/admin/auth/group/", SUPERUSER),
    "admin:auth_group_add": Access("/admin/auth/group/add/", SUPERUSER, SUPERUSER, {"name": "Guests"}),
    "admin:auth_group_history": Access("/admin/auth/group/{role}/history/", SUPERUSER),
    "admin:auth_group_delete": Access("/admin/auth/group/{role}/delete/", SUPERUSER, SUPERUSER, {"post": "yes"}),
    "admin:auth_group_change": Access("/admin/auth/group/{role}/change/", SUPERUSER, SUPERUSER, {"name": "Guests"}),
    "admin:auth_user_changelist": Access("/admin/auth/user/", SUPERUSER),
    "admin:auth_user_add": Access("/admin/auth/user/add/", SUPERUSER, SUPERUSER, USER),
    "admin:auth_user_history": Access("/admin/auth/user/{user}/history/", SUPERUSER),
    "admin:auth_user_delete": Access("/admin/auth/user/{user}/delete/", SUPERUSER, SUPERUSER, {"post": "yes"}),
    "admin:auth_user_change": Access("/admin/auth/user/{user}/change/", SUPERUSER, SUPERUSER, CHANGED_USER),
    "admin:auth_user_password_change": Access("/admin/auth/user/{user}/password/", SUPERUSER, SUPERUSER, USER),
}  # fmt: skip
OTHER_REFUSALS = {
    "demo": 404,
    "monitoring-prometheus": 404,
    "admin:app_list": 404,
    "admin:view_on_site": 404,
    "admin:logout": 405,
    "source-map": 405,
    "group-decision": 405,
}
READS = [name for name in ROWS if not name.startswith("admin:") and ROWS[name].see == STAFF]
OTHER_REFUSALS |= dict.fromkeys(READS, 401)


def names(patterns: list[Any], space: str = "") -> Iterator[str]:
    """Yield the name of every route but the nameless, which only lead to one that has a name."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from names(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else space)
        elif pattern.name:
            yield f"{space}{pattern.name}"


def test_every_route_has_its_row_and_no_row_is_of_none() -> None:
    public = {route.name for route in public_urlpatterns}
    assert sorted(set(names(urlpatterns)) - public) == sorted(ROWS)


def make_export() -> NamedExport:
    values = {"list_key": "failures", "filters": "", "columns": ["id"], "format": "csv", "created_by_name": "x"}
    return NamedExport.objects.create(name="weekly", created_at_ms=1, **values)


@pytest.fixture
def things() -> dict[str, Any]:
    """Return a thing of each kind, for the addresses of pages."""
    event = make_event()
    other, former = (make_event(message=message).fingerprint or "" for message in ("other words", "merged words"))
    merges.merge(former, other, user=User(username="somebody else"), at=clock.now())
    advice.give(event.fingerprint or "", "Wait.", None, user=User(username="somebody else"), at=clock.now())
    tokens.issue("web", who="someone", now=clock.now(), expires_at=None)
    store.put(Key("19afc18", "index.js"), CheckedMap(b"", "", 1, 0), replace=False, who="someone", at=clock.now())
    for name, at_ms in (("void", VOID_MS), ("counted", VOID_MS + HOUR_MS)):
        make_event(**success(session_id=name), received_at_ms=at_ms)
    selection = Selection(VOID_MS, VOID_MS + 1)
    correction = corrections.begin(selection, who="someone", at=clock.now(), why="forged")
    list(corrections.carry_out(correction))
    run = parity.keep(parity.check(1, clock.today()), at=clock.now())
    channel = roster.add("ops", "mailto:a@example.org", ["new"], who="someone", at=clock.now())
    alert = Alert.objects.create(kind="new", key="x", happened_at_ms=VOID_MS)
    delivery = AlertDelivery.objects.create(alert=alert, channel=channel, state=DeliveryState.GIVEN_UP, due_ms=VOID_MS)
    export = make_export()
    view = saved_views.save(
        of_list="events_event", title="Events", name="for everybody", query="", is_shared=True,
        user=User(username="somebody else"), at=clock.now(),
    )  # fmt: skip
    return {
        "export": export.pk,
        "view": view.pk,
        "channel": channel.pk,
        "delivery": delivery.pk,
        "event": event.pk,
        "group": event.fingerprint,
        "other": other,
        "former": former,
        "token": IngestToken.objects.get().pk,
        "correction": correction.pk,
        "run": (run or ParityRun.objects.get()).pk,
        "role": Group.objects.create(name="to look at").pk,
        "user": User.objects.create_user("somebody").pk,
    }


def person(role: str) -> Client:
    client = Client(raise_request_exception=False)
    if role != "anonymous":
        user = User.objects.create_user(
            f"a-{role}", password=PASSWORD, is_staff=role != "visitor", is_superuser=role == "superuser"
        )
        if role in ("Staff", "Maintainers"):
            user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
    return client


def may(role: str, least: str) -> bool:
    return bool(least) and ROLES.index(role) >= ROLES.index(least)


def everything() -> dict[str, list[Any]]:
    """Return every row of every table, but for what looking may write."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if model._meta.model_name not in WRITTEN_BY_READING and model._meta.managed and not model._meta.proxy:
                cursor.execute(f"SELECT * FROM {model._meta.db_table}")
                found[model._meta.label] = sorted(map(repr, cursor.fetchall()))
    return found


def refusal(name: str, role: str, path: str) -> tuple[int, str]:
    """Return the status and the Location that a GET is refused with: all but staff are sent to the login."""
    if name.startswith("admin:") and role in ("anonymous", "visitor"):
        return 302, "/admin/" if name == "admin:logout" else f"/admin/login/?next={quote(path)}"
    return OTHER_REFUSALS.get(name, 403), ""


def is_refusal(answer: Any) -> bool:
    location = answer.headers.get("Location", "")
    sent_away = answer.status_code == 302 and (location == "/admin/" or location.startswith("/admin/login/"))
    return sent_away or answer.status_code in (401, 403, 404, 405)


# The next four tests have all rows in one test each, as making the things and the people takes longer than a request.


def test_looking_is_for_those_who_may_and_changes_nothing(things: dict[str, Any]) -> None:
    people = {role: person(role) for role in ROLES}
    before = everything()
    for name, row in ROWS.items():
        path = row.path.format_map(things)
        for role, client in people.items():
            case = f"{role} at {name}"
            answer = client.get(path)
            if answer.streaming:
                b"".join(answer.streaming_content)
            location = answer.headers.get("Location", "")
            if may(role, row.see) and not (name == "admin:login" and role in ROLES[2:]):
                assert answer.status_code == row.seen, case
                assert not location.startswith("/admin/login/"), case
            else:
                assert name == "admin:login" or (answer.status_code, location) == refusal(name, role, path), case
        assert everything() == before, name


def test_acting_is_for_those_who_may(things: dict[str, Any]) -> None:
    people = {role: person(role) for role in ROLES}
    signed_in = {role: copy(client.cookies) for role, client in people.items()}
    before = everything()
    for name in [name for name in ROWS if name not in ("admin:login", "admin:logout")]:
        row = ROWS[name]
        for role, client in people.items():
            case = f"{role} at {name}"
            client.cookies = copy(signed_in[role])  # a changed password gives another session, which is rolled back
            with rolled_back():
                answer = row.post(client, things)
                assert answer.status_code < 500, case
                assert (everything() != before) is may(role, row.act), (case, answer.content[:2000])
        assert everything() == before, name


def test_a_page_elsewhere_acts_in_nobody_s_name(things: dict[str, Any]) -> None:
    """A form without the token that our own pages have is refused to the mightiest."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    before = everything()
    for name, row in ROWS.items():
        if row.act:
            assert row.post(client, things).status_code == 403, name
            assert everything() == before, name


def test_no_other_method_acts(things: dict[str, Any]) -> None:
    client = person("superuser")
    before = everything()
    for name, row in ROWS.items():
        for method in ("head", "options", "put", "patch", "delete") if row.act else ():
            getattr(client, method)(row.path.format_map(things))
            assert everything() == before, f"{method} of {name}"


# --- ADMIN_TOKEN ------------------------------------------------------------------------------------------------

TOKEN = "a-long-random-token"
WRONG = ["", "a-long-random-toke", TOKEN + "n", TOKEN.upper(), "x" * 100_000, "é", TOKEN + "\0", f"{TOKEN} {TOKEN}"]


@override_settings(ADMIN_TOKEN=TOKEN)
@pytest.mark.parametrize("path", [*(ROWS[name].path for name in READS), "/recent"])
def test_the_admin_token_reads_and_no_other_does(path: str, client: Client) -> None:
    make_event(**success())  # its version is a release
    path = path.format(group=make_event().fingerprint)
    make_export()
    assert client.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    for wrong in WRONG:
        assert client.get(path, headers={"authorization": f"Bearer {wrong}"}).status_code == 401
    assert client.get(path, headers={"authorization": f"Basic {TOKEN}"}).status_code == 401
    assert client.get(f"{path}?token={TOKEN}").status_code == 401


@pytest.mark.parametrize("path", [ROWS[name].path for name in READS])
@pytest.mark.parametrize("sent", ["Bearer", "Bearer ", "Bearer None", ""])
def test_without_an_admin_token_no_bearer_reads(path: str, sent: str, client: Client) -> None:
    assert settings.ADMIN_TOKEN == ""
    assert client.get(path, headers={"authorization": sent}).status_code == 401


@override_settings(ADMIN_TOKEN=TOKEN)
def test_the_admin_token_is_compared_in_constant_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    for path in (*(ROWS[name].path for name in READS), "/recent"):
        client.get(path, headers={"authorization": "Bearer guess"})
    assert compared == [(b"guess", TOKEN.encode())] * (len(READS) + 1)


@override_settings(ADMIN_TOKEN=TOKEN)
def test_the_admin_token_opens_no_page(client: Client, things: dict[str, Any]) -> None:
    pages = [name for name, row in ROWS.items() if name.startswith("admin:") and row.see != ANYONE]
    bearer = {"authorization": f"Bearer {TOKEN}"}
    answers = {name: client.get(ROWS[name].path.format_map(things), headers=bearer) for name in pages}
    assert [name for name, answer in answers.items() if not is_refusal(answer)] == []
    assert Event.objects.count() == 5
