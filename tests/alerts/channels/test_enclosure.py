"""The audit hook that limits the sending process. Each test starts a process, because a hook cannot be removed."""

import json
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings

from tests.alerts.channels.listeners import hook

# A resolver that a stranger controls: each name has the addresses that the test says, one after the other.
HOSTILE_RESOLVER = """
import json, socket, sys
answers, order = json.load(sys.stdin)
def resolve(host, port, *args, **kwargs):
    found = answers[host]
    address = found.pop(0) if len(found) > 1 else found[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = (address, port, 0, 0) if family == socket.AF_INET6 else (address, port)
    return [(family, socket.SOCK_STREAM, 6, "", place)]
from events.alerts.channels import program
from events.alerts.channels.enclosure import Enclosure
enclosure = Enclosure([])
enclosure.close()
socket.getaddrinfo = resolve
for name in list(answers):
    enclosure.refused_addresses.clear()
    try:
        program.run(order | {"url": f"json://{name}/hook"}, enclosure)
    except program.Problem as problem:
        print(name, enclosure.refused_addresses, problem)
"""
ORDER = {"subject": "[new] x", "text": "x", "schemes": ["json"], "allowed": [], "site_url": "http://localhost:8000"}


def in_process(code: str, *, text: str = "") -> str:
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, cwd=settings.BASE_DIR, check=True)
    return ended.stdout


def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    with hook() as listener:
        addresses: dict[str, list[str]] = {
            "loopback.example": ["127.0.0.1"],
            "metadata.example": ["169.254.169.254"],
            "mapped.example": ["::ffff:127.0.0.1"],
            "mapped-metadata.example": ["::ffff:169.254.169.254"],
            "lan.example": ["192.168.0.10"],
            "six.example": ["::1"],
            "nat64.example": ["64:ff9b::7f00:1"],
            "any.example": ["0.0.0.0"],
        }
        lines = in_process(HOSTILE_RESOLVER, text=json.dumps([addresses, ORDER])).splitlines()
    assert [line.split()[0] for line in lines] == list(addresses)
    for line, (address,) in zip(lines, addresses.values(), strict=True):
        assert f"['{address} (port 80)'] {address} (port 80) is not a public address" in line
    assert listener.requests == []


def attempt(statement: str) -> str:
    """Return the error of a statement in a process with the hook, "" if there is none."""
    code = (
        "import os, socket, subprocess, sys\n"
        "from events.alerts.channels.enclosure import Enclosure\n"
        "Enclosure([]).close()\n"
        f"try:\n    {statement}\n"
        "except Exception as error:\n    sys.stdout.write(f'{type(error).__name__}: {error}')"
    )
    return in_process(code)


@pytest.mark.parametrize(
    "statement",
    [
        "socket.create_connection(('127.0.0.1', 1))",
        "socket.socket().connect(('localhost', 1))",
        "socket.socket().connect_ex(('127.1', 1))",
        "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('169.254.169.254', 80))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('10.0.0.1', 53))",
    ],
)
def test_no_private_address_is_reached(statement: str) -> None:
    assert attempt(statement) == "Refused: no private addresses"


@pytest.mark.parametrize(
    "statement",
    [
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.fork()",
    ],
)
def test_no_program_is_started(statement: str) -> None:
    assert attempt(statement) == "Refused: no programs"


@pytest.mark.parametrize(
    "statement",
    [
        "open('/etc/passwd')",
        "os.open('/proc/self/environ', os.O_RDONLY)",
        "open('manage.py')",
        "open(sys.prefix + '/x', 'w')",
        "os.open(sys.prefix + '/x', os.O_CREAT)",
    ],
)
def test_no_file_of_the_machine_is_read_or_written(statement: str) -> None:
    assert attempt(statement) == "Refused: no files"


def test_a_path_that_leaves_the_packages_is_resolved_first() -> None:
    assert attempt("open(sys.prefix + '/..' * 20 + '/etc/passwd')") == "Refused: no files"


def test_modules_can_still_be_imported() -> None:
    assert attempt("import email.mime.application, xml.sax.saxutils, zoneinfo; zoneinfo.ZoneInfo('UTC')") == ""


def test_a_file_named_by_a_parameter_is_not_read() -> None:
    """The list of refused parameters comes first; the hook also refuses a file that a new parameter names."""
    order: dict[str, Any] = ORDER | {"schemes": ["fcm"], "url": "fcm://project/device?keyfile=/etc/passwd"}
    code = "from events.alerts.channels import program; program.main()"
    verdict = json.loads(in_process(code, text=json.dumps(order)))
    assert set(verdict) == {"problem"}
    assert "root" not in verdict["problem"]
