"""Advice to users: what a maintainer may write, where it goes when groups change, and how deliveries are counted."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from events.counting.buckets import DAY_MS
from events.grouping import advice, groups, merges, triage
from events.grouping.advice import CannotAdvise
from events.grouping.fingerprints import ALGORITHM, fingerprint
from events.ingest import contract, writer
from events.ingest.group_commit import Recorded
from events.maintenance import regrouping, retention
from events.models import AdviceDay, AuditEntry, Event, FailureGroup, FormerGroup, GroupHour, GroupShare, Source
from tests.conftest import make_event, payload

pytestmark = pytest.mark.django_db

AT = datetime(2026, 2, 13, tzinfo=UTC)
NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
TODAY = NOON_MS // DAY_MS * DAY_MS
TEXT = "Replace the CP210x driver, then try again."
URL = "https://example.org/drivers?os=windows#cp210x"


def key_of(message: str, event_type: str = "flash_error") -> str:
    return fingerprint(event_type, None, message, None).key


def send(message: str, number: int = 0, *, at_ms: int = NOON_MS) -> Recorded:
    """Record a failure as `POST /event` does; the same number is the same event."""
    return writer.record(
        contract.parse(payload(message=message, session_id=f"{message} {number}"), received_at_ms=at_ms)
    )


def given(message: str) -> str:
    return FailureGroup.objects.get(pk=key_of(message)).advice_text


def delivered(*messages: str) -> dict[str, int]:
    return {one: advice.deliveries([key_of(one)], 0).total for one in messages}


# --- what may be written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "x" * 280,
        "📻" * 280,
        "<script>alert(1)</script> & “quotes”",
        "الرجاء تحديث برنامج التشغيل",
        "می‌خواهم",  # a joiner that Persian needs
        "Ask the maintainer 👩‍🔧",
    ],
)
def test_plain_text_is_advice(text: str) -> None:
    assert advice.fault_of_text(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Write a text for the users."),
        (" \u3164\u200d ", "Write a text for the users."),
        ("x" * 281, "Use at most 280 characters (now 281)."),
        ("one\ntwo", "Remove the invisible character U+000A."),
        ("one\x00two", "Remove the invisible character U+0000."),
        ("one\x7ftwo", "Remove the invisible character U+007F."),
        ("one\u2028two", "Remove the invisible character U+2028."),
        ("one\u2029two", "Remove the invisible character U+2029."),
        ("open \u202egpj.exe", "Remove the invisible character U+202E."),
        ("open \u2067gpj.exe", "Remove the invisible character U+2067."),
        ("one\u200btwo", "Remove the invisible character U+200B."),
        ("one\U000e0041two", "Remove the invisible character U+E0041."),
        ("one\ue000two", "Remove the invisible character U+E000."),
        ("one\ud83dtwo", "Remove the invisible character U+D83D."),
    ],
)
def test_text_that_can_deceive_is_refused(text: str, fault: str) -> None:
    assert advice.fault_of_text(text) == fault


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "HTTPS://EXAMPLE.ORG",
        "https://xn--bcher-kva.example:8443/a(b)/@c;d,e'f",
        "https://192.0.2.7/",
        "https://localhost",
        "https://example.org/" + "x" * 1_980,
    ],
)
def test_a_link_is_https_with_a_host(url: str) -> None:
    assert advice.fault_of_url(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://example.org/",
        "javascript:alert(1)",
        "data:text/html,x",
        " https://example.org/",
        "https://example.org/ x",
        "https://example.org/\n",
        "https://example.org\t/",
        "https:///path",
        "https://",
        "https:example.org",
        "https://?query",
        "https://user@example.org/",
        "https://user:password@example.org/",
        "https://good.example\\@evil.example/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org:port/",
        "https://exаmple.org/",  # a Cyrillic letter
        "https://example.org/ü",
        "https://example.org/\u202e",
        "https://example.org/\x00",
        'https://example.org/"onclick="x',
        "https://example.org/<b>",
        "https://-example.org/",
        "https://example..org/",
        "https://" + "a." * 990 + "x/",
        "https://example.org/" + "x" * 1_981,
    ],
)
def test_another_link_is_refused(url: str) -> None:
    assert advice.fault_of_url(url)


def test_refused_advice_changes_nothing(olga: User) -> None:
    make_event(message="one")
    for text, url in (("", URL), (TEXT, "http://example.org"), ("\u202e", None)):
        with pytest.raises(CannotAdvise):
            advice.give(key_of("one"), text, url, user=olga, at=AT)
    assert (given("one"), AuditEntry.objects.count()) == ("", 0)


def test_of_two_maintainers_who_saw_the_same_advice_one_saves(olga: User) -> None:
    group = FailureGroup.objects.get(pk=make_event().fingerprint)
    advice.give(group.pk, "Use another cable.", None, user=olga, at=AT, replaces=group)
    with pytest.raises(CannotAdvise, match="Somebody else"):
        advice.give(group.pk, "Restart.", None, user=olga, at=AT, replaces=group)
    assert FailureGroup.objects.get().advice_text == "Use another cable."


def test_an_overflow_group_gets_no_advice(olga: User) -> None:
    key = groups.overflow_of("flash_error").key
    with pytest.raises(CannotAdvise):
        advice.give(key, TEXT, None, user=olga, at=AT)


def test_advice_is_recorded_with_its_author_and_in_the_audit_log(olga: User) -> None:
    make_event(message="one")
    advice.give(key_of("one"), TEXT, URL, user=olga, at=AT)
    advice.give(key_of("one"), TEXT, URL, user=olga, at=AT)  # nothing new
    group = FailureGroup.objects.get()
    assert (group.advice_text, group.advice_url, group.advised_by_name) == (TEXT, URL, "olga")
    assert group.advised_at_ms == AT.timestamp() * 1000
    advice.withdraw(key_of("one"), user=olga, at=AT)
    advice.withdraw(key_of("one"), user=olga, at=AT)
    group.refresh_from_db()
    assert (group.advice_text, group.advice_url, group.advised_at_ms, group.advised_by_name) == ("", None, None, None)
    assert list(AuditEntry.objects.order_by("id").values_list("what", "subject", "about")) == [
        (f"Advised users: “{TEXT}” {URL}", group.pk, "one"),
        ("Removed the advice to users.", group.pk, "one"),
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"advice_text": "x" * 281, "advised_at_ms": 1},
        {"advice_text": "x"},
        {"advice_url": URL},
        {"advised_at_ms": 1},
        {"advice_text": "x", "advised_at_ms": 1, "advice_url": "http://example.org/"},
        {"advice_text": "x", "advised_at_ms": 1, "advice_url": "https://" + "x" * 1_993},
    ],
)
def test_the_database_refuses_what_the_page_refuses(columns: dict[str, object]) -> None:
    make_event(message="one")
    with pytest.raises(IntegrityError), transaction.atomic():
        FailureGroup.objects.update(**columns)


# --- delivery --------------------------------------------------------------------------------------------------------


def test_advice_is_delivered_from_the_next_failure_on_and_counted_by_day(olga: User) -> None:
    assert send("one", 1).advice is None
    advice.give(key_of("one"), TEXT, URL, user=olga, at=AT)
    for number in (1, 2, 2):  # one known event, one new one, and that one again
        assert send("one", number).advice == groups.Advice(key_of("one"), TEXT, URL)
    assert send("two").advice is None
    assert send("one", 2, at_ms=NOON_MS + DAY_MS).advice is not None
    assert advice.deliveries([key_of("one")], TODAY) == (4, {TODAY: 3, TODAY + DAY_MS: 1})
    assert advice.deliveries([key_of("one")], TODAY + DAY_MS) == (4, {TODAY + DAY_MS: 1})
    advice.withdraw(key_of("one"), user=olga, at=AT)
    assert send("one", 3).advice is None
    assert delivered("one", "two") == {"one": 4, "two": 0}


def test_a_failure_that_overflows_gets_no_advice(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    send("one")
    advice.give(key_of("one"), TEXT, None, user=olga, at=AT)
    monkeypatch.setattr(groups, "MAX_NEW_A_DAY", 0)
    assert send("two").advice is None
    assert Event.objects.get(message="two").fingerprint == groups.overflow_of("flash_error").key


# --- groups that change ----------------------------------------------------------------------------------------------


def test_a_merged_failure_gets_the_advice_of_the_whole_group(olga: User) -> None:
    for message in ("one", "two"):
        send(message)
        advice.give(key_of(message), f"about {message}", None, user=olga, at=AT)
    merges.merge(key_of("one"), key_of("two"), user=olga, at=AT)
    for number in (0, 1):  # received again, and new
        recorded = send("one", number).advice
        assert recorded
        assert recorded.text == "about two"
    merges.split(key_of("one"), user=olga, at=AT)
    assert (given("one"), given("two")) == ("about one", "about two")
    assert delivered("one", "two") == {"one": 0, "two": 2}


def test_a_group_without_advice_takes_over_that_of_the_merged_one_until_the_split(olga: User) -> None:
    send("one")
    for number in range(3):
        send("two", number)
    advice.give(key_of("one"), TEXT, URL, user=olga, at=AT)
    merges.merge(key_of("one"), key_of("two"), user=olga, at=AT)
    assert given("two") == TEXT
    assert "Its advice to users applies here now" in AuditEntry.objects.latest("id").what
    merges.split(key_of("one"), user=olga, at=AT)
    assert (given("one"), given("two")) == (TEXT, "")


def test_advice_that_was_changed_after_a_merge_stays_after_the_split(olga: User) -> None:
    send("one")
    send("two")
    advice.give(key_of("one"), TEXT, URL, user=olga, at=AT)
    merges.merge(key_of("one"), key_of("two"), user=olga, at=AT)
    advice.give(key_of("two"), "newer", None, user=olga, at=AT)
    merges.split(key_of("one"), user=olga, at=AT)
    assert (given("one"), given("two")) == (TEXT, "newer")


def test_a_group_that_was_merged_before_advice_existed_can_be_split_off(olga: User) -> None:
    send("one")
    send("two")
    merges.merge(key_of("one"), key_of("two"), user=olga, at=AT)
    former = FormerGroup.objects.get()
    row = {name: value for name, value in former.row.items() if not name.startswith("advi")}
    FormerGroup.objects.update(row=row)
    merges.split(key_of("one"), user=olga, at=AT)
    assert (given("one"), given("two")) == ("", "")


def test_advice_follows_the_failures_to_the_groups_of_a_new_algorithm(olga: User) -> None:
    send("one")
    Event.objects.update(fingerprint="old")
    FailureGroup.objects.update(fingerprint="old", algorithm=ALGORITHM - 1)
    GroupHour.objects.update(fingerprint="old")
    GroupShare.objects.update(fingerprint="old")
    advice.give("old", TEXT, URL, user=olga, at=AT)
    list(regrouping.regroup(regrouping.survey()))
    assert given("one") == TEXT
    assert send("one", 1).advice == groups.Advice(key_of("one"), TEXT, URL)


def test_a_decision_keeps_the_advice(olga: User) -> None:
    send("one")
    advice.give(key_of("one"), TEXT, None, user=olga, at=AT)
    for decide in (
        lambda keys: triage.mute(keys, until_ms=None, user=olga, at=AT),
        lambda keys: triage.resolve(keys, fixed_in=None, user=olga, at=AT),
    ):
        decide([key_of("one")])
        assert send("one").advice is not None


def test_deliveries_of_a_deleted_demo_group_are_deleted(olga: User) -> None:
    send("real")
    writer.record(contract.parse(payload(message="demo"), received_at_ms=NOON_MS)._replace(source=Source.DEMO.value))
    for message in ("demo", "real"):
        advice.give(key_of(message), TEXT, None, user=olga, at=AT)
        advice.count({(key_of(message), TODAY // DAY_MS): 2})
    for _ in retention.delete_demo():
        pass
    assert list(AdviceDay.objects.values_list("fingerprint", "delivered")) == [(key_of("real"), 2)]
