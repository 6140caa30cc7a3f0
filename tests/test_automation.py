"""The scripts of docs/automation.md, run by a shell against a real server as they are written."""

import csv
import json
import re
import subprocess
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import payload
from tests.servers import Server, inherited, served_prepared

pytestmark = pytest.mark.needs_jq

PAGE = (Path(__file__).resolve().parent.parent / "docs/automation.md").read_text(encoding="utf-8")
HOSTILE = "=1+1, `@all` ![x](//evil.example) \u202e<b>"
_sessions = count(1)


@pytest.fixture(scope="module")
def site(make_data_dir: Any) -> Iterator[Server]:
    env = {"ADMIN_TOKEN": "a-token-for-the-tests-of-recipes", "BATCH_RATE": "off"}
    with served_prepared(make_data_dir(), **env) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(site: Server) -> dict[str, str]:
    """Issue the tokens with the commands of the page."""
    (block,) = (block for block in blocks("sh") if "issue_token" in block)
    commands = [tuple(line.partition("manage.py ")[2].split()) for line in block.splitlines()]
    return {command[-1]: run.stdout.strip() for command, run in zip(commands, site.commands(*commands), strict=True)}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def step(name: str) -> str:
    """Return the script of a step in a YAML block."""
    (block,) = (block for block in blocks("yaml") if block.startswith(f"- name: {name}\n"))
    return textwrap.dedent(block.partition("run: |\n")[2])


def script(words: str) -> str:
    (block,) = (block for block in blocks("sh") if words in block)
    return block


def run(site: Server, folder: Path, shell: str, text: str, **env: str) -> tuple[int, str]:
    ended = subprocess.run(
        [*shell.split(), "-c", text],
        cwd=folder,
        env=inherited() | {"SITE": f"http://127.0.0.1:{site.port}", "HOME": str(folder)} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def send(site: Server, *events: dict[str, Any]) -> None:
    bodies = [
        payload(**{"session_id": f"automation-{next(_sessions)}", "app_version": "dev"} | event) for event in events
    ]
    status, answer = site.post("/event/batch", json.dumps({"events": bodies}).encode())
    assert (status, b'"ok":false' in answer) == (200, False), answer


def read(site: Server, path: str) -> Any:
    status, answer = site.get(path, Authorization="Bearer a-token-for-the-tests-of-recipes")
    assert status == 200, answer
    return json.loads(answer)


def failed(site: Server, message: str, **changes: Any) -> str:
    """Let something fail, and return the key of its group."""
    send(site, {"message": message, **changes})
    (group,) = (item for item in read(site, "/groups?status=all&limit=200")["results"] if item["title"] == message)
    return str(group["key"])


def test_the_step_resolves_the_named_groups(site: Server, tokens: dict[str, str], tmp_path: Path) -> None:
    one, other = failed(site, "fault one"), failed(site, "fault two")

    def resolve(keys: str, token: str = tokens["triage"]) -> tuple[int, str]:
        return run(site, tmp_path, "bash -e", step("Resolve failure groups"), TOKEN=token, VERSION="2c87cac", KEYS=keys)

    assert resolve("") == (0, "")
    said = f"{one} is resolved in 2c87cac.\n{other} is resolved in 2c87cac.\n"
    assert resolve(f"{one} {other[:8]}") == (0, said)
    assert resolve(one) == (0, f"{one} is resolved in 2c87cac already.\n")
    unknown = 'ffffffff was not resolved (404):\n{"ok":false,"error":"No such group"}'
    assert resolve(f"ffffffff {one}") == (1, f"{unknown}{one} is resolved in 2c87cac already.\n")
    status, said = resolve(one, tokens["read"])
    assert (status, said) == (
        1,
        f'{one} was not resolved (401):\n{{"ok":false,"error":"This token lacks the scope triage"}}',
    )
    item = read(site, f"/groups/{one}")
    assert (item["status"], item["decided_by"], item["fixed_in_seen"]) == ("resolved", "token deploy", False)


@pytest.mark.needs_git
def test_commits_resolve_the_groups_that_they_name(site: Server, tokens: dict[str, str], tmp_path: Path) -> None:
    one, other, third = (failed(site, f"named {name}") for name in "abc")

    def git(*args: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *identity, *args], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    def commit(message: str) -> None:
        git("commit", "--quiet", "--allow-empty", "-m", message)

    git("init", "--quiet")
    commit(f"Before\n\nFixes {third}")
    git("tag", "last")
    commit(f"Wait longer\n\nFixes {one}")
    commit(f"Try again\n\nfixes: {other[:8]}.\nFixes #12\nFixes 1234567\nIt fixes {third}.\nFixes ffffffffffff")
    commit(f"The same\n\nFixes {one[:10]}")
    text = script("git log")

    def resolve(**env: str) -> tuple[int, str]:
        return run(site, tmp_path, "bash -e", text, TOKEN=tokens["triage"], **env)

    status, said = resolve(FROM="last", VERSION="v9")
    assert status == 0
    assert sorted(said.splitlines()) == sorted(
        [
            f'{one} is resolved in v9: "named a"',
            f'{one} is resolved in v9: "named a"',
            f'{other} is resolved in v9: "named b"',
            "ffffffffffff is no failure group",
        ]
    )
    assert read(site, f"/groups/{third}")["status"] == "open"
    head = git("rev-parse", "HEAD").strip()
    assert resolve(FROM="HEAD^")[1] == f'{one} is resolved in {head}: "named a"\n'
    assert resolve(FROM="HEAD", VERSION="v9") == (0, "")
    assert resolve()[0] != 0
    assert resolve(FROM="last", VERSION="v" * 65)[0] == 1


class GitHub(BaseHTTPRequestHandler):
    """The comments of one pull request."""

    def do_GET(self) -> None:
        self._answer(self.server.comments)  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        self._write()

    def do_PATCH(self) -> None:
        self._write()

    def _write(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((self.command, self.path, self.headers["Authorization"]))  # type: ignore[attr-defined]
        self.server.comments[1:] = [{"id": 7, **body}]  # type: ignore[attr-defined]
        self._answer({})

    def _answer(self, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def github() -> Iterator[Any]:
    with HTTPServer(("127.0.0.1", 0), GitHub) as server:
        server.comments = [{"id": 1, "body": "Looks good"}]  # type: ignore[attr-defined]
        server.calls = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_step_writes_one_comment(site: Server, tokens: dict[str, str], github: Any, tmp_path: Path) -> None:
    def comment(version: str, token: str = tokens["read"]) -> tuple[int, str]:
        return run(
            site, tmp_path, "bash -e", step("Comment with the verdict"), TOKEN=token, VERSION=version, NUMBER="12",
            GITHUB_TOKEN="for-github", GITHUB_REPOSITORY="a/b",
            GITHUB_API_URL=f"http://127.0.0.1:{github.server_port}",
        )  # fmt: skip

    assert comment("build-a") == (0, "No flash of build-a yet.\n")
    assert comment("build-a", "wrong") == (1, '{"ok":false,"error":"Unauthorized"}')
    send(site, *({"event_type": "flash_success", "app_version": "build-a"} for _ in range(40)))
    send(site, *({"event_type": "flash_success", "app_version": "build-b"} for _ in range(10)))
    send(site, *({"message": HOSTILE, "app_version": "build-b"} for _ in range(20)))
    assert comment("build-a") == (0, "The comment is up to date.\n")
    assert github.comments[1]["body"] == (
        "<!-- telemetry -->\nBuild `build-a`: the first release.\n\n0 of 40 flashes failed (0 %).\n"
    )
    assert comment("build-b") == (0, "The comment is up to date.\n")
    (group,) = read(site, "/releases/build-b")["new_groups"]
    title = group["title"].replace("`", " ").replace("\u202e", " ")
    assert github.comments[1]["body"] == (
        "<!-- telemetry -->\nBuild `build-b`: **worse** than `build-a`.\n\n20 of 30 flashes failed (66.7 %).\n\n"
        f"- new: [`{title}`]({group['url']}), 20 events"
    )
    path = "/repos/a/b/issues"
    assert github.calls == [
        ("POST", f"{path}/12/comments", "Bearer for-github"),
        ("PATCH", f"{path}/comments/7", "Bearer for-github"),
    ]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_script_writes_all_groups(site: Server, tokens: dict[str, str], tmp_path: Path, shell: str) -> None:
    key = failed(site, f"a fault, in {shell}")
    note = '{"status": "open", "note": "a \\"quote\\", and\\na line"}'
    status, _ = site.post(f"/groups/{key}/decision", note.encode(), Authorization=f"Bearer {tokens['triage']}")
    assert status == 200
    send(site, {"message": HOSTILE})
    failed(site, f"another in {shell}")
    text = script("#!/bin/sh").replace("limit=200", "limit=2")  # several pages
    file = tmp_path / "groups.csv"
    settings = {"TOKEN": tokens["read"], "FILE": str(file)}
    assert run(site, tmp_path, shell, text, **settings) == (0, "")
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    groups = read(site, "/groups?status=all&sort=first&limit=200")["results"]
    assert [row["key"] for row in rows] == [group["key"] for group in groups]
    assert len(rows) > 2
    assert set(rows[0]) < set(groups[0])
    for row, group in zip(rows, groups, strict=True):
        assert row["title"] == (f"'{group['title']}" if group["title"].startswith("=") else group["title"])
        assert (row["events"], row["note"]) == (str(group["events"]), group["note"])
    before = file.read_bytes()
    status, _ = run(site, tmp_path, shell, text, **settings | {"TOKEN": "wrong"})
    assert (status == 0, file.read_bytes()) == (False, before)  # the file of the day before stays
