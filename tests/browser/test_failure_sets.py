"""The sets of failures form the same groups when the client in a browser has reported them.

`make grouping` prints the table.
"""

import pytest

from events.ingest import contract
from tests.browser.pages import Browser
from tests.grouping.captured import Groups, captured
from tests.grouping.sets import Event, read_sets, result_of, table

pytestmark = pytest.mark.needs_chromium

NOWHERE = "http://127.0.0.1:9"  # nothing listens there, so the events stay in the page's storage
REPORT = """
const telemetry = createTelemetry({ baseUrl: nowhere, appVersion: 'dev', context: { model: 'UV-5RM' } });
const { event_type, message, error_name, stack } = event;
telemetry.reportError({ eventType: event_type, message, errorName: error_name, stack });
"""


def reported(browser: Browser, event: Event) -> Event:
    """Report an event in a new page, which has not seen it before; return it as the site would receive it."""
    browser.open()
    browser.run(REPORT, nowhere=NOWHERE, event=event)
    [payload] = browser.waiting()
    return contract.parse(payload, received_at_ms=0)._asdict()


def test_the_client_leaves_every_set_as_expected(browser: Browser) -> None:

    def report(event: Event) -> Event:
        return reported(browser, event) if event["via"] == "client" else event

    results = [result_of(failure_set, report) for failure_set in read_sets()]
    print(f"\n{table(results)}\n\nCaptured in browsers\n{Groups(captured()).table()}")  # noqa: T201
    assert [str(result) for result in results if not result.is_expected] == []
