"""The pinned requirements: exact, transitive, hashed, in step with what was asked for."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)(?:\[[a-z,-]+\])?==(\S+)")
FILES = ("requirements.txt", "requirements-dev.txt")


def entries(name: str) -> Iterator[str]:
    """Yield each requirement with its hashes as one line, comments left out."""
    text = re.sub(r"^\s*#.*\n?", "", (settings.BASE_DIR / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    yield from (line for line in text.replace("\\\n", " ").splitlines() if line.strip())


def pins(name: str) -> dict[str, set[str]]:
    """Return the versions pinned for each project; markers may give one more than one."""
    found: dict[str, set[str]] = {}
    for entry in entries(name):
        match = PIN.match(entry)
        assert match, entry
        found.setdefault(match[1], set()).add(match[2])
    return found


def asked_for(name: str) -> Iterator[str]:
    for line in (settings.BASE_DIR / name).read_text(encoding="utf-8").splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted.startswith("-r "):
            yield from asked_for(wanted.removeprefix("-r "))
        elif wanted:
            yield re.split(r"[\[<>=~! ;]", wanted)[0].lower()


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_exact_and_hashed(name: str) -> None:
    for entry in entries(name):
        assert PIN.match(entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("name", FILES)
def test_what_is_asked_for_is_pinned(name: str) -> None:
    assert set(asked_for(Path(name).stem + ".in")) - set(pins(name)) == set(), "run `make lock`"


@pytest.mark.parametrize("name", FILES)
def test_everything_pinned_is_wanted_by_something(name: str) -> None:
    source = Path(name).stem + ".in"
    text = (settings.BASE_DIR / name).read_text(encoding="utf-8")
    reasons = re.findall(r"^(\S+?)(?:\[[^]]*\])?==.*\n(?:    --hash.*\n)+((?:    #.*\n?)+)", text, flags=re.MULTILINE)
    wanted = set(asked_for(source))
    by_hand = {project for project, why in reasons if ".in" in why}
    assert by_hand - wanted == set(), "run `make lock`"


def test_the_tests_run_on_what_the_site_runs_on() -> None:
    development = pins("requirements-dev.txt")
    assert {
        name: versions for name, versions in pins("requirements.txt").items() if development.get(name) != versions
    } == {}


@pytest.mark.parametrize("name", [*FILES, "requirements.in", "requirements-dev.in"])
def test_no_package_index_is_named(name: str) -> None:
    text = (settings.BASE_DIR / name).read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host", text)
