"""The sets of failures form the same groups when the client in a browser has reported them.

`make grouping` prints the table.
"""

from typing import Any

import pytest

from events.ingest import contract
from tests.browser.pages import Browser
from tests.grouping.captured import Groups, captured
from tests.grouping.sets import Event, read_sets, result_of, table

pytestmark = pytest.mark.needs_chromium

NOWHERE = "http://127.0.0.1:9"  # nothing listens there, so the events stay in the page's storage
REPORT = """
const telemetry = createTelemetry({ baseUrl: nowhere, appVersion: 'dev', context: { model: 'UV-5RM' } });
for (const { event_type, message, error_name, stack } of events) {
  telemetry.reportError({ eventType: event_type, message, errorName: error_name, stack });
}
"""


def reported(browser: Browser, events: list[Event]) -> list[Event]:
    """Report the events in a page; return the payloads that the site would receive."""
    browser.open()
    browser.run(REPORT, nowhere=NOWHERE, events=events)
    rows = [contract.parse(payload, received_at_ms=0) for payload in browser.waiting()]
    assert len(rows) == len(events)
    return [row._asdict() for row in rows]


def test_the_client_leaves_every_set_as_expected(browser: Browser) -> None:
    results = []
    for failure_set in read_sets():
        of_client = [event for event in failure_set["events"] if event["via"] == "client"]
        sent = iter(reported(browser, of_client) if of_client else [])

        def report(event: Event, sent: Any = sent) -> Event:
            return dict(next(sent)) if event["via"] == "client" else event

        results.append(result_of(failure_set, report))
    print(f"\n{table(results)}\n\nCaptured in browsers\n{Groups(captured()).table()}")  # noqa: T201
    assert [str(result) for result in results if not result.is_expected] == []
