"""`events/sourcemaps/intake.py`: an upload becomes a file, and a process of its own checks it."""

import gzip
import hashlib
import io
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from events.sourcemaps import check, intake
from tests.fixtures.uploaded_maps import MEBIBYTE, source_map


def checked(body: bytes, *, is_gzip: bool = False) -> intake.CheckedMap:
    with intake.spooled([body[:7], body[7:]]) as file:
        return intake.checked(file, is_gzip=is_gzip)


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_map_is_described_and_compressed(is_gzip: bool) -> None:
    body = source_map(sources=["a.ts", "b.ts"], sourcesContent=["é" * 10_000, None])
    found = checked(gzip.compress(body) if is_gzip else body, is_gzip=is_gzip)
    assert (found.digest, found.bytes, found.sources) == (hashlib.sha256(body).hexdigest(), len(body), 2)
    assert zlib.decompress(found.content) == body
    assert len(found.content) < len(body) / 10


def test_a_refusal_arrives_in_words() -> None:
    with pytest.raises(check.InvalidMap, match="This is HTML, not a source map"):
        checked(b"<html>")


def test_objects_that_need_too_much_memory_are_refused() -> None:
    """The limit of the test is stricter than that of the program, which keeps it."""
    ended = subprocess.run(
        [sys.executable, "-m", "events.sourcemaps.check", check.PLAIN],
        input=b'{"version":3,"sources":[' + b"[]," * (3 * MEBIBYTE),
        stdout=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (150 * MEBIBYTE, 150 * MEBIBYTE)),
        check=True,
    )
    assert b"The map needs more than 1,073,741,824 bytes of memory" in ended.stdout


def test_a_check_that_takes_too_long_is_refused() -> None:
    with pytest.raises(check.InvalidMap, match="takes more than 30 s"):
        intake._read(io.BytesIO(), -24)


def test_a_check_that_ends_otherwise_is_no_fault_of_the_map() -> None:
    with pytest.raises(intake.CheckFailed, match="status -9"):
        intake._read(io.BytesIO(), -9)


def test_an_upload_has_no_name_in_any_folder(folder: Path) -> None:
    """So nothing is left of it when the server is killed."""
    with intake.spooled([source_map()]) as file:
        assert list(folder.iterdir()) == []
        assert os.fstat(file.fileno()).st_nlink == 0
        assert intake.checked(file, is_gzip=False)
    assert list(folder.iterdir()) == []


def test_an_upload_that_ends_in_an_error_leaves_nothing(folder: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"{"
        raise ConnectionError

    with pytest.raises(ConnectionError), intake.spooled(chunks()):
        pass
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_map(settings: Any) -> None:
    settings.DATA_DIR = Path("/dev/null/none")
    with pytest.raises(intake.CheckFailed), intake.spooled([b"{}"]):
        pass


def test_the_program_needs_nothing_of_django() -> None:
    """It would take half a second and fifty megabytes more for each map."""
    source = Path(check.__file__).read_text(encoding="utf-8")
    assert "django" not in source.replace("nothing of Django", "")
