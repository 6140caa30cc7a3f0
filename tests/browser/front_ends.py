"""The builds of the front end, ready to run in a browser: the documented drop-in and the deployed revisions."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests import npm
from tests.browser.pages import Browser
from tests.fixtures.phases import DEPLOYED
from tests.servers import PROJECT_DIR
from tests.test_frontend_examples import write_project

_ENTRY = """
export { telemetry } from "./telemetry";
export { fetchGlobalFlashCount, recordSuccessfulFlashOnce } from "./ui/flashCounter";
export { reportClientError } from "./ui/clientLogReporter";
"""
# One bundle serves all phases: its variables are read from the page, where Vite would write them into the bundle.
_START = """
  window.env = variables;
  const build = await import(`/flasher.js?${Math.random()}`);
  window.build = {
    success: (event) => build.recordSuccessfulFlashOnce(event),
    failure: (event) => build.reportClientError(event),
    badge: () => build.fetchGlobalFlashCount().catch(() => null),
    settle: () => build.telemetry.flush(),
  };
"""
_START_DEPLOYED = """
  const { deployedBuild } = await import('/deployed_clients.js');
  window.build = { ...deployedBuild(revision, addresses), settle() {} };
"""


def bundle(folder: Path, scratch: Path) -> None:
    """Put the bundled drop-in of docs/frontend.md and the deployed builds into the folder of a page."""
    bundler = npm.install(scratch, npm.ESBUILD) / "esbuild"
    write_project(scratch, {"web/src/main.ts": _ENTRY})
    subprocess.run(
        [
            *(bundler, scratch / "web/src/main.ts", "--bundle", "--minify", "--format=esm"),
            *("--define:import.meta.env=window.env", f"--outfile={folder / 'flasher.js'}"),
        ],
        check=True,
        capture_output=True,
    )
    shutil.copy(PROJECT_DIR / "tests/fixtures/deployed_clients.js", folder)


def start(
    browser: Browser, build: str, *, base: str, log: str, counter: str, unified: str, afresh: bool = True
) -> None:
    """Open a page that runs a build with these addresses; `window.build` has its calls."""
    browser.open("/index.html", afresh=afresh)
    if build in DEPLOYED:
        addresses = {"base": base, "log": log, "counter": counter, "unified": unified}
        browser.run(_START_DEPLOYED, revision=build, addresses=addresses)
        return
    variables = {
        "VITE_TELEMETRY_BASE_URL": base,
        "VITE_LOG_INGEST_URL": f"{log}/client-log" if log else "",
        "VITE_COUNTER_URL": counter,
        "VITE_TELEMETRY_UNIFIED": unified,
        "VITE_APP_VERSION": "newbld1",
    }
    browser.run(_START, variables=variables)


def flash(browser: Browser, session_id: str) -> None:
    """Let the running build report a success."""
    details: dict[str, Any] = {"sessionId": session_id, "model": "UV-5RM", "writeMode": True, "connected": True}
    browser.run("await build.success(event); await build.settle();", event=details | {"logLines": ["written"]})


def fail(browser: Browser, message: str) -> None:
    """Let the running build report a failure."""
    details: dict[str, Any] = {
        "eventType": "flash_error",
        "message": message,
        "errorName": "ProtocolError",
        "stack": "ProtocolError: No ACK\n    at writeBlock (uploader.ts:310:13)",
        "model": "UV-5RM",
        "writeMode": True,
        "connected": True,
        "logLines": ["opened", "wrote 40 %"],
    }
    browser.run("await build.failure(event); await build.settle();", event=details)


def badge(browser: Browser) -> int | None:
    """Return the flash count that the running build shows; None where it shows none."""
    shown = browser.run("return build.badge();")
    return shown if shown is None else int(shown)
