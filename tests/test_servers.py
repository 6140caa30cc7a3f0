"""A test that fails or is interrupted leaves no server behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import PROJECT_DIR, wait_until

STARTS_A_SERVER = """
import os, signal, threading, time
from pathlib import Path
import psutil
from tests.servers import Server

def interrupt_the_start():
    while not psutil.Process().children():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

def test_inner():
    with Server(Path({data_dir!r})) as server:
        server.project = {project!r}
        {body}
"""
# Answers as a started site does. A case starts it in place of the site, unless the site itself must notice something.
STUB = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
IS_KILLED = "server.start(); os.kill(os.getpid(), signal.SIGKILL)"
CASES = {
    "its body fails": ("server.start(); assert False", []),
    "its body is interrupted": ("server.start(); os.kill(os.getpid(), signal.SIGINT)", []),
    "the start is interrupted": ("threading.Thread(target=interrupt_the_start).start(); server.start()", []),
}
if sys.platform == "linux":  # other systems do not notify the server
    CASES |= {
        "its process is killed": (IS_KILLED, []),
        "its process is killed, and xdist runs it": (IS_KILLED, ["-n", "1"]),
    }


def processes_on(data_dir: Path) -> list[psutil.Process]:
    """Return the living processes that were given this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DATA_DIR") == str(data_dir) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:  # it ended, or is somebody else's
            continue
    return found


@pytest.mark.parametrize(("body", "options"), CASES.values(), ids=CASES)
def test_no_server_is_left(data_dir: Path, tmp_path: Path, body: str, options: list[str]) -> None:
    inner = tmp_path / "test_inner.py"
    (tmp_path / "manage.py").write_text(STUB)
    project = PROJECT_DIR if body == IS_KILLED else tmp_path
    inner.write_text(STARTS_A_SERVER.format(data_dir=str(data_dir), project=str(project), body=body))
    options = ["-p", "no:django", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), *options]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, inner],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_DIR)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        assert ended.returncode in (1, 2, -signal.SIGKILL), ended.stdout + ended.stderr
        assert data_dir.with_name("data.log").exists(), f"no server was started:\n{ended.stdout}"
        wait_until(lambda: processes_on(data_dir) == [], f"a server is left:\n{ended.stdout}")
    finally:
        for process in processes_on(data_dir):
            process.kill()
