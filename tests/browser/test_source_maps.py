"""A bug of a real build: its stack is minified, curl uploads the source map, and the page shows the line of the source.

The next build moves the line by 40 lines and renames everything: the group stays the same, and the line is right.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

from tests import npm
from tests.browser.chromium import find_chromium
from tests.browser.pages import FLAGS
from tests.servers import PATIENCE_SECONDS, PROJECT_DIR, Server, free_port, served, wait_until

pytestmark = [pytest.mark.needs_npm, pytest.mark.needs_chromium]

SOURCE = PROJECT_DIR / "tests/fixtures/pretend_flasher"
FAULT = 'throw new ProtocolError("No ACK for block 0x"'
[FAULT_LINE] = [
    number
    for number, line in enumerate((SOURCE / "src/protocol.ts").read_text().splitlines(), start=1)
    if FAULT in line
]
ADDED_LINES = 40
VERSIONS = {"19afc18": 0, "2c87cac": ADDED_LINES}
FIREFOX_PREFERENCES = {
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.server": "",
}


class BuiltPage(NamedTuple):
    """A build of the page, served at an address of its own."""

    folder: Path
    url: str

    @property
    def map(self) -> Path:
        [found] = (self.folder / "assets").glob("*.js.map")
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    ports = [free_port(), free_port()]
    origins = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    with served(tmp_path_factory.mktemp("site") / "data", ALLOWED_ORIGINS=origins, ADMIN_TOKEN="a" * 32) as server:
        server.page_ports = ports  # type: ignore[attr-defined]
        yield server


@pytest.fixture(scope="module")
def builds(site: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BuiltPage]]:
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(SOURCE, project, dirs_exist_ok=True)
    shutil.copy(PROJECT_DIR / "events/static/events/telemetry.js", project)
    npm.install(project, npm.VITE)
    with ExitStack() as started:
        found = {}
        for (version, lines), port in zip(VERSIONS.items(), site.page_ports, strict=True):
            add_code(project, lines)
            command = ["node", "build.mjs", version, f"http://127.0.0.1:{site.port}"]
            subprocess.run(command, cwd=project, check=True, timeout=PATIENCE_SECONDS)
            folder = (project / "dist").rename(project / version)
            pages = ThreadingHTTPServer(("127.0.0.1", port), partial(QuietFiles, directory=str(folder)))
            started.callback(pages.server_close)
            started.callback(pages.shutdown)
            Thread(target=pages.serve_forever, daemon=True).start()
            found[version] = BuiltPage(folder, f"http://127.0.0.1:{port}/?flash")
        yield found


def add_code(project: Path, lines: int) -> None:
    """Put code of so many lines before the protocol. Its variables make the minifier choose other names everywhere."""
    if lines:
        protocol, main = project / "src/protocol.ts", project / "src/main.ts"
        added = [f"export const added{number} = (port: object) => [{number}, port];" for number in range(lines)]
        protocol.write_text("\n".join([*added, protocol.read_text()]))
        main.write_text(
            f'{main.read_text()}import * as all from "./protocol";\nObject.assign(globalThis, {{ all }});\n'
        )


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None: ...


def command_of(browser: str, profile: Path, url: str) -> list[str]:
    """Return the command that opens a page in a new profile, without a window."""
    if browser == "chromium":
        chromium = find_chromium()
        assert chromium
        return [chromium[0], *FLAGS, f"--user-data-dir={profile}", url]
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in FIREFOX_PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    return [shutil.which("firefox-esr") or "firefox", "--headless", "--no-remote", "--profile", str(profile), url]


def get(site: Server, path: str) -> Any:
    return json.loads(curl(site, path))


def curl(site: Server, path: str, *args: str) -> str:
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "-H", f"Authorization: Bearer {'a' * 32}"]
    run = subprocess.run(
        [*command, *args, f"http://127.0.0.1:{site.port}{path}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def failure_from(browser: str, url: str, site: Server, version: str, profile: Path) -> dict[str, Any]:
    """Let a browser open the page of a build until its failure is stored; return the failure."""
    path = f"/failures?version={version}"
    before = len(get(site, path)["results"])
    process = subprocess.Popen(
        command_of(browser, profile, url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={"PATH": os.environ["PATH"], "HOME": str(profile), "LANG": "C.UTF-8"},
    )  # fmt: skip
    try:
        wait_until(lambda: len(get(site, path)["results"]) > before, f"a failure from {browser}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return dict(get(site, path)["results"][0])


def upload(site: Server, build: BuiltPage, version: str) -> Any:
    return json.loads(curl(site, f"/sourcemaps/{version}/{build.map.name}", "-T", str(build.map)))


def page_of(site: Server, failure_id: str) -> str:
    """Return the page of a failure as text without tags."""
    status, body = site.get(f"/admin/events/recentfailure/{failure_id}/", Cookie=site.sign_in())
    assert status == 200
    return unescape(re.sub(r"<[^>]+>", "", body.decode()))


def groups_of(site: Server, message: str) -> set[str]:
    with closing(sqlite3.connect(site.data_dir / "telemetry.sqlite3")) as database:
        rows = database.execute("SELECT fingerprint FROM telemetry_events WHERE message LIKE ?", [message])
        return {fingerprint for (fingerprint,) in rows}


@pytest.mark.parametrize("browser", ["chromium", pytest.param("firefox", marks=pytest.mark.needs_firefox)])
def test_the_page_shows_the_line_of_the_source_in_two_builds(
    browser: str, site: Server, builds: dict[str, BuiltPage], tmp_path: Path
) -> None:
    raw = set()
    for version, lines in VERSIONS.items():
        profile = tmp_path / version
        profile.mkdir()
        failure = failure_from(browser, builds[version].url, site, version, profile)
        assert "protocol.ts" not in failure["stack"]
        assert re.search(r"index-[\w-]{8}\.js:\d+:\d+", failure["stack"])
        answer = upload(site, builds[version], version)
        assert (answer["ok"], answer["version"]) == (True, version)
        [again] = [item for item in get(site, "/failures")["results"] if item["id"] == failure["id"]]
        # Firefox has the constructor of the error on top.
        top = next(frame for frame in again["frames"] if frame["in_app"] and frame["function"] != "ProtocolError")
        line = FAULT_LINE + lines
        assert (top["function"], top["file"], top["line"], top["unresolved"]) == (
            "writeBlock", "src/protocol.ts", line, None,
        )  # fmt: skip
        context = dict(map(tuple, top["context"]))
        assert FAULT in context[line]
        assert sorted(context) == list(range(line - 3, line + 4))
        raw.add(top["raw"])
        page = page_of(site, failure["id"])
        assert f"src/protocol.ts:{line}:{top['column']}" in page
        assert FAULT in page
    assert len(raw) == len(VERSIONS), "the second build has the same names and positions"
    assert len(groups_of(site, "No ACK for block%")) == 1
