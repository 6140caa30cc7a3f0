"""The page that corrects the count: a preview, a confirmation, an undo; and the other pages that show a correction."""

import pytest
from django.test import Client

from events.admin.operations import corrections
from events.models import Correction, Event
from events.reports import metrics
from tests.conftest import make_event, sign_in, success, text_of

pytestmark = pytest.mark.django_db
PATH = "/admin/events/correction/"
NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
WANTED = {"since": "2026-02-12T12:00:00Z", "until": "2026-02-12T13:00:00Z", "reason": "forged by <b>one</b> address"}


def store(sessions: int) -> list[Event]:
    return [
        make_event(**success(session_id=f"forged-{n}", model="Forged <i>"), received_at_ms=NOON_MS + n)
        for n in range(sessions)
    ]


def confirm(client: Client, previewed: int) -> str:
    wanted = WANTED | {"previewed": str(previewed), "confirmed": "yes"}
    return text_of(client.post(PATH, wanted, follow=True))


def test_a_preview_shows_the_effect_and_changes_nothing(client: Client) -> None:
    sign_in(client, "Maintainers")
    store(3)
    make_event(**success())
    text = text_of(client.post(PATH, WANTED))
    assert "from <strong>4</strong> to <strong>1</strong>" in text
    assert "Void 3 successes?" in text
    for figure in ("Forged &lt;i&gt;", "19afc18", "event", "2026-02-12 12:00"):
        assert f'<bdi>{figure}</bdi></th><td class="num">3</td>' in text
    assert '<bdi class="message">forged-2</bdi>' in text
    assert "forged by &lt;b&gt;one&lt;/b&gt; address" in text
    assert metrics.flash_count().total == 4
    assert not Correction.objects.exists()


def test_a_confirmed_correction_is_made_and_can_be_undone(client: Client) -> None:
    user = sign_in(client, "Maintainers")
    store(3)
    text = confirm(client, 3)
    correction = Correction.objects.get()
    assert f"Correction {correction.pk}: 3 successes are void. The public count was 3 and is 0." in text
    assert "in force" in text
    assert (correction.made_by_name, correction.reason) == (user.username, WANTED["reason"])
    undo = f"{PATH}{correction.pk}/undo/"
    assert f'<a href="{undo}">Undo</a>' in text
    assert "from <strong>0</strong> to <strong>3</strong>" in text_of(client.get(undo))
    assert metrics.flash_count().total == 0
    text = text_of(client.post(undo, {"reason": "they were real"}, follow=True))
    assert f"Correction {correction.pk} is undone: 3 successes count again. The public count was 0 and is 3." in text
    assert "they were real" in text
    assert undo not in text
    assert "undone already" in text_of(client.post(undo, {"reason": "once more"}, follow=True))


def test_figures_that_changed_since_the_preview_are_shown_again(client: Client) -> None:
    sign_in(client, "Maintainers")
    store(3)
    text = confirm(client, 2)
    assert "The figures have changed since the preview, so nothing was voided." in text
    assert "Void 3 successes?" in text
    assert metrics.flash_count().total == 3


def test_nothing_matches_is_said(client: Client) -> None:
    sign_in(client, "Maintainers")
    for text in (text_of(client.post(PATH, WANTED)), confirm(client, 0)):
        assert "<h2>Nothing matches</h2>" in text
    assert not Correction.objects.exists()


def test_too_many_for_a_request_are_left_to_the_command(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client, "Maintainers")
    store(3)
    monkeypatch.setattr(corrections, "MAX_BY_PAGE", 2)
    assert "<code>manage.py void_flashes --since" in confirm(client, 3)
    assert metrics.flash_count().total == 3
    monkeypatch.undo()
    confirm(client, 3)
    monkeypatch.setattr(corrections, "MAX_BY_PAGE", 2)
    undo = f"{PATH}{Correction.objects.get().pk}/undo/"
    assert "manage.py void_flashes --undo" in text_of(client.post(undo, {"reason": "real"}))
    assert metrics.flash_count().total == 0


def test_as_many_as_a_request_may_void_are_voided(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client, "Maintainers")
    store(2)
    monkeypatch.setattr(corrections, "MAX_BY_PAGE", 2)
    assert "Void 2 successes?" in text_of(client.post(PATH, WANTED))
    assert "2 successes are void" in confirm(client, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"since": ""}, "This field is required"),
        ({"until": ""}, "This field is required"),
        ({"since": "yesterday"}, "Enter a valid date/time"),
        ({"until": WANTED["since"]}, "This time must be after the first one"),
        ({"until": "2999-01-01T00:00:00Z"}, "This time is in the future"),
        ({"source": "nowhere"}, "Select a valid choice"),
        ({"model": "m" * 65}, "at most 64 characters"),
        ({"reason": ""}, "This field is required"),
        ({"reason": "\u200b \u3164"}, "This field is required"),
        ({"reason": "r" * 501}, "at most 500 characters"),
    ],
)
def test_an_invalid_value_is_explained(client: Client, changes: dict[str, str], said: str) -> None:
    sign_in(client, "Maintainers")
    store(1)
    assert said in text_of(client.post(PATH, WANTED | changes | {"previewed": "1", "confirmed": "yes"}))
    assert metrics.flash_count().total == 1


def test_staff_may_look_and_not_correct(client: Client) -> None:
    sign_in(client, "Staff")
    store(1)
    text = text_of(client.get(PATH))
    assert "No success is void." in text
    assert "Void successes" not in text
    assert client.post(PATH, WANTED | {"previewed": "1", "confirmed": "yes"}).status_code == 403
    assert metrics.flash_count().total == 1


def test_other_pages_show_the_correction_and_mark_the_events(client: Client) -> None:
    sign_in(client, "Maintainers")
    event = store(2)[0]
    confirm(client, 2)
    key = Correction.objects.get().pk
    events = text_of(client.get("/admin/events/event/"))
    assert events.count('<strong class="void">void</strong>') == 2
    assert "Void successes are listed and marked." in events
    assert f'<a href="{PATH}">correction {key}</a>' in text_of(client.get(f"/admin/events/event/{event.pk}/"))
    baseline = text_of(client.get("/admin/events/counterbaseline/"))
    assert "Not counted: 2 void." in baseline
    assert "forged by &lt;b&gt;one&lt;/b&gt; address" in baseline
    history = client.get("/admin/legacy/importrun/")
    assert history.context["made_of"] == (0, 0, 2, 2)
    assert f"correction {key}: void" in text_of(history)
    assert "<dd>− 2</dd>" in text_of(history)
    client.post(f"{PATH}{key}/undo/", {"reason": "they were real"})
    history = client.get("/admin/legacy/importrun/")
    assert history.context["made_of"] == (0, 0, 2, 0)
    assert f"correction {key}: undone" in text_of(history)
    exported = client.get("/admin/events/event/export/").getvalue().decode()
    assert ',"{}","","0",' in exported.splitlines()[1]


def test_an_export_names_the_correction_of_a_void_success(client: Client) -> None:
    sign_in(client, "Maintainers")
    store(1)
    confirm(client, 1)
    lines = client.get("/admin/events/event/export/").getvalue().decode().splitlines()
    assert ',"metadata_json","void",' in lines[0]
    assert f',"{{}}","{Correction.objects.get().pk}",' in lines[1]
