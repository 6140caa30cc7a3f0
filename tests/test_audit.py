"""`make audit`: what is known about the pinned versions, asked of a stand-in; and what it says with nobody to ask."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.conf import settings

from tests.servers import free_port
from tests.test_requirements import FILES, pins


class StandIn(BaseHTTPRequestHandler):
    """Knows of one vulnerability, in the version that the test says."""

    bad: tuple[str, str] | None = None
    answer: bytes | None = None
    asked: list[Any] = []

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        StandIn.asked = [(query["package"]["name"], query["version"]) for query in queries]
        results = [{"vulns": [{"id": "GHSA-x"}]} if pin == StandIn.bad else {} for pin in StandIn.asked]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"results": results}).encode() if StandIn.answer is None else StandIn.answer)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def stand_in() -> Iterator[str]:
    StandIn.bad = StandIn.answer = None
    with HTTPServer(("127.0.0.1", 0), StandIn) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def audit(url: str, **environment: str) -> tuple[int, str]:
    process = subprocess.run(
        [sys.executable, ".ci/audit.py", *FILES],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], "AUDIT_URL": url} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


def test_every_pinned_version_is_asked_about(stand_in: str) -> None:
    code, output = audit(stand_in)
    wanted = {(name, version) for file in FILES for name, versions in pins(file).items() for version in versions}
    assert set(StandIn.asked) == wanted
    assert (code, output) == (0, f"audit: {len(wanted)} versions checked, 0 with a known vulnerability.\n")


def test_a_known_vulnerability_fails_the_gate(stand_in: str) -> None:
    (version,) = pins("requirements.txt")["django"]
    StandIn.bad = ("django", version)
    code, output = audit(stand_in)
    assert code == 1
    assert f"audit: django=={version}: GHSA-x" in output


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"results": []}', b'{"results": 1}', b"<html>"])
def test_an_answer_that_is_none_is_not_taken_for_a_check(stand_in: str, answer: bytes) -> None:
    StandIn.answer = answer
    code, output = audit(stand_in)
    assert code == 0
    assert output.startswith("audit: NOT CHECKED: ")
    assert "checked," not in output


def test_without_a_network_it_says_that_it_could_not_check() -> None:
    code, output = audit(f"http://127.0.0.1:{free_port()}/")
    assert code == 0
    assert output.startswith("audit: NOT CHECKED: the database of vulnerabilities gave no answer")


def test_ci_asks_nobody(stand_in: str) -> None:
    StandIn.asked = []
    assert audit(stand_in, CI="true") == (0, "audit: NOT CHECKED: CI asks nobody. `make audit` does.\n")
    assert StandIn.asked == []
