"""With `environment: true`, events tell the browser and the system, and nothing has the user agent string."""

import re
from typing import Any

import pytest

from tests.browser.pages import Browser, rows
from tests.servers import served, wait_until

pytestmark = pytest.mark.needs_chromium

NOWHERE = "http://127.0.0.1:9"  # nothing listens there, so every event stays in the queue
MAC, WINDOWS = "Macintosh; Intel Mac OS X 10_15_7", "Windows NT 10.0; Win64; x64"
WEBKIT, GECKO = "AppleWebKit/537.36 (KHTML, like Gecko)", "Gecko/20100101"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPAD = f"Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko)"


def hints(platform: str, *brands: str) -> dict[str, Any]:
    named = [name.rsplit(" ", 1) for name in brands]
    return {"platform": platform, "brands": [{"brand": brand, "version": version} for brand, version in named]}


# The user agent string, the hints, whether the screen is a touch screen, and what the events tell.
ENVIRONMENTS: list[tuple[str, dict[str, Any] | None, bool, str, str]] = [
    ("x", hints("Windows", "Not A;Brand 99", "Chromium 139", "Google Chrome 139"), False, "Chrome 139", "Windows"),
    ("x", hints("macOS", "Google Chrome 139", "Not/A)Brand 8", "Chromium 139"), False, "Chrome 139", "macOS"),
    ("x", hints("Linux", "Chromium 139", "Not_A Brand 24"), False, "Chromium 139", "Linux"),
    ("x", hints("Windows", "Microsoft Edge 139", "Chromium 139", "Not;A=Brand 8"), False, "Edge 139", "Windows"),
    ("x", hints("Windows", "Chromium 138", "Opera 121", "Not)A;Brand 8"), False, "Opera 121", "Windows"),
    ("x", hints("Linux", "Not?A_Brand 24", "Chromium 139", "Brave 139"), False, "Brave 139", "Linux"),
    ("x", hints("Chrome OS", "Chromium 139", "Google Chrome 139"), True, "Chrome 139", "ChromeOS"),
    ("x", hints("Chromium OS", "Chromium 139"), False, "Chromium 139", "ChromeOS"),
    ("x", hints("Android", "Samsung Internet 28", "Chromium 130"), True, "Samsung Internet 28", "Android"),
    ("x", hints("Fuchsia", "Chromium 139.0.1"), False, "Chromium 139", "other"),
    (f"Mozilla/5.0 (X11; Linux) {WEBKIT} Chrome/139.0.0.0", hints("", "Not A;Brand 9"), False, "Chrome 139", "Linux"),
    (f"Mozilla/5.0 ({WINDOWS}) {WEBKIT} Chrome/139.0.0.0 Safari/537.36", None, False, "Chrome 139", "Windows"),
    (f"Mozilla/5.0 ({WINDOWS}) {WEBKIT} Chrome/139.0.0.0 Safari/537.36 Edg/139.0", None, False, "Edge 139", "Windows"),
    (f"Mozilla/5.0 ({WINDOWS}) {WEBKIT} Chrome/138.0.0.0 Safari/537.36 OPR/121.0", None, False, "Opera 121", "Windows"),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/139.0.0.0", None, False, "Chrome 139", "ChromeOS"),
    (f"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) {GECKO} Firefox/142.0", None, False, "Firefox 142", "Linux"),
    ("Mozilla/5.0 (Android 15; Mobile; rv:142.0) Gecko/142.0 Firefox/142.0", None, True, "Firefox 142", "Android"),
    (f"Mozilla/5.0 ({MAC}; rv:142.0) {GECKO} Firefox/142.0", None, False, "Firefox 142", "macOS"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} SamsungBrowser/28.0 Chrome/130.0", None, True, "Samsung Internet 28",
     "Android"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/139.0 Mobile EdgA/139.0", None, True, "Edge 139",
     "Android"),
    (f"{IPAD} Version/18.5 Safari/605.1.15", None, False, "Safari 18", "macOS"),
    (f"{IPAD} Version/18.5 Safari/605.1.15", None, True, "Safari 18", "iOS"),
    (f"{IPHONE} Version/18.5 Mobile/15E148 Safari/604.1", None, True, "Safari 18", "iOS"),
    (f"{IPHONE} CriOS/139.0.7258.76 Mobile/15E148 Safari/604.1", None, True, "Chrome 139", "iOS"),
    (f"{IPHONE} FxiOS/142.0 Mobile/15E148 Safari/605.1.15", None, True, "Firefox 142", "iOS"),
    (f"{IPHONE} Version/18.0 EdgiOS/139.0 Mobile/15E148 Safari/604.1", None, True, "Edge 139", "iOS"),
    (f"{IPAD} CriOS/139.0 Version/11.1.1 Safari/605.1.15", None, True, "Chrome 139", "iOS"),
    ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26)", None, False, "other", "other"),
    ("", None, False, "other", "other"),
]  # fmt: skip

REPORT = """
    const told = [];
    for (const [agent, hints, isTouch] of environments) {
      const fake = { userAgent: agent, userAgentData: hints ?? undefined, maxTouchPoints: isTouch ? 5 : 0 };
      for (const [name, value] of Object.entries(fake)) {
        Object.defineProperty(navigator, name, { value, configurable: true });
      }
      localStorage.clear();
      createTelemetry({ baseUrl: nowhere, appVersion: 'dev', environment: true }).reportError({ message: 'a' });
      const key = Object.keys(localStorage).find((name) => name.startsWith('telemetry ') && name.includes('Z f'));
      told.push(JSON.parse(localStorage.getItem(key)).metadata_json);
    }
    return told;
"""


def test_browsers_and_systems_are_sent_by_family(browser: Browser) -> None:
    told = browser.run(REPORT, nowhere=NOWHERE, environments=[case[:3] for case in ENVIRONMENTS])
    assert told == [f'{{"browser":"{name}","os":"{system}"}}' for _, _, _, name, system in ENVIRONMENTS]


@pytest.mark.parametrize(
    ("options", "report", "expected"),
    [
        ("", "{}", "{}"),
        ("environment: false", "{}", "{}"),
        ("environment: true, context: { metadata: { browser: 'mine' } }", "{}", '{"browser":"mine","os":"Linux"}'),
        ("environment: true", "{ os: 'mine', step: 3 }", '{"os":"mine","step":3,"browser":"Chrome 1"}'),
    ],
)
def test_values_of_the_page_win_and_the_default_is_off(
    browser: Browser, options: str, report: str, expected: str
) -> None:
    browser.run(
        "Object.defineProperty(navigator, 'userAgentData', { configurable: true, value: {"
        " platform: 'Linux', brands: [{ brand: 'Google Chrome', version: '1' }] } });"
        f"createTelemetry({{ baseUrl: nowhere, {options} }}).reportError({{ message: 'a', metadata: {report} }});",
        nowhere=NOWHERE,
    )
    assert [event["metadata_json"] for event in browser.waiting()] == [expected]


def test_a_navigator_that_throws_loses_no_event(browser: Browser) -> None:
    browser.run(
        "Object.defineProperty(navigator, 'userAgentData', { get() { throw new Error('no') }, configurable: true });"
        "createTelemetry({ baseUrl: nowhere, environment: true }).reportError({ message: 'a' });",
        nowhere=NOWHERE,
    )
    assert [event["metadata_json"] for event in browser.waiting()] == ["{}"]


def test_the_user_agent_string_is_nowhere_in_the_database(browser: Browser, tmp_path: Any) -> None:
    folder = tmp_path / "data"
    with served(folder, ALLOWED_ORIGINS="http://localhost:5173") as server:
        agent = browser.run(
            "const telemetry = createTelemetry({ baseUrl, appVersion: 'dev', environment: true });"
            "await telemetry.reportFlashSuccess();"
            "telemetry.reportError(new Error('A failure'));"
            "await telemetry.flush();"
            "return navigator.userAgent;",
            baseUrl=f"http://{server.address}:{server.port}",
        )
        wait_until(lambda: len(rows(server, "unknown")) == 2, "the events did not arrive")
    files = [file for file in folder.rglob("*") if file.is_file()]
    stored = b"".join(file.read_bytes() for file in files)
    assert re.search(rb'\{"browser":"(Headless)?Chrom\w+ \d+","os":"Linux"\}', stored)
    parts = re.findall(r"Mozilla/[\d.]+|AppleWebKit\S*|KHTML|\S*Chrome/\S+|Safari/\S+|X11|x86_64", agent)
    assert len(parts) >= 5
    for part in [agent, *parts]:
        assert part.encode() not in stored, part
