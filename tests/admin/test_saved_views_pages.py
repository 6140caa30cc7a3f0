"""Saved views and the columns of lists: their addresses, the pages that save them, and the navigation."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.admin.saved_views import addresses, store
from events.models import Alert, AuditEntry, SavedView
from tests.conftest import make_event, sign_in, success, text_of

pytestmark = pytest.mark.django_db
FAILURES = "/admin/events/recentfailure/"
GROUPS = "/admin/events/failuregroup/"
SAVE = "/admin/views/save/"
ALL = "/admin/views/"


@pytest.fixture
def maintainer(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


def colleague() -> Client:
    other = Client()
    other.force_login(User.objects.create_superuser("colleague"))
    return other


def save(
    client: Client, query: str = "", *, name: str = "Writes", of_list: str = "events_recentfailure", **more: str
) -> Any:
    return client.post(SAVE, {"list": of_list, "name": name, "query": query} | more)


def fill(number: int, owner: User | None) -> None:
    for each in range(number):
        SavedView.objects.create(
            id=f"{owner}-{each}", list="events_event", name=f"view {each}", query="", owner=owner,
            created_by_name="x", created_at_ms=0,
        )  # fmt: skip


# --- saving and opening --------------------------------------------------------------------------------------------


def test_a_view_keeps_filters_order_and_columns_and_its_link_opens_the_list(maintainer: Client) -> None:
    make_event(model="UV-5RM")
    answer = save(
        maintainer, "window=7d&type=flash_error&model=&cursor=1.x&limit=9&view=other&columns=model,message,f.browser"
    )
    view = SavedView.objects.get()
    assert view.query == "columns=message,model,f.browser&type=flash_error&window=7d"
    assert answer["Location"] == f"{FAILURES}?{view.query}&view={view.pk}"
    assert (view.owner, view.list, view.name) == (User.objects.get(), "events_recentfailure", "Writes")
    assert not AuditEntry.objects.exists()
    for reader in (maintainer, colleague()):  # a private view too: who has the link may open it
        opened = reader.get(f"{ALL}{view.pk}/")
        assert opened["Location"] == answer["Location"]
        page = reader.get(opened["Location"])
        assert page.status_code == 200
        assert ("The view “Writes” is saved." in text_of(page)) is (reader is maintainer)
        assert [column.name for column in page.context["cl"].columns][1:3] == ["message", "model"]
    text = text_of(maintainer.get(answer["Location"]))
    assert text.count(f'view={view.pk}" aria-current="page"') == 2  # in the menu, and on the page


def test_the_view_of_a_page_is_current_without_its_parameter_and_marked_when_changed(maintainer: Client) -> None:
    save(maintainer, "type=flash_error")
    key = SavedView.objects.get().pk
    marks = {
        "type=flash_error": "page",
        f"type=flash_error&view={key}": "page",
        f"type=flash_error&view={key}&cursor=": "page",
        f"type=connect_error&view={key}": "true",
        f"view={key}": "true",
        "type=connect_error": "",
        "": "",
    }
    for query, mark in marks.items():
        page = maintainer.get(f"{FAILURES}?{query}")
        assert [link.current for link in page.context["bar"].links] == [mark], query
        assert ("Save changes to" in text_of(page)) is (mark == "true"), query


def test_views_are_in_the_navigation_of_every_page_for_whom_they_are(maintainer: Client) -> None:
    save(maintainer, "q=mine", name="mine")
    save(maintainer, "q=ours", name="ours", everybody="on")
    other = colleague()
    for path in ("/admin/", GROUPS, "/admin/auth/user/", "/admin/password_change/", ALL):
        reader = maintainer if path != "/admin/auth/user/" else other
        header = text_of(reader.get(path)).split("</header>")[0]
        assert (">mine<" in header) is (reader is maintainer), path
        assert ">ours<" in header, path
    assert ">mine<" not in text_of(other.get(ALL))
    newcomer = Client()
    newcomer.force_login(User.objects.create_user("newcomer", is_staff=True))
    assert ">ours<" not in text_of(newcomer.get(ALL))
    key = SavedView.objects.get(name="ours").pk
    assert newcomer.get(f"{ALL}{key}/").status_code == 403


def test_a_page_reads_the_views_once(maintainer: Client) -> None:
    save(maintainer, "type=flash_error", everybody="on")
    for path in ("/admin/", f"{FAILURES}?type=flash_error", "/admin/events/alert/", "/admin/about/"):
        with CaptureQueriesContext(connection) as queries:
            maintainer.get(path)
        assert len([query for query in queries if "events_savedview" in query["sql"]]) == 1, path


def test_a_relative_range_stays_relative(maintainer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    save(maintainer, "new=7d", of_list="events_failuregroup", name="New ones")
    event = make_event(received_at_ms=clock.now_ms() - 6 * 86_400_000)
    url = maintainer.get(f"{ALL}{SavedView.objects.get().pk}/")["Location"]
    assert [row.pk for row in maintainer.get(url).context["cl"].result_list] == [event.fingerprint]
    later = clock.now_ms() + 2 * 86_400_000
    monkeypatch.setattr(clock, "now_ms", lambda: later)
    monkeypatch.setattr(clock, "now", lambda: clock.datetime.fromtimestamp(later / 1000, clock.UTC))
    assert list(maintainer.get(url).context["cl"].result_list) == []


# --- what is refused -----------------------------------------------------------------------------------------------

LONG = "x" * 65


@pytest.mark.parametrize(
    ("posted", "words"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": " \t "}, "This field is required."),
        ({"name": "\u200b\u2060"}, "This field is required."),
        ({"name": LONG}, "at most 64 characters"),
        ({"name": "a\0b"}, "Null characters are not allowed."),
        ({"query": "type=nothing"}, "The filters of this list are invalid."),
        ({"query": "unknown=1"}, "The filters of this list are invalid."),
        ({"query": "columns=nothing"}, "The filters of this list are invalid."),
        ({"query": "f.nothing=1"}, "The filters of this list are invalid."),
        ({"query": "session=abc"}, "A saved view keeps no session"),
        ({"query": "q=a-session"}, "A saved view keeps no session"),
        ({"query": "type=\0"}, "too long for a saved view"),
        ({"query": "&".join(f"a{number}=1" for number in range(2_000))}, "too many for a saved view"),
        ({"query": "type=" + "x" * 30_000}, "too long for a saved view"),
        ({"query": "&".join(f"{name}={'%F0%9F%93%BB' * 64}" for name in ("model", "version", "f.os"))}, "2,000"),
        ({"name": "taken"}, "There is a view “taken” of this list already."),
        ({"name": "  taken "}, "There is a view “taken” of this list already."),
        ({"name": "taken by all", "everybody": "on"}, "There is a view “taken by all” of this list already."),
    ],
)  # fmt: skip
def test_a_view_that_cannot_be_saved_is_refused_in_words(
    maintainer: Client, posted: dict[str, str], words: str
) -> None:
    make_event(**success(session_id="a-session"))
    save(maintainer, name="taken")
    save(maintainer, name="taken by all", everybody="on")
    answer = save(maintainer, **{"query": "type=flash_error", "name": "new", **posted})
    assert answer.status_code == 400
    assert words in text_of(answer)
    assert SavedView.objects.count() == 2


def test_equal_names_are_for_other_lists_and_other_owners(maintainer: Client) -> None:
    assert save(maintainer).status_code == 302
    assert save(maintainer, everybody="on").status_code == 302
    assert save(maintainer, of_list="events_event").status_code == 302
    assert save(colleague()).status_code == 302


@pytest.mark.parametrize("more", [{}, {"everybody": "on"}])
def test_the_number_of_views_is_limited(maintainer: Client, more: dict[str, str]) -> None:
    user = User.objects.get()
    fill(store.MOST_OWN, user)
    fill(store.MOST_SHARED, None)
    answer = save(maintainer, **more)
    assert answer.status_code == 400
    assert ("There are 50 views for everybody" if more else "You have 50 saved views") in text_of(answer)
    assert text_of(maintainer.get("/admin/")).count(">view 49<") == 2
    SavedView.objects.filter(name="view 3").delete()
    assert save(maintainer, **more).status_code == 302


@pytest.mark.parametrize(
    ("of_list", "status"), [("events_nothing", 404), ("", 404), ("auth_user", 403), ("events_auditentry", 403)]
)
def test_only_lists_that_the_account_may_see_have_views(client: Client, of_list: str, status: int) -> None:
    sign_in(client, "Staff")
    assert save(client, of_list=of_list).status_code == status
    assert not SavedView.objects.exists()


def test_no_address_leads_to_another_site(maintainer: Client) -> None:
    """The name of a list is known, and a query string has only known parameters."""
    save(maintainer, "q=//evil.example", name="https://evil.example/")
    view = SavedView.objects.get()
    answers = [
        save(maintainer, "next=//evil.example", name="x", next="//evil.example"),
        save(maintainer, of_list="//evil.example"),
        maintainer.get(f"{ALL}{view.pk}/?next=//evil.example"),
        maintainer.post(f"{ALL}{view.pk}/update/", {"query": "q=x", "next": "//evil.example"}),
        maintainer.post(f"{ALL}{view.pk}/delete/", {"next": "//evil.example"}),
        maintainer.get(f"{FAILURES}?columns=model&columns=message&q=//evil.example"),
    ]
    places = [urlsplit(answer["Location"]) for answer in answers if answer.status_code == 302]
    assert len(places) == 4
    assert {(place.scheme, place.netloc) for place in places} == {("", "")}


def test_a_form_of_another_site_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    assert save(client).status_code == 403
    assert not SavedView.objects.exists()


# --- changing ------------------------------------------------------------------------------------------------------


def test_a_view_for_everybody_is_changed_with_its_permission_and_audited(maintainer: Client) -> None:
    save(maintainer, "type=flash_error&model=UV-5RM&q=words", everybody="on")
    view = SavedView.objects.get()
    assert view.owner is None
    answer = maintainer.post(f"{ALL}{view.pk}/update/", {"query": f"view={view.pk}&window=24h&cursor=1.x"})
    assert answer["Location"] == f"{FAILURES}?window=24h&view={view.pk}"
    assert maintainer.post(f"{ALL}{view.pk}/rename/", {"name": "Last day"})["Location"] == ALL
    assert maintainer.get(f"{ALL}{view.pk}/")["Location"] == answer["Location"]
    assert "No event and no failure group changes." in text_of(maintainer.get(f"{ALL}{view.pk}/delete/"))
    assert maintainer.post(f"{ALL}{view.pk}/delete/")["Location"] == ALL
    entries = AuditEntry.objects.order_by("id").values_list("kind", "what", "about")
    assert list(entries) == [
        ("view", "Saved a view of Recent failures for everybody: model=UV-5RM&q=…&type=flash_error.", "Writes"),
        ("view", "Changed a view of Recent failures for everybody: window=24h.", "Writes"),
        ("view", "Renamed a view of Recent failures for everybody from “Writes”.", "Last day"),
        ("view", "Deleted a view of Recent failures for everybody.", "Last day"),
    ]
    gone = maintainer.get(f"{ALL}{view.pk}/")
    assert gone.status_code == 404
    assert "It was deleted, or the link is incomplete." in text_of(gone)
    for action in ("update", "rename", "delete"):
        assert maintainer.post(f"{ALL}{view.pk}/{action}/", {"name": "x", "query": ""}).status_code == 404


def test_only_its_owner_changes_a_private_view_and_staff_share_none(client: Client) -> None:
    user = sign_in(client, "Staff")
    assert "everybody" not in client.get(f"{SAVE}?list=events_event").context["form"].fields
    save(client, name="mine", everybody="on")  # a field that the form does not have
    view = SavedView.objects.get()
    assert view.owner == user
    shared = store.save(
        of_list="events_event", title="Events", name="ours", query="", is_shared=True,
        user=User(username="x"), at=clock.now(),
    )  # fmt: skip
    cases = [(client, shared, 403), (colleague(), view, 403), (client, view, 302)]
    for reader, of_view, status in cases:
        for action, posted in (("update", {"query": ""}), ("rename", {"name": "new"})):
            assert reader.post(f"{ALL}{of_view.pk}/{action}/", posted).status_code == status
    user.user_permissions.add(Permission.objects.get(codename="share_savedview"))
    assert client.post(f"{ALL}{shared.pk}/rename/", {"name": "renamed"}).status_code == 302


def test_a_name_is_given_once_also_by_renaming(maintainer: Client) -> None:
    save(maintainer, name="one")
    save(maintainer, name="two")
    view = SavedView.objects.get(name="two")
    answer = maintainer.post(f"{ALL}{view.pk}/rename/", {"name": "one"})
    assert answer.status_code == 400
    assert "There is a view “one” of this list already." in text_of(answer)
    assert maintainer.post(f"{ALL}{view.pk}/rename/", {"name": "two"}).status_code == 302


def test_a_view_that_was_deleted_meanwhile_is_not_changed(maintainer: Client) -> None:
    save(maintainer, everybody="on")
    view = SavedView.objects.get()
    user: Any = User.objects.get()
    SavedView.objects.all().delete()
    at = clock.now()
    changes = [
        lambda: store.rename(view, "new", title="x", user=user, at=at),
        lambda: store.change_query(view, "", title="x", user=user, at=at),
        lambda: store.delete(view, title="x", user=user, at=at),
    ]
    for change in changes:
        with pytest.raises(addresses.Refused, match="deleted meanwhile"):
            change()
    assert AuditEntry.objects.count() == 1


def test_deleting_an_account_deletes_its_views_and_keeps_those_for_everybody(maintainer: Client) -> None:
    save(maintainer, name="mine")
    save(maintainer, name="ours", everybody="on")
    user = User.objects.get()
    user.delete()
    assert [(view.name, view.created_by_name) for view in SavedView.objects.all()] == [("ours", user.username)]


def test_the_database_repeats_the_rules() -> None:
    fill(1, None)
    for changes in ({"name": ""}, {"name": LONG}, {"query": "x" * 2_001}, {"name": "view 0"}):
        row = {"id": "y", "list": "events_event", "name": "y", "query": "", "created_by_name": "x", "created_at_ms": 0}
        with pytest.raises((IntegrityError, ValidationError)), transaction.atomic():
            SavedView.objects.create(**row | changes)


# --- what changed since --------------------------------------------------------------------------------------------


def test_a_facet_that_was_removed_is_explained_and_breaks_nothing(maintainer: Client, settings: Any) -> None:
    make_event(metadata_json='{"browser":"Chrome"}')
    save(maintainer, "f.browser=Chrome&type=flash_error&columns=message,f.browser", name="In Chrome")
    view = SavedView.objects.get()
    settings.FACETS = ["os"]
    page = maintainer.get(maintainer.get(f"{ALL}{view.pk}/")["Location"])
    assert page.status_code == 400
    text = text_of(page)
    assert "f.browser</bdi></strong>: FACETS has no such name." in text
    assert "This list has no column “f.browser”." in text
    assert "The saved view “<bdi>In Chrome</bdi>” contains them." in text
    assert f'<a href="?type=flash_error&amp;view={view.pk}">Remove the invalid ones</a>' in text
    assert maintainer.get(f"{FAILURES}?type=flash_error&view={view.pk}").status_code == 200
    other = text_of(maintainer.get(f"{FAILURES}?type=nothing&view={view.pk}"))
    assert "These filters are invalid" in other
    assert "contains them" not in other
    assert "FACETS has no such name." in text_of(maintainer.get(ALL))
    assert ">In Chrome<" in text_of(maintainer.get("/admin/"))


def test_a_view_of_a_list_that_is_gone_is_left_out(maintainer: Client) -> None:
    fill(1, None)
    SavedView.objects.update(list="legacy_nothing")
    assert maintainer.get("/admin/").status_code == 200
    assert maintainer.get(f"{ALL}None-0/").status_code == 404


# --- columns ---------------------------------------------------------------------------------------------------

LISTS = [page for page in admin.site._registry.values() if getattr(page, "has_saved_views", False)]


@pytest.mark.parametrize("page", LISTS, ids=lambda page: page.opts.model_name)
def test_every_column_of_every_list_can_be_shown_and_saved(maintainer: Client, page: Any) -> None:
    make_event(metadata_json='{"browser":"Chrome"}')
    make_event(**success())
    assert save(maintainer, "q=x", name="for the audit log", everybody="on").status_code == 302
    Alert.objects.create(kind="job", key="x", happened_at_ms=clock.now_ms())
    url = page.url("changelist")
    columns = maintainer.get(url).context["bar"].columns
    assert columns.required in columns.offered
    for chosen in (list(columns.offered), [columns.required], list(columns.offered)[::-1]):
        answer = maintainer.get(url, {"columns": ",".join(chosen)})
        assert answer.status_code == 200
        text = text_of(answer)
        assert not re.search(r'<th scope="row"[^>]*wide-only', text)  # narrow pages show it too
        assert [columns.labels[name] for name in chosen if f"{columns.labels[name]}" not in text] == []
    refused = maintainer.get(url, {"columns": "nothing,more"})
    assert refused.status_code == 400
    assert "This list has no column “nothing”, “more”. It has " in text_of(refused)
    of_list = f"{page.opts.app_label}_{page.opts.model_name}"
    assert save(maintainer, f"columns={columns.required}", of_list=of_list).status_code == 302
    key = SavedView.objects.get(list=of_list, name="Writes").pk
    assert maintainer.get(maintainer.get(f"{ALL}{key}/")["Location"]).status_code == 200


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("columns=message&columns=model&columns=f.os&q=a", "columns=message,model,f.os&q=a"),
        ("q=a&columns=f.os&columns=message", "q=a&columns=message,f.os"),
        ("columns=message&columns=time&columns=type&columns=error&columns=model&columns=version&columns=mode"
         "&columns=connected", ""),
    ],
)  # fmt: skip
def test_a_form_with_boxes_leads_to_a_short_address(maintainer: Client, sent: str, kept: str) -> None:
    location = urlsplit(maintainer.get(f"{FAILURES}?{sent}")["Location"])
    assert (location.path, parse_qs(location.query)) == (FAILURES, parse_qs(kept))
    assert maintainer.get(location.geturl()).status_code == 200


def test_columns_and_view_stay_in_the_address(maintainer: Client) -> None:
    """Through sorting, filters, paging, the page of a row and back."""
    for number in range(60):
        make_event(message=f"failure number {chr(65 + number % 26)}{chr(65 + number // 26)}x")
    kept = "columns=message,model&amp;view=abc"
    event = text_of(maintainer.get(f"{FAILURES}?{kept.replace('&amp;', '&')}"))
    for part in (
        '<input type="hidden" name="columns" value="message,model"><input type="hidden" name="view" value="abc">',
        "columns=message%2Cmodel&amp;view=abc&amp;cursor=",
    ):
        assert part in event.replace("> <", "><")
    row = maintainer.get(f"{FAILURES}?columns=message,model&view=abc").context["cl"].result_list[0]
    page = text_of(maintainer.get(f"{FAILURES}{row.pk}/?columns=message,model&view=abc"))
    assert f'<a href="{FAILURES}?{kept}">‹ Recent failures</a>' in page
    group = text_of(maintainer.get(f"{GROUPS}{row.fingerprint}/?columns=message,model&view=abc&origin=recentfailure"))
    assert f'<a href="{FAILURES}?{kept}">‹ Recent failures</a>' in group
    own = text_of(maintainer.get(f"{GROUPS}{row.fingerprint}/?columns=failure,day&view=abc"))
    assert f'<a href="{GROUPS}?columns=failure,day&amp;view=abc">‹ Failure groups</a>' in own
    assert "recentfailure/?columns" not in own
    listed = text_of(maintainer.get(f"{GROUPS}?columns=failure,day&sort=title&q=failure"))
    assert re.search(r"sort=-?day&amp;[^\"]*columns=failure,day", listed)
    assert 'href="/admin/events/failuregroup/?columns=failure%2Cday">Clear all</a>' in listed


def test_the_common_values_of_a_group_take_no_query_of_their_own(maintainer: Client) -> None:
    make_event(metadata_json='{"browser":"Chrome"}')
    counts = []
    for query in ("", "?columns=failure,f.browser,f.os,mode"):
        maintainer.get(f"{GROUPS}{query}")  # reads past days, once in a process
        with CaptureQueriesContext(connection) as queries:
            text = text_of(maintainer.get(f"{GROUPS}{query}"))
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert 'title="Chrome">Chrome</bdi>' in text
    assert 'title="write">write</bdi>' in text


def test_releases_are_filtered_by_their_verdict(maintainer: Client) -> None:
    make_event(**success())
    path = "/admin/events/release/"
    assert "19afc18" in text_of(maintainer.get(path, {"verdict": "first"}))
    assert "No release has this verdict" in text_of(maintainer.get(path, {"verdict": "worse"}))
    assert maintainer.get(path, {"verdict": "bad"}).status_code == 400
    assert maintainer.get(path, {"unknown": "1"}).status_code == 400
