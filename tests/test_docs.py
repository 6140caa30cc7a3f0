"""The documentation says what the code says: variables, routes, commands, links, make targets, the first event."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import find_commands, get_commands
from django.urls import URLPattern, URLResolver

from events.api.answers import rendered
from events.ingest import contract
from telemetry_site.urls import urlpatterns

PROJECT = Path(__file__).resolve().parent.parent
CODE = [file for folder in ("telemetry_site", "events", "legacy") for file in (PROJECT / folder).rglob("*.py")]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("[!.]*/*.md"), *PROJECT.glob("docs/**/*.md")])
TEXTS = {page.relative_to(PROJECT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
NOT_A_LITERAL = object()


# --- variables ---------------------------------------------------------------------------------------------------


def variables() -> dict[str, Any]:
    """Return every variable that the code reads through `env`, with its default where that is a literal."""
    found = {}
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("env")), args=[ast.Constant(str(name)), *others]):
                    found[name] = literal(others[0]) if others else NOT_A_LITERAL
    return found


def literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return NOT_A_LITERAL


def as_written(default: Any) -> str:
    """Return a default as one would write it into the environment."""
    if isinstance(default, bool):
        return str(int(default))
    if default is None:  # of a number of bytes
        return "off"
    return ",".join(default) if isinstance(default, list) else str(default)


def rows_of_settings() -> dict[str, list[str]]:
    """Return the cells of each variable's row in docs/settings.md."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|(.+)\|$", TEXTS["docs/settings.md"], re.MULTILINE)
    return {name: [cell.strip().strip("`") for cell in cells.split(" | ")] for name, cells in rows}


def lines_of_env_example() -> dict[str, str]:
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^#([A-Z0-9_]+)=(.*)$", example, re.MULTILINE))


def test_settings_page_lists_exactly_the_variables() -> None:
    assert sorted(rows_of_settings()) == sorted(variables())


def test_env_example_has_every_variable_and_no_other() -> None:
    assert sorted(lines_of_env_example()) == sorted(variables())


def test_documented_defaults_are_the_defaults() -> None:
    defaults = {name: default for name, default in variables().items() if default is not NOT_A_LITERAL}
    written = {name: as_written(default) for name, default in defaults.items()}
    assert {name: lines_of_env_example()[name] for name in defaults} == written
    rows = rows_of_settings()
    shown = {name: text for name, text in written.items() if text}
    assert {name: rows[name][1] for name in shown} == shown


def test_env_example_changes_nothing_until_somebody_edits_it() -> None:
    lines = (PROJECT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


# --- routes ------------------------------------------------------------------------------------------------------


def routes(patterns: list[Any], prefix: str = "/") -> Iterator[str]:
    """Yield `METHOD /path` for every route but the admin's own."""
    for pattern in patterns:
        path = prefix + re.sub(r"^\^|/?\??\$$", "", re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", str(pattern.pattern)))
        path = path.replace(r"\.", ".")
        if isinstance(pattern, URLResolver) and pattern.app_name != "admin":
            yield from routes(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            for method in getattr(pattern.callback, "actions", {"get": ""}):
                yield f"{method.upper()} {path}"


def test_api_page_has_a_section_for_every_route_and_no_other() -> None:
    documented = re.findall(r"^### `([A-Z]+ /[^`?]*)`", TEXTS["docs/api.md"], re.MULTILINE)
    known = {route for route in routes(urlpatterns) if not route.startswith("HEAD ")}
    assert sorted(documented) == sorted(known)


# --- commands ----------------------------------------------------------------------------------------------------


def test_every_command_of_ours_is_documented() -> None:
    ours = {
        command
        for app in apps.get_app_configs()
        if Path(app.path).parent == PROJECT
        for command in find_commands(f"{app.path}/management")
    }
    documented = TEXTS["docs/runbook.md"] + TEXTS["docs/legacy-migration.md"]
    assert "serve" in ours
    assert sorted(command for command in ours if f"manage.py {command}" not in documented) == []


def test_every_command_that_a_page_names_exists() -> None:
    named = {(page, name) for page, text in TEXTS.items() for name in re.findall(r"manage\.py (\w+)", text)}
    assert ("docs/runbook.md", "serve") in named
    assert sorted((page, name) for page, name in named if name not in get_commands()) == []


def test_every_make_target_that_a_page_names_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*)\s*:(?!=)", makefile, re.MULTILINE))
    named = {
        (page, target)
        for page, text in TEXTS.items()
        for target in re.findall(r"(?:`|^|&& )make ([a-z][a-z-]*)", text, re.MULTILINE)
    }
    assert {("README.md", "serve"), ("README.md", "test")} <= named
    assert sorted((page, target) for page, target in named if target not in targets) == []


# --- links -------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Return what GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_and_image_points_somewhere() -> None:
    links = [(page, link) for page, text in TEXTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert ("README.md", "docs/runbook.md") in links
    broken = []
    for page, link in links:
        path, _, anchor = link.partition("#")
        if ":" in path:  # https://…, mailto:…
            continue
        target = (PROJECT / page).parent / path if path else PROJECT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append((page, link))
    assert broken == []


# --- examples ----------------------------------------------------------------------------------------------------


def curls(text: str) -> list[list[str]]:
    """Return the words of every `curl` in a page's shell blocks."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [re.sub(r"\\\n", " ", block).splitlines() for block in blocks]
    return [shlex.split(line.removeprefix("$ ")) for lines in commands for line in lines if "curl " in line]


def test_readme_begins_with_an_event_that_the_contract_takes() -> None:
    first = next(words for words in curls(TEXTS["README.md"]) if "-d" in words)
    assert first[1] == "http://127.0.0.1:8000/event"
    assert "Content-Type: application/json" in first
    row = contract.parse(json.loads(first[first.index("-d") + 1]), received_at_ms=0)
    assert row.event_type == "flash_success"  # so that the public count, asked for next, moves


def test_a_block_of_commands_can_be_pasted() -> None:
    """A shell runs no line after a command that does not end by itself."""
    endless = re.compile(r"^(.* )?(make serve|manage\.py serve|journalctl .*-f)$")
    blocks = [
        (page, block.strip().splitlines())
        for page, text in TEXTS.items()
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    assert ("README.md", ["make test", "DATA_DIR=var/first make serve"]) in blocks
    assert [(page, lines) for page, lines in blocks if any(map(endless.match, lines[:-1]))] == []


def test_settings_page_shows_what_a_wrong_value_is_answered_with() -> None:
    [shown] = re.findall(r"^```console\n\$ (.*?)^```", TEXTS["docs/settings.md"], re.MULTILINE | re.DOTALL)
    command, _, expected = shown.partition("\n")
    words = command.split()
    wrong = dict(word.split("=") for word in words[: words.index(".venv/bin/python")])
    run = subprocess.run(
        [sys.executable, *words[words.index("manage.py") :]],
        cwd=PROJECT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "telemetry_site.settings"} | wrong,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (1, expected)


def test_every_json_block_is_json() -> None:
    blocks = [
        (page, block)
        for page, text in TEXTS.items()
        for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    assert any(page == "docs/api.md" for page, _ in blocks)
    broken = []
    for page, block in blocks:
        try:
            json.loads(block)
        except ValueError as error:
            broken.append((page, str(error), block))
    assert broken == []


def test_an_answer_on_one_line_is_shown_as_it_is_sent() -> None:
    shown = re.findall(r"^```json\n(.+)\n```", TEXTS["README.md"] + TEXTS["docs/api.md"], re.MULTILINE)
    assert '{"ok":true,"deduped":true}' in shown
    assert shown == [rendered(json.loads(line)).content.decode() for line in shown]
