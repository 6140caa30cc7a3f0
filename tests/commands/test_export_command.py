"""`manage.py export`: a stored export on stdout, or as a file that is complete or does not exist."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PATIENCE_SECONDS, Server

MAKE_ROWS = """
import django; django.setup()
from events import clock
from events.models import NamedExport
from tests.conftest import make_event, success
for number in range(3):
    make_event(message=f"=message {number}")
for name, changes in {"weekly": {}, "book": {"format": "xlsx"}, "gone": {"list_key": "nothing"}}.items():
    values = {"list_key": "failures", "filters": "", "columns": ["message", "facet_gone"], "format": "csv"}
    NamedExport.objects.create(name=name, created_at_ms=1, created_by_name="x", **(values | changes))
"""
ROWS = b'"message","facet_gone"\r\n' + b"".join(b'"\'=message %d",""\r\n' % number for number in (2, 1, 0))


@pytest.fixture(scope="module")
def site(make_data_dir: Callable[[], Path]) -> Server:
    server = Server(make_data_dir())
    made = subprocess.run([sys.executable, "-c", MAKE_ROWS], env=server.env, cwd=server.project, capture_output=True)
    assert made.returncode == 0, made.stderr
    return server


def export(site: Server, *args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "manage.py", "export", *args], env=site.env, cwd=site.project, timeout=PATIENCE_SECONDS,
        check=False, **({"capture_output": True} | options),
    )  # fmt: skip


def test_rows_go_to_stdout_and_everything_else_to_stderr(site: Server, tmp_path: Path) -> None:
    ended = export(site, "weekly")
    assert (ended.returncode, ended.stdout) == (0, b"\xef\xbb\xbf" + ROWS)
    assert ended.stderr.decode().splitlines() == [
        "The column facet_gone no longer exists, so its cells are empty. Add the name to FACETS to get it back.",
        "100 %: 3 of 3",
        f"3 rows, {len(ROWS) + 3} bytes",
    ]
    path = tmp_path / "out.csv"
    path.write_bytes(b"the file of yesterday")
    ended = export(site, "weekly", "--quiet", "--output", str(path))
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (0, b"", 1)
    assert path.read_bytes() == b"\xef\xbb\xbf" + ROWS
    assert os.listdir(tmp_path) == ["out.csv"]


def test_what_cannot_be_done_is_said(site: Server) -> None:
    cases = {
        (): "Name a stored export. --list shows them.",
        ("nothing",): "There is no stored export nothing. --list shows them.",
        ("gone",): "The export gone can no longer be made. list: This site has no list nothing.",
        ("weekly", "--output", "."): ". is a folder. Name a file in it.",
        ("weekly", "--output", "no/such/folder"): "The export ended early: [Errno 2] No such file or directory",
    }
    refusals = site.commands(*(("export", *args) for args in cases))
    for (args, words), refused in zip(cases.items(), refusals, strict=True):
        assert (args, refused.returncode, refused.stdout) == (args, 1, "")
        assert words in refused.stderr


def test_the_list(site: Server) -> None:
    assert export(site, "--list").stdout.decode().splitlines() == [
        "book  Recent failures  xlsx",
        "gone  nothing  csv",
        "weekly  Recent failures  csv",
    ]


SLOW = """
import sys, time
from events.reports.exports import text_files
real = text_files.encoded
def encoded(text):
    if "ready" not in globals():
        globals()["ready"] = True
        return real(text)
    print("writing", file=sys.stderr, flush=True)
    time.sleep(600)
text_files.encoded = encoded
import manage
manage.main()
"""


@pytest.mark.parametrize(
    ("number", "code", "is_removed"),
    [(signal.SIGTERM, 143, True), (signal.SIGINT, 130, True), (signal.SIGKILL, -9, False)],
)
def test_a_killed_export_leaves_the_old_file(
    site: Server, tmp_path: Path, number: signal.Signals, code: int, is_removed: bool
) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"the file of yesterday")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, "export", "weekly", "--quiet", "--output", str(path)],
        env=site.env, cwd=site.project, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while b"writing" not in (line := process.stderr.readline()):
            assert line
        assert len(os.listdir(tmp_path)) == 2
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == code
    assert path.read_bytes() == b"the file of yesterday"
    assert (os.listdir(tmp_path) == ["out.csv"]) is is_removed


def test_a_reader_that_stops_ends_the_command_quietly(site: Server) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = export(site, "weekly", "--quiet", stdout=write_end, stderr=subprocess.PIPE, capture_output=False)
    os.close(write_end)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (141, 1)
