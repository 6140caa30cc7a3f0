"""One Chromium, one page and one site for all browser tests; a test that breaks one has its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.admin_pages import Visitor, World, prepare
from tests.browser.chromium import find_chromium
from tests.browser.pages import Browser, page_served
from tests.servers import Server, served

ISSUE_URL = "https://tracker.example/new?title={title}&body={body}"


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the front end's files."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="session")
def front_end(page_folder: Path) -> Iterator[str]:
    """Serve the page of the front end at the only origin that the sites allow, so one process at a time can."""
    with page_served(page_folder) as origin:
        yield origin


@pytest.fixture(scope="session")
def make_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Browser]]:
    """Start a Chromium, with preferences of the user's where a test wants some."""
    with ExitStack() as started:

        def start(**preferences: object) -> Browser:
            found = find_chromium()
            assert found
            browser = Browser(*found, tmp_path_factory.mktemp("profile"), **preferences)
            started.callback(browser.driver.quit)
            return browser

        yield start


@pytest.fixture(scope="session")
def _browser(make_browser: Callable[..., Browser], front_end: str) -> Browser:
    return make_browser()


@pytest.fixture
def browser(_browser: Browser) -> Browser:
    """Return the shared Chromium, on a fresh page."""
    _browser.open()
    _browser.console()
    _browser.answers()
    return _browser


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a site that limits nobody's rate."""
    folder: Path = tmp_path_factory.mktemp("site") / "data"
    with served(folder, INGEST_RATE="off", BATCH_RATE="off", READ_RATE="off") as server:
        yield server


@pytest.fixture
def url(site: Server) -> str:
    return f"http://127.0.0.1:{site.port}"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a site that has something to show on every page."""
    settings = {"DEMO": "1", "INGEST_RATE": "off", "PUBLIC_STATS": "1", "ISSUE_URL": ISSUE_URL}
    with served(tmp_path_factory.mktemp("world") / "data", **settings) as server:
        yield prepare(server)


@pytest.fixture(scope="session")
def empty_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a site to which nothing ever came."""
    with served(tmp_path_factory.mktemp("empty") / "data") as server:
        yield World(server, "", {})


@pytest.fixture(scope="module")
def visitor(make_browser: Callable[..., Browser]) -> Visitor:
    """Return a Chromium of the module's own, for pages that ask who it is."""
    return Visitor(make_browser())
