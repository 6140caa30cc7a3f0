"""Starts: in a folder that other users may read, with every form of HOST, and with weak secrets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import show
from tests.servers import Server, served


@pytest.fixture
def _umask_that_withholds_nothing() -> Iterator[None]:
    usual = os.umask(0)
    yield
    os.umask(usual)


@pytest.mark.fault("files that others may open")
@pytest.mark.usefixtures("_umask_that_withholds_nothing")
def test_a_start_after_an_earlier_release(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o755)
    assert Server(data_dir).command("migrate", "--verbosity=0").returncode == 0
    for file in data_dir.iterdir():
        file.chmod(0o644)
    opened = len(list(data_dir.iterdir()))
    with served(data_dir) as server:
        left = [path.name for path in data_dir.iterdir() if path.stat().st_mode & 0o077]
        assert left == []
        assert "telemetry_site.W003" in server.log.read_text()  # the site does not change the folder itself
    figures = {"files of mode 0644": opened, "left": len(left)}
    show(request, figures, f"{opened} files", ("left",))


HOSTS = {
    "localhost": "127.0.0.1",
    "LOCALHOST": "127.0.0.1",
    "0.0.0.0": "127.0.0.1",
    "127.0.0.2": "127.0.0.2",
    "::1": "::1",
    "[::1]": "::1",
    "0:0:0:0:0:0:0:1": "::1",
    "::": "::1",
    "::ffff:127.0.0.1": "127.0.0.1",
}
REFUSED_HOSTS = [
    "no-such-host.invalid",
    "x" * 70,
    "192.0.2.1",
    "fe80::1%lo",
    "a..b",
    "127.0.0.1:80",
    "http://localhost",
]


@pytest.mark.fault("ways to write a host")
def test_every_host_is_served_or_refused_in_one_line(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for number, (host, address) in enumerate(HOSTS.items()):
        with Server(tmp_path / f"served-{number}", HOST=host) as server:
            server.address = address
            server.start()
    for number, host in enumerate(REFUSED_HOSTS):
        done = Server(tmp_path / f"refused-{number}", HOST=host).command("serve")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "HOST" in done.stderr
    figures = {"served": len(HOSTS), "refused in words": len(REFUSED_HOSTS)}
    show(request, figures, f"{len(HOSTS) + len(REFUSED_HOSTS)} values of HOST", tuple(figures))


WEAK = [
    *({"ADMIN_PASSWORD": password} for password in ("tiny", "password123", "administrator", "1234567890", "admin")),
    *({"ADMIN_TOKEN": token} for token in ("x", "x" * 23, "with a space " * 3, "\u00fc" * 30)),
]


@pytest.mark.fault("secrets that can be guessed")
def test_a_start_with_a_weak_secret_is_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for number, secret in enumerate(WEAK):
        [(name, value)] = secret.items()
        done = Server(tmp_path / f"{number}", **secret).command("serve")
        assert done.returncode == 1
        assert name in done.stderr
        assert "Traceback" not in done.stderr
        assert len(value) == 1 or value not in done.stderr
    show(request, {"refused": len(WEAK)}, f"{len(WEAK)} weak secrets", "all refused, none shown")
