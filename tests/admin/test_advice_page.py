"""Advice to users: a form that shows what the user will see before it is saved, and the counts of its deliveries."""

import re
from html import unescape
from urllib.parse import quote

import pytest
from django.test import Client

from events import clock
from events.counting.buckets import DAY_MS
from events.grouping import advice, groups
from events.models import AdviceDay, AuditEntry, Event, FailureGroup
from tests.conftest import make_event, payload, sign_in, text_of

pytestmark = pytest.mark.django_db
WANTED = {"text": "Use <b>another</b> cable.", "url": "https://example.org/cables?a=1&b=2"}


@pytest.fixture
def maintainer(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


@pytest.fixture
def key() -> str:
    return make_event(message="No ACK").fingerprint or ""


def path(key: str, page: str = "advice/") -> str:
    return f"/admin/events/failuregroup/{quote(key, safe='')}/{page}"


def previewed(client: Client, key: str, **changes: str) -> dict[str, str]:
    """Preview advice; return the fields that the page would send to save it."""
    answer = client.post(path(key), WANTED | changes | {"step": "preview"})
    [digest] = re.findall(r'name="previewed" value="(\w+)"', answer.content.decode())
    return WANTED | changes | {"step": "save", "previewed": digest}


def stored(key: str) -> tuple[str, str | None]:
    group = FailureGroup.objects.get(pk=key)
    return group.advice_text, group.advice_url


def test_staff_see_the_advice_and_cannot_change_it(client: Client, key: str) -> None:
    user = sign_in(client, "Staff")
    advice.give(key, **WANTED, user=user, at=clock.now())
    text = text_of(client.get(path(key, "")))
    assert "Use &lt;b&gt;another&lt;/b&gt; cable." in text
    assert "Change the advice…" not in text
    assert client.get(path(key)).status_code == 403
    assert client.post(path(key), {"step": "remove"}).status_code == 403
    assert stored(key) == (WANTED["text"], WANTED["url"])


def test_a_preview_shows_text_and_link_as_the_user_sees_them_and_saves_nothing(maintainer: Client, key: str) -> None:
    answer = maintainer.post(path(key), WANTED | {"step": "preview"})
    text = text_of(answer)
    link = "https://example.org/cables?a=1&amp;b=2"
    assert "<p><bdi>Use &lt;b&gt;another&lt;/b&gt; cable.</bdi></p>" in text
    assert f'<a href="{link}" rel="noopener noreferrer">{link}</a>' in text
    assert (answer.status_code, stored(key), AuditEntry.objects.count()) == (200, ("", None), 0)


def test_advice_is_saved_after_its_preview(maintainer: Client, key: str) -> None:
    answer = maintainer.post(path(key), previewed(maintainer, key), follow=True)
    text = text_of(answer)
    assert stored(key) == (WANTED["text"], WANTED["url"])
    assert "The advice is saved." in text
    assert "Not delivered yet." in text
    assert "Advised users: “Use &lt;b&gt;another&lt;/b&gt; cable.” https://example.org/cables" in text  # the history
    assert AuditEntry.objects.get().who == "someone-Maintainers"


@pytest.mark.parametrize("changes", [{"text": "Another text"}, {"url": ""}, {"previewed": ""}])
def test_only_previewed_advice_is_saved(maintainer: Client, key: str, changes: dict[str, str]) -> None:
    answer = maintainer.post(path(key), previewed(maintainer, key) | changes)
    assert answer.status_code == 409
    assert "Nothing was saved" in answer.content.decode()
    assert stored(key) == ("", None)


def test_advice_that_a_colleague_changed_since_the_preview_is_not_replaced(maintainer: Client, key: str) -> None:
    fields = previewed(maintainer, key)
    user = sign_in(Client(), None)
    advice.give(key, "From a colleague", None, user=user, at=clock.now())
    assert maintainer.post(path(key), fields).status_code == 409
    assert stored(key) == ("From a colleague", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Use  another\r\n\r\ncable.\t", "Use another cable."),
        ("📻" * 280, "📻" * 280),
        ("'\"><script>", "'\"><script>"),
    ],
)
def test_white_space_becomes_one_space(maintainer: Client, key: str, text: str, expected: str) -> None:
    maintainer.post(path(key), previewed(maintainer, key, text=text, url=""))
    assert stored(key) == (expected, None)


def test_the_scheme_of_a_link_is_stored_in_lower_case(maintainer: Client, key: str) -> None:
    maintainer.post(path(key), previewed(maintainer, key, url="HTTPS://example.org/A"))
    assert stored(key)[1] == "https://example.org/A"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": ""}, "Write a text for the users."),
        ({"text": "\u200d"}, "Write a text for the users."),
        ({"text": "x" * 281}, "at most 280 characters"),
        ({"text": "a\u202eb"}, "Remove the invisible character U+202E."),
        ({"text": "a\u2028b"}, "Remove the invisible character U+2028."),
        ({"text": "a\0b"}, "Null characters are not allowed."),
        ({"url": "http://example.org"}, "The link must begin with https://."),
        ({"url": "javascript:alert(1)"}, "The link must begin with https://."),
        ({"url": "https://olga:secret@example.org/"}, "This is not a complete link"),
        ({"url": "https://example.org/" + "x" * 2_000}, "at most 2000 characters"),
    ],
)
def test_invalid_advice_is_explained(maintainer: Client, key: str, changes: dict[str, str], words: str) -> None:
    for step in ("preview", "save"):
        answer = maintainer.post(path(key), WANTED | changes | {"step": step})
        assert answer.status_code == 400
        assert words in unescape(answer.content.decode())
    assert stored(key) == ("", None)


def test_removing_asks_first(maintainer: Client, key: str) -> None:
    maintainer.post(path(key), previewed(maintainer, key))
    assert "Remove this advice?" in maintainer.get(path(key) + "?remove=1").content.decode()
    assert stored(key)[0]
    answer = maintainer.post(path(key), {"step": "remove"}, follow=True)
    assert "Users with this failure get no advice." in text_of(answer)
    assert stored(key) == ("", None)
    assert [entry.what for entry in AuditEntry.objects.order_by("-id")[:1]] == ["Removed the advice to users."]
    maintainer.post(path(key), {"step": "remove"})  # twice
    assert AuditEntry.objects.count() == 2


def test_an_overflow_group_is_refused(maintainer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 0)
    key = make_event(message="Anything").fingerprint or ""
    assert groups.is_overflow(key)
    assert "Advise users…" not in text_of(maintainer.get(path(key, "")))
    for answer in (maintainer.get(path(key), follow=True), maintainer.post(path(key), WANTED, follow=True)):
        assert "no advice fits them all" in text_of(answer)
    assert stored(key) == ("", None)


@pytest.mark.parametrize("key", ["nothing", "a\0b"])
def test_a_group_that_does_not_exist_is_a_404(maintainer: Client, key: str) -> None:
    assert maintainer.get(f"/admin/events/failuregroup/{quote(key, safe='')}/advice/").status_code in (400, 404)
    assert maintainer.post("/admin/events/failuregroup/nothing/advice/", {"step": "remove"}).status_code == 404


def test_deliveries_are_shown_by_day_with_their_total(maintainer: Client, key: str) -> None:
    maintainer.post(path(key), previewed(maintainer, key))
    for session in ("a", "b"):
        maintainer.post("/event", payload(message="No ACK", session_id=session), content_type="application/json")
    today = clock.now_ms() // DAY_MS
    advice.count({(key, today - 1): 5, (key, today - 29): 7, (key, today - 30): 1_000})
    for page in ("", "advice/"):
        answer = maintainer.get(path(key, page))
        assert (answer.context["deliveries"].recent, answer.context["deliveries"].total) == (14, 1_014)
        days = answer.context["deliveries"].days
        assert (len(days), [day.delivered for day in days if day.delivered]) == (30, [2, 5, 7])
        assert "1,014" in text_of(answer)
    assert Event.objects.count() == 3
    assert AdviceDay.objects.count() == 4
