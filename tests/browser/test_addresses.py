"""The client shortens the addresses in all texts of a report, as tests/fixtures/addresses.json lists."""

import json
from typing import Any

import pytest

from tests.browser.pages import Browser
from tests.servers import PROJECT_DIR

pytestmark = pytest.mark.needs_chromium

FIXTURE = json.loads((PROJECT_DIR / "tests/fixtures/addresses.json").read_text(encoding="utf-8"))
TEXTS = {field: FIXTURE[table] for field, table in (("message", "messages"), ("stack", "stacks"))}

REPORT = """
    const telemetry = createTelemetry({ baseUrl: 'http://127.0.0.1:9' });
    texts.forEach((text, n) => telemetry.reportError({
      message: 'x', error: { cause: { stack: text } }, model: String(n), [field]: text,
    }));
"""


def sent(browser: Browser, field: str, texts: list[str]) -> list[Any]:
    """Report each text in a field of its own failure; return the field of the queued events."""
    browser.open()
    browser.run(REPORT, field=field, texts=texts)
    return [event[field] for event in browser.waiting()]


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("form", ["whole", "short"])  # a short text is not shortened again
def test_addresses_are_shortened(browser: Browser, field: str, form: str) -> None:
    found = sent(browser, field, [text[form] for text in TEXTS[field]])
    assert [*zip((text["kind"] for text in TEXTS[field]), found, strict=True)] == [
        (text["kind"], text["short"]) for text in TEXTS[field]
    ]


def test_log_lines_metadata_and_causes_are_shortened(browser: Browser) -> None:
    browser.run(
        """
        const cause = new Error('GET https://x.example/a/b.bin?user=anna failed');
        cause.stack = 'Error: x\\n    at f (https://x.example/a/c.js?user=anna:1:2)';
        createTelemetry({ baseUrl: 'http://127.0.0.1:9' }).reportError({
          error: new Error('x', { cause }),
          logLines: ['opened wss://x.example/a/socket?user=anna'],
          metadata: { 'https://x.example/a/d?user=anna': { url: 'https://x.example/a/e.bin?user=anna' } },
        });
        """
    )
    [event] = browser.waiting()
    assert json.loads(event["log_lines_json"]) == ["opened wss://…/socket"]
    assert json.loads(event["metadata_json"]) == {
        "https://…/d": '{"url":"https://…/e.bin"}',
        "causes": [{"name": "Error", "message": "GET https://…/b.bin failed", "frame": "at f (https://…/c.js:1:2)"}],
    }


@pytest.mark.parametrize("cut", FIXTURE["cuts"], ids=lambda cut: cut["kind"])
def test_long_texts_end_with_an_ellipsis(browser: Browser, cut: dict[str, Any]) -> None:
    [message] = sent(browser, "message", [cut["unit"] * cut["repeat"]])
    assert message == cut["unit"] * cut["kept"] + cut["end"]


def test_a_text_is_cut_after_its_addresses_are_shortened(browser: Browser) -> None:
    """Otherwise the end of a cut-off address could be a part of its credentials."""
    credentials = "https://anna:" + "secret" * 90 + "@x.example/a/b.js failed"
    assert sent(browser, "message", [credentials]) == ["https://…/b.js failed"]


@pytest.mark.parametrize("unit", ["a", "a:", "https://", "https://x?", ":1", "data:a/", "blob:a%3a", ")", "x@", "\\"])
def test_no_text_keeps_the_page_busy(browser: Browser, unit: str) -> None:
    """The patterns take linear time: a quadratic one would exceed the script timeout."""
    assert len(sent(browser, "stack", [f"https://{unit * 1_000_000}", f"https://x.example/{unit * 1_000_000}!x"])) == 2
