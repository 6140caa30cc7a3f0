"""Merge a group into another one, split it off again, and what an old address leads to."""

from html import unescape
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events import clock
from events.counting.buckets import DAY_MS
from events.grouping import advice, groups, merges, triage
from events.grouping.fingerprints import Fingerprint
from events.maintenance import regrouping, retention
from events.models import AuditEntry, Event, FailureGroup, FormerGroup
from tests.conftest import make_event, sign_in

pytestmark = pytest.mark.django_db
LIST = "/admin/events/failuregroup/"


@pytest.fixture
def maintainer(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


@pytest.fixture
def keys() -> dict[str, str]:
    """Return three groups of one type and one of another, by their titles."""
    events = [make_event(message=message) for message in ("one", "two", "three")]
    events.append(make_event(message="elsewhere", event_type="connect_error"))
    return {event.message: event.fingerprint or "" for event in events}


def path(key: str, page: str = "") -> str:
    return f"{LIST}{quote(key, safe='')}/{page}"


def text_of(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return unescape(answer.content.decode())


def merged(client: Client, keys: dict[str, str], one: str = "one", other: str = "two") -> None:
    answer = client.post(path(keys[one], "merge/"), {"into": keys[other]})
    assert answer.headers["Location"] == path(keys[other])


# --- merge -----------------------------------------------------------------------------------------------------------


def test_the_page_of_a_group_offers_the_merge_to_those_who_decide(client: Client, keys: dict[str, str]) -> None:
    sign_in(client, "Staff")
    link = path(keys["one"], "merge/")
    assert link not in text_of(client, path(keys["one"]))
    assert client.get(link).status_code == 403
    sign_in(client, "Maintainers")
    assert f'href="{link}">Merge into…</a>' in text_of(client, path(keys["one"]))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"two", "three"}),
        ("?q=TWO", {"two"}),
        ("?q=nothing", set()),
        ("?q=elsewhere", set()),
        ("?q={three}", {"three"}),
        ("?q=one", set()),
    ],
)
def test_the_search_finds_other_groups_of_the_type(
    maintainer: Client, keys: dict[str, str], query: str, found: set[str]
) -> None:
    answer = maintainer.get(path(keys["one"], f"merge/{query.format_map(keys)}"))
    assert {group.title for group in answer.context["candidates"]} == found
    text = unescape(answer.content.decode())
    assert all(f'href="?into={keys[title]}"' in text for title in found)
    assert ("No other group of the type flash_error matches." in text) is not found


def test_the_search_shows_the_last_seen_ones(
    maintainer: Client, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.admin.group_pages.merges.CANDIDATES", 1)
    make_event(message="three", session_id="again", received_at_ms=clock.now_ms() + 5)
    answer = maintainer.get(path(keys["one"], "merge/"))
    assert [group.title for group in answer.context["candidates"]] == ["three"]
    assert "These are the last 1 seen." in answer.content.decode()


def test_an_unknown_parameter_of_the_search_is_refused(maintainer: Client, keys: dict[str, str]) -> None:
    assert maintainer.get(path(keys["one"], "merge/?query=two")).status_code == 400


def test_the_confirmation_names_both_groups_and_changes_nothing(maintainer: Client, keys: dict[str, str]) -> None:
    text = text_of(maintainer, path(keys["one"], f"merge/?into={keys['two']}"))
    assert "Merge these two groups?" in text
    assert "The second group keeps its status and its note." in text
    assert FailureGroup.objects.count() == 4


def test_the_confirmation_tells_that_a_decision_passes_on(maintainer: Client, keys: dict[str, str]) -> None:
    make_event(message="one", session_id="again")
    triage.mute([keys["one"]], until_ms=None, user=User(username="olga"), at=clock.now())
    text = text_of(maintainer, path(keys["one"], f"merge/?into={keys['two']}"))
    assert "The decision and the note of the first group apply to the second group" in text
    merged(maintainer, keys)
    assert FailureGroup.objects.get(pk=keys["two"]).status == "muted"


def test_the_confirmation_tells_that_advice_passes_on(maintainer: Client, keys: dict[str, str]) -> None:
    words = "The advice to users of the first group applies to the second group"
    assert words not in text_of(maintainer, path(keys["one"], f"merge/?into={keys['two']}"))
    advice.give(keys["one"], "Use another cable.", None, user=User(username="olga"), at=clock.now())
    assert words in text_of(maintainer, path(keys["one"], f"merge/?into={keys['two']}"))
    merged(maintainer, keys)
    assert FailureGroup.objects.get(pk=keys["two"]).advice_text == "Use another cable."


@pytest.mark.parametrize("into", ["nothing", "a%00b"])
def test_a_confirmation_without_another_group_is_a_404(maintainer: Client, keys: dict[str, str], into: str) -> None:
    assert maintainer.get(path(keys["one"], f"merge/?into={into}")).status_code == 404


@pytest.mark.parametrize(
    ("into", "words"),
    [
        ("one", "A group cannot be merged into itself."),
        ("elsewhere", "Groups of different types cannot be merged."),
        ("nothing", "The other group no longer exists."),
        ("a\0b", "The other group no longer exists."),
        ("", "The other group no longer exists."),
    ],
)
def test_a_merge_that_is_refused_says_why(maintainer: Client, keys: dict[str, str], into: str, words: str) -> None:
    answer = maintainer.post(path(keys["one"], "merge/"), {"into": keys.get(into, into)}, follow=True)
    assert f"Nothing was changed. {words}" in answer.content.decode()
    assert FailureGroup.objects.count() == 4


def test_an_overflow_group_offers_no_merge(
    maintainer: Client, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 1)
    overflow = make_event(message="four").fingerprint or ""
    assert "Merge into…" not in text_of(maintainer, path(overflow))
    text = text_of(maintainer, path(overflow, "merge/"))
    assert "This group contains different failures, so it cannot be merged." in text
    assert overflow not in text_of(maintainer, path(keys["one"], "merge/"))


# --- the page afterwards ---------------------------------------------------------------------------------------------


def test_the_group_lists_what_is_in_it_with_its_note_and_history(maintainer: Client, keys: dict[str, str]) -> None:
    olga = User(username="olga")
    triage.resolve([keys["one"]], fixed_in="v7", user=olga, at=clock.now())
    triage.annotate(keys["one"], "see the wiki", user=olga, at=clock.now())
    merged(maintainer, keys)
    text = " ".join(text_of(maintainer, path(keys["two"])).split())
    assert '<h2 id="former">Groups in this group</h2>' in text
    assert "It was resolved in <bdi>v7</bdi>." in text
    assert '<p class="note"><bdi>see the wiki</bdi></p>' in text
    assert "“<bdi>one</bdi>”:</span> <span>Resolved in v7.</span>" in text
    assert f"<span>Merged “one” ({keys['one']}) into this group.</span>" in text
    assert f'href="{path(keys["one"], "split/")}">Split off again…</a>' in text
    history = " ".join(text_of(maintainer, path(keys["two"], "history/")).split())
    assert "“<bdi>one</bdi>”:</span> <span>Resolved in v7.</span>" in history


def test_staff_see_the_merge_but_no_split(client: Client, keys: dict[str, str]) -> None:
    merges.merge(keys["one"], keys["two"], user=User(username="olga"), at=clock.now())
    sign_in(client, "Staff")
    text = text_of(client, path(keys["two"]))
    assert "Merged by <bdi>olga</bdi>" in text
    assert "Split off" not in text


@pytest.mark.parametrize("query", ["", "?span=90&status=all"])
def test_an_old_address_leads_to_the_other_group(maintainer: Client, keys: dict[str, str], query: str) -> None:
    merged(maintainer, keys)
    merged(maintainer, keys, "two", "three")
    answer = maintainer.get(path(keys["one"]) + query, follow=True)
    assert answer.redirect_chain == [(path(keys["three"]) + query, 302)]
    assert "“one” was merged into this group." in answer.content.decode()


def test_an_old_address_tells_nothing_to_those_who_may_not_look(client: Client, keys: dict[str, str]) -> None:
    merges.merge(keys["one"], keys["two"], user=User(username="olga"), at=clock.now())
    sign_in(client)
    assert client.get(path(keys["one"])).status_code == 403


@pytest.mark.parametrize("list_path", ["/admin/events/event/", "/admin/events/recentfailure/", "/failures"])
def test_a_list_of_the_events_of_a_former_group_shows_those_of_the_other(
    maintainer: Client, keys: dict[str, str], list_path: str
) -> None:
    merged(maintainer, keys)
    text = text_of(maintainer, f"{list_path}?group={keys['one']}")
    assert "two" in text
    assert "three" not in text


# --- split -----------------------------------------------------------------------------------------------------------


def test_a_split_is_confirmed_and_leads_to_the_group(maintainer: Client, keys: dict[str, str]) -> None:
    merged(maintainer, keys)
    address = path(keys["one"], "split/")
    text = text_of(maintainer, address)
    assert "Split this group off again?" in text
    assert FormerGroup.objects.exists()
    answer = maintainer.post(address, follow=True)
    assert answer.redirect_chain == [(path(keys["one"]), 302)]
    assert "Split off again. Later failures join this group." in answer.content.decode()
    assert FailureGroup.objects.count() == 4
    assert regrouping.compare() == []
    who = AuditEntry.objects.values_list("who", flat=True).distinct()
    assert list(who) == ["someone-Maintainers"]


@pytest.mark.parametrize("key", ["one", "nothing", "a%00b"])
def test_only_a_merged_group_can_be_split_off(maintainer: Client, keys: dict[str, str], key: str) -> None:
    address = f"{LIST}{keys.get(key, key)}/split/"
    assert maintainer.get(address).status_code == 404
    assert maintainer.post(address).status_code == 404


# --- after regrouping ------------------------------------------------------------------------------------------------


def regrouped(message: str, *, old: str) -> str:
    """Store a failure, and move it from the group that an earlier algorithm made to its own group."""
    event = make_event(message=message)
    key = event.fingerprint or ""
    Event.objects.filter(pk=event.pk).update(fingerprint=old)
    group = FailureGroup.objects.get(pk=key)
    groups.join([(event, Fingerprint(old, f"old {message}", ""))])
    groups.subtract([(event, key)])
    FailureGroup.objects.filter(pk=old).update(algorithm=0, note=group.note)
    return key


def regroup() -> None:
    for _ in regrouping.regroup(regrouping.survey()):
        pass


def test_the_address_of_a_regrouped_group_leads_to_its_events(maintainer: Client) -> None:
    key = regrouped("one", old="old")
    regroup()
    answer = maintainer.get(path("old"), follow=True)
    assert answer.redirect_chain == [(path(key), 302)]
    text = answer.content.decode()
    assert "The events of “old one” are in this group since the failures were regrouped." in text
    assert "Groups in this group" not in text
    assert "one" in text_of(maintainer, "/failures?group=old")


def test_a_note_that_the_new_group_did_not_take_over_is_shown(maintainer: Client, keys: dict[str, str]) -> None:
    regrouped("one more", old="old")
    triage.annotate("old", "see the wiki", user=User(username="olga"), at=clock.now())
    make_event(message="one more", session_id="after the upgrade")
    key = make_event(message="one more", session_id="again").fingerprint or ""
    triage.annotate(key, "a newer note", user=User(username="olga"), at=clock.now())
    regroup()
    text = text_of(maintainer, path(key))
    assert "Groups in this group" in text
    assert '<p class="note"><bdi>see the wiki</bdi></p>' in text
    assert "Split off again" not in text


def test_an_old_group_with_counts_alone_names_the_group_of_its_newer_events(maintainer: Client) -> None:
    now_ms = clock.now_ms()
    gone = make_event(message="one", session_id="gone", received_at_ms=now_ms - 3 * DAY_MS)
    Event.objects.filter(pk=gone.pk).update(fingerprint="old")
    groups.join([(gone, Fingerprint("old", "old one", ""))])
    groups.subtract([(gone, gone.fingerprint or "")])
    key = regrouped("one", old="old")
    for _ in retention.prune(now_ms - DAY_MS, imported_too=True, who="olga", at=clock.now(), why=""):
        pass
    regroup()
    text = text_of(maintainer, path("old"))
    assert "Its events are no longer stored. Their counts are." in text
    assert f'href="{path(key)}"' in text


def test_an_address_leads_to_the_overflow_group_when_the_new_group_had_no_room(
    maintainer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    regrouped("one", old="old")
    make_event(message="two")
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 1)
    regroup()
    answer = maintainer.get(path("old"), follow=True)
    assert answer.redirect_chain == [(f"{LIST}overflow-flash_5Ferror/", 302)]
