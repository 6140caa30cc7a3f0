"""The texts of messages: one line for each fact, absolute links, and nothing that a client's text can break."""

import unicodedata
from email.message import EmailMessage

import pytest

from events.alerts.messages import MAX_LINE, MAX_SUBJECT, Part, compose, one_line
from events.models import AlertKind


@pytest.fixture(autouse=True)
def _at_a_known_address(settings: object) -> None:
    settings.SITE_URL = "https://telemetry.example"  # type: ignore[attr-defined]


def test_a_message_has_the_kind_the_facts_and_the_link() -> None:
    part = Part("No ACK for block 31", ("3 failures since 14:03.", "Model: UV-5RM."), "/admin/events/failuregroup/a/")
    message = compose(AlertKind.NEW, "No ACK for block 31", [part])
    assert message.subject == "[new] No ACK for block 31"
    assert message.text == (
        "No ACK for block 31\n  3 failures since 14:03.\n  Model: UV-5RM.\n"
        "  https://telemetry.example/admin/events/failuregroup/a/\n\n"
        "-- \nSent by the telemetry site at https://telemetry.example\n"
    )
    assert '<a href="https://telemetry.example/admin/events/failuregroup/a/"' in message.html
    assert "3 failures since 14:03." in message.html
    assert 'name="viewport"' in message.html


def test_the_rest_is_counted_in_the_subject_and_in_both_texts() -> None:
    message = compose(AlertKind.NEW, "x" * 500, [Part("x")], intro="Two new groups.", others=1199, left_out=1190)
    assert message.subject.endswith("… and 1,199 more")
    assert len(message.subject) == MAX_SUBJECT
    assert message.text.startswith("Two new groups.\n\nx\n")
    assert "… and 1,190 more: https://telemetry.example/admin/" in message.text
    assert "… and 1,190 more</a>" in message.html
    assert "Two new groups." in message.html


def test_a_part_with_an_issue_has_its_whole_address() -> None:
    url = f"https://tracker.example/{'x' * 470}"
    message = compose(AlertKind.NEW, "x", [Part("x", ("3 failures.",), "/admin/", url)])
    assert f"\n  3 failures.\n  Issue: {url}\n  https://telemetry.example/admin/\n" in message.text
    assert f'Issue: <a href="{url}"' in message.html
    assert f">{url}</a>" in message.html


def test_a_part_without_a_page_has_no_link() -> None:
    message = compose(AlertKind.DISK, "low", [Part("The disk is filling up.")])
    assert "<a " not in message.html
    assert "/admin/" not in message.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("two\r\nBcc: all@example.org", "two Bcc: all@example.org"),
        ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
        ("\u202egpj.exe", "gpj.exe"),
        ("\u2066left\u2069", "left"),
        ("zero\u200bwidth", "zero width"),
        ("nul\x00 escape\x1b[31m", "nul escape [31m"),
        ("", "(no visible text)"),
        ("\u3164\u2800 \u00a0", "(no visible text)"),
        ("e" + "\u0301" * 500, "e" + "\u0301" * 3),
        ("Störung – 無線", "Störung – 無線"),
        ("\ud800lone", "lone"),
    ],
)
def test_a_hostile_text_becomes_one_visible_line(text: str, expected: str) -> None:
    assert one_line(text) == expected


def test_a_very_long_text_is_shortened() -> None:
    line = one_line("a" * 1_000_000)
    assert len(line) == MAX_LINE
    assert line.endswith("…")


@pytest.mark.parametrize("title", ["a\r\nBcc: x@example.org", "a\n\nbody", "<script>alert(1)</script>", "\ud800\udfff"])
def test_no_title_breaks_a_mail(title: str) -> None:
    message = compose(AlertKind.REGRESSION, title, [Part(title, (title,), "/admin/")])
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    assert [name.lower() for name in mail.keys()].count("bcc") == 0  # noqa: SIM118 (a mail has a name more than once)
    assert mail.as_bytes()
    assert "<script" not in message.html
    assert not any(unicodedata.category(character) == "Cc" for character in message.subject)
