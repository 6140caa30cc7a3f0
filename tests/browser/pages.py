"""A front end's page on an origin of its own, in a real Chromium, and what stands between it and the site."""

import http.client
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.servers import PATIENCE_SECONDS, PROJECT_DIR, Server

PAGE_PORT = 5173
ORIGIN = f"http://localhost:{PAGE_PORT}"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# --- the page ----------------------------------------------------------------------------------------------------


class PageFiles(SimpleHTTPRequestHandler):
    """The front end's files; a page whose address says `?connect=ADDRESS` has a strict policy that allows it alone."""

    def end_headers(self) -> None:
        _, _, address = self.path.partition("?connect=")
        if address:
            self.send_header("Content-Security-Policy", f"default-src 'none'; script-src 'self'; connect-src {address}")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *args: Any) -> None: ...


@contextmanager
def page_served(folder: Path) -> Iterator[str]:
    """Serve a page with a copy of the module, as a Vite project would have one; yield its origin."""
    shutil.copy(PROJECT_DIR / "events/static/events/telemetry.js", folder)
    head = '<!doctype html><meta charset="utf-8"><title>A flasher</title><link rel="icon" href="data:,">'
    (folder / "empty.html").write_text('<!doctype html><title>Empty</title><link rel="icon" href="data:,">')
    (folder / "index.html").write_text(head + '<script type="module" src="page.js"></script>')
    (folder / "strict.html").write_text(
        '<!doctype html><title>Strict</title><script type="module" src="page.js"></script>'
    )
    (folder / "page.js").write_text(
        "import { createTelemetry } from './telemetry.js';\n"
        "window.uncaught = [];\n"
        "window.policy = [];\n"
        "addEventListener('unhandledrejection', ({ reason }) => window.uncaught.push(typeof reason));\n"
        "addEventListener('error', ({ message }) => window.uncaught.push(message));\n"
        "addEventListener('securitypolicyviolation', ({ blockedURI }) => window.policy.push(blockedURI));\n"
        # Chromium hides what code from the test itself throws, so the page has to.
        "const nasty = () => ({ get message() { throw new Error('from a getter'); } });\n"
        "window.throwLater = (message) => setTimeout(() => {\n"
        "  throw message === 'nasty' ? nasty() : new TypeError(message);\n"
        "});\n"
        "const bare = () => Object.create(null);\n"
        "const reasons = { error: () => new RangeError('rejected'), nothing() {}, bare, nasty };\n"
        "window.rejectLater = (reason) => setTimeout(() => { Promise.reject(reasons[reason]()); });\n"
        "window.createTelemetry = createTelemetry;\n"
    )
    with ThreadingHTTPServer(("127.0.0.1", PAGE_PORT), partial(PageFiles, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield ORIGIN
        finally:
            server.shutdown()
            thread.join()


class Browser:
    """One Chromium with a profile of its own; what a test runs in it may `await`."""

    def __init__(self, chromium: str, driver: str, profile: Path, **preferences: Any) -> None:
        options = Options()
        options.binary_location = chromium
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        options.add_experimental_option("prefs", preferences)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(executable_path=driver))
        self.driver.set_script_timeout(PATIENCE_SECONDS)

    def open(self, path: str = "/index.html", *, afresh: bool = True) -> None:
        """Open a page of the front end; afresh, nothing is left in its storage."""
        if afresh:
            self.driver.get(f"{ORIGIN}/empty.html")
            self.driver.execute_script("try { localStorage.clear(); } catch { /* forbidden */ }")
        self.driver.get(ORIGIN + path)
        self.run("while (!window.createTelemetry) await new Promise((go) => setTimeout(go, 10));")

    def leave(self) -> None:
        """Leave the page, which hides it for good."""
        self.driver.get("about:blank")

    def run(self, code: str, **words: Any) -> Any:
        """Run an async function's body in the page, with `words` as its variables; return what it returns."""
        names = ", ".join(words)
        answer = self.driver.execute_async_script(
            f"const done = arguments[arguments.length - 1];"
            f"(async ({names}) => {{ {code} }})(...Array.from(arguments).slice(0, -1))"
            f".then((value) => done({{ value }}), (error) => done({{ error: String(error.stack ?? error) }}));",
            *words.values(),
        )
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def go_offline(self, is_offline: bool = True) -> None:
        self.driver.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def block(self, *patterns: str) -> None:
        """Block all addresses of these patterns, as an extension of the browser may; without patterns, none."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": list(patterns)})

    def waiting(self) -> list[dict[str, Any]]:
        """Return the events in the page's storage, oldest first."""
        texts = self.run(
            "return Object.keys(localStorage).filter((key) => key.startsWith('telemetry ')).sort()"
            ".map((key) => localStorage.getItem(key).replace(/^!/, ''));"  # without the mark of a try
        )
        return [json.loads(text) for text in texts]

    def console(self) -> list[str]:
        """Return what the console has said since the last look."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def answers(self) -> list[tuple[str, str, int, dict[str, str]]]:
        """Return method, address, status and headers of every answer since the last look, preflights included."""
        asked: dict[str, tuple[str, str]] = {}
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            parameters = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                request = parameters["request"]
                asked[parameters["requestId"]] = (request["method"], request["url"])
            elif message["method"] == "Network.responseReceived":
                response = parameters["response"]
                headers = {name.lower(): value for name, value in response["headers"].items()}
                found.append((parameters["requestId"], response["status"], headers))
        return [(*asked[key], status, headers) for key, status, headers in found if key in asked]


# --- the site ----------------------------------------------------------------------------------------------------


def rows(server: Server, model: str) -> list[dict[str, Any]]:
    """Return the stored events of one model by the client's clock, as another process sees them."""
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=PATIENCE_SECONDS)) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM telemetry_events WHERE model = ? ORDER BY occurred_at", [model])
        return [dict(row) for row in found]


@contextmanager
def database_locked(server: Server) -> Iterator[None]:
    """Hold the write lock of the site's database, as a backup that hangs would."""
    database = sqlite3.connect(server.data_dir / "telemetry.sqlite3", isolation_level=None, timeout=PATIENCE_SECONDS)
    with closing(database):
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


class Answered(NamedTuple):
    """A POST and its answer; `port` is the server that the gate led to."""

    port: int
    path: str
    status: int
    body: str
    answer: str


class Gate(ThreadingHTTPServer):
    """A proxy before the site, with a body limit of its own; it remembers what came."""

    daemon_threads = True

    def __init__(self, site_port: int, max_body: int, port: int) -> None:
        super().__init__(("127.0.0.1", port), GateHandler)
        self.site_port = site_port
        self.max_body = max_body
        self.loses_answers = 0  # how many answers to a POST never arrive
        self.seen: list[tuple[str, str, str, str]] = []  # method, path, media type, body
        self.answered: list[Answered] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(body) for method, seen, _, body in self.seen if seen == path and method == "POST"]


class GateHandler(BaseHTTPRequestHandler):
    server: Gate

    def _pass_on(self) -> None:
        gate = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        gate.seen.append((self.command, self.path, self.headers.get("Content-Type", ""), body.decode()))
        is_too_large = len(body) > gate.max_body
        try:
            # Where the gate refuses, the site is asked for the headers that let a browser read the refusal.
            status, headers, text = (
                self._ask("GET", "/health", None) if is_too_large else self._ask(self.command, self.path, body)
            )
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # the site is gone
            return
        if self.command == "POST" and gate.loses_answers:
            gate.loses_answers -= 1
            self.close_connection = True
            return
        if is_too_large:
            status, text = 413, b'{"ok": false, "error": "Too large for the gate"}'
        if self.command == "POST":
            gate.answered.append(Answered(gate.site_port, self.path, status, body.decode(), text.decode()))
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.site_port, timeout=PATIENCE_SECONDS)) as site:
            site.request(method, path, body or None, headers)
            answer = site.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    do_GET = do_POST = do_OPTIONS = _pass_on  # noqa: N815

    def log_message(self, *args: Any) -> None: ...


@contextmanager
def gate_before(site_port: int, *, max_body: int = 1_048_576, port: int = 0) -> Iterator[Gate]:
    with Gate(site_port, max_body, port) as gate:
        thread = threading.Thread(target=gate.serve_forever)
        thread.start()
        try:
            yield gate
        finally:  # or the thread of a test that failed would keep the run from its end
            gate.shutdown()
            thread.join()
