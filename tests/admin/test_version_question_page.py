"""A group is resolved in a version that no event has reported: the question, and what follows when it is a slip."""

from html import unescape
from typing import Any

import pytest
from django.test import Client

from events import clock
from events.counting.buckets import DAY_MS, HOUR_MS
from events.models import AuditEntry, FailureGroup
from tests.conftest import make_event, sign_in, success

pytestmark = pytest.mark.django_db
LIST = "/admin/events/failuregroup/"
DECIDE = f"{LIST}decide/"


@pytest.fixture
def maintainer(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


@pytest.fixture
def key() -> str:
    """Return a group on a site with two releases."""
    now_ms = clock.now_ms()
    make_event(**success(app_version="c0ffee1"), received_at_ms=now_ms - 3 * DAY_MS)
    make_event(**success(app_version="19afc18"), received_at_ms=now_ms - 2 * DAY_MS)
    return make_event(message="No ACK", received_at_ms=now_ms - DAY_MS).fingerprint or ""


def answer_of(client: Client, key: str | list[str], version: str, **more: str) -> Any:
    return client.post(DECIDE, {"action": "resolve", "id": key, "fixed_in": version, **more})


def text_of(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def decisions() -> set[tuple[str, str | None]]:
    return set(FailureGroup.objects.values_list("status", "fixed_in"))


def fail_in_new_releases(message: str = "No ACK") -> None:
    """Let three failures arrive from a release that is newer than the decision."""
    make_event(**success(app_version="f00d123"), received_at_ms=clock.now_ms() + 1)
    for number in range(3):
        make_event(
            message=message, app_version="f00d123", session_id=f"{number}", received_at_ms=clock.now_ms() + 2 + number
        )


# --- the question ----------------------------------------------------------------------------------------------------


def test_a_version_that_no_event_has_reported_is_asked_about(maintainer: Client, key: str) -> None:
    answer = answer_of(maintainer, key, "19afc81", back="type=flash_error")
    text = text_of(answer)
    assert answer.status_code == 200
    assert "<h1>19afc81? Seen: 19afc18</h1>" in text
    assert [release.app_version for release in answer.context["question"].similar] == ["19afc18"]
    assert 'value="19afc18" required>' in text
    assert 'name="confirmed" value="19afc81"' in text
    assert 'value="19afc81" required>' in text
    assert "checked" not in text  # one of the two has to be chosen
    assert f'name="id" value="{key}"' in text
    assert 'name="back" value="type=flash_error' in text
    assert decisions() == {("open", None)}
    assert not AuditEntry.objects.exists()


def test_one_of_the_seen_versions_is_chosen(maintainer: Client, key: str) -> None:
    answer = answer_of(maintainer, key, "19afc18", confirmed="19afc81")
    assert answer["Location"] == f"{LIST}{key}/"
    assert decisions() == {("resolved", "19afc18")}
    assert AuditEntry.objects.get().what == "Resolved in 19afc18."


def test_the_typed_version_is_kept(maintainer: Client, key: str) -> None:
    assert answer_of(maintainer, key, "19afc81", confirmed="19afc81").status_code == 302
    assert decisions() == {("resolved", "19afc81")}


def test_only_the_version_of_the_question_is_confirmed(maintainer: Client, key: str) -> None:
    answer = answer_of(maintainer, key, "19afc82", confirmed="19afc81")
    assert answer.context["question"].typed == "19afc82"
    assert decisions() == {("open", None)}


@pytest.mark.parametrize("version", ["", "  ", "19afc18", "c0ffee1", " 19afc18 "])
def test_the_next_version_and_a_reported_one_are_not_asked_about(maintainer: Client, key: str, version: str) -> None:
    assert answer_of(maintainer, key, version).status_code == 302
    assert decisions() == {("resolved", version.strip() or None)}


def test_a_version_with_one_failure_was_reported(maintainer: Client, key: str) -> None:
    make_event(app_version="just out")
    assert answer_of(maintainer, key, "just out").status_code == 302
    assert FailureGroup.objects.get(pk=key).fixed_in == "just out"


def test_without_a_similar_version_the_newest_are_offered_and_the_typed_one_is_chosen(
    maintainer: Client, key: str
) -> None:
    answer = answer_of(maintainer, key, "7d7d7d7")
    text = text_of(answer)
    assert "<h1>7d7d7d7? No event has reported it.</h1>" in text
    assert answer.context["question"].newest == ["19afc18", "c0ffee1"]
    assert 'value="7d7d7d7" required checked>' in text


def test_a_site_without_releases_asks_too(maintainer: Client) -> None:
    key = make_event(message="No ACK").fingerprint or ""
    text = text_of(answer_of(maintainer, key, "7d7d7d7"))
    assert text.count('type="radio"') == 1


def test_the_question_is_asked_once_for_many_groups(maintainer: Client, key: str) -> None:
    other = make_event(message="another").fingerprint or ""
    asked = answer_of(maintainer, [key, other], "19afc81")
    assert {group.pk for group in asked.context["chosen"]} == {key, other}
    assert answer_of(maintainer, [key, other], "19afc18", confirmed="19afc81")["Location"] == LIST
    assert decisions() == {("resolved", "19afc18")}


def test_the_question_keeps_the_filters_of_all_matching_groups(maintainer: Client, key: str) -> None:
    make_event(message="Port closed", event_type="connect_error")
    asked = maintainer.get(DECIDE, {"action": "resolve", "all": "1", "type": "flash_error"})
    hidden = dict(asked.context["hidden"]) | {"action": "resolve"}
    question = maintainer.post(DECIDE, hidden | {"fixed_in": "19afc81"})
    assert dict(question.context["hidden"]) | {"action": "resolve"} == hidden
    assert "all=1" in question.context["again_query"]
    maintainer.post(DECIDE, hidden | {"fixed_in": "19afc81", "confirmed": "19afc81"})
    assert FailureGroup.objects.get(pk=key).fixed_in == "19afc81"
    assert FailureGroup.objects.get(event_type="connect_error").status == "open"


def test_another_version_can_be_typed(maintainer: Client, key: str) -> None:
    question = answer_of(maintainer, key, "19afc81", back="type=flash_error")
    again = maintainer.get(f"{DECIDE}?{question.context['again_query']}")
    assert again.status_code == 200
    assert [group.pk for group in again.context["chosen"]] == [key]
    assert again.context["back"] == question.context["back"]


def test_a_hostile_version_is_text(maintainer: Client, key: str) -> None:
    text = answer_of(maintainer, key, '"><script>alert(1)</script>').content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


# --- a slip that was confirmed ---------------------------------------------------------------------------------------


def test_the_page_says_that_the_group_is_still_failing_and_what_to_do(maintainer: Client, key: str) -> None:
    answer_of(maintainer, key, "19afc81", confirmed="19afc81")
    page = f"{LIST}{key}/"
    assert "Still failing" not in text_of(maintainer.get(page))
    fail_in_new_releases()
    answer = maintainer.get(page)
    text = text_of(answer)
    assert "<h2>Still failing</h2>" in text
    assert "in <bdi>19afc81</bdi>, which is not a release yet" in text
    assert "Similar releases: <bdi>19afc18</bdi>" in text
    assert "Correct the version…" in text
    link = f"{DECIDE}?action=resolve&id={key}&back="
    assert link in text
    form = maintainer.get(link).context["form"]
    assert form["fixed_in"].value() == "19afc81"
    answer_of(maintainer, key, "19afc18")
    assert "Still failing" not in text_of(maintainer.get(page))


def test_staff_see_the_problem_but_no_button(client: Client, key: str) -> None:
    user = sign_in(client, "Maintainers")
    answer_of(client, key, "19afc81", confirmed="19afc81")
    fail_in_new_releases()
    user.delete()
    sign_in(client, "Staff")
    text = text_of(client.get(f"{LIST}{key}/"))
    assert "<h2>Still failing</h2>" in text
    assert "Correct the version" not in text


def test_the_list_marks_the_group_and_has_a_tab(maintainer: Client, key: str) -> None:
    make_event(message="open one", received_at_ms=clock.now_ms() - HOUR_MS)
    answer_of(maintainer, key, "19afc81", confirmed="19afc81")
    tab = {"status": "still_failing"}
    assert "No resolved group is still failing" in text_of(maintainer.get(LIST, tab))
    assert '<span class="bad">⚠</span> still failing' not in text_of(maintainer.get(LIST))
    fail_in_new_releases()
    assert '<span class="bad">⚠</span> still failing' in text_of(maintainer.get(LIST))
    for query, titles in ((tab, ["No ACK"]), ({"status": "resolved"}, ["No ACK"]), ({}, ["open one"])):
        answer = maintainer.get(LIST, query)
        assert [row.group.title for row, _ in answer.context["rows"]] == titles
        assert ("⚠ still failing</span>" in text_of(answer)) is (titles == ["No ACK"])
    exported = b"".join(maintainer.get(f"{LIST}export/", tab).streaming_content).decode()
    assert '"resolved","19afc81","1"' in exported


def test_a_group_that_is_resolved_again_leaves_the_tab(maintainer: Client, key: str) -> None:
    answer_of(maintainer, key, "19afc81", confirmed="19afc81")
    fail_in_new_releases()
    maintainer.post(DECIDE, {"action": "reopen", "id": key})
    assert maintainer.get(LIST, {"status": "still_failing"}).context["rows"] == []
    assert decisions() == {("open", None)}
