"""`docs/threat-model.md`: every test that it names exists, every threat names one, and no class of fault is missing."""

import ast
import re

import pytest
from django.conf import settings

TEXT = (settings.BASE_DIR / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)


def test_tests_are_named() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_a_named_test_exists(file: str, name: str) -> None:
    source = (settings.BASE_DIR / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name or 'test_'}", source, re.MULTILINE)
    assert not name or re.search(rf"^def {name}\(", source, re.MULTILINE)


def test_every_threat_names_its_test() -> None:
    tables = re.findall(r"^\| threat \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert len(tables) == 7
    assert [row for table in tables for row in table.splitlines() if "`tests/" not in row.rsplit("|", 2)[1]] == []


@pytest.mark.parametrize("package", ["fuzz", "faults"])
def test_every_class_of_fault_has_a_row(package: str) -> None:
    """Each test of bad input or of faults says which class it tries, and is named by a threat."""
    for file in sorted((settings.BASE_DIR / "tests" / package).glob("test_*.py")):
        module = ast.parse(file.read_text(encoding="utf-8"))
        shared = [ast.unparse(node) for node in module.body if isinstance(node, ast.Assign)]
        for test in module.body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                marks = [*map(ast.unparse, test.decorator_list), *(one for one in shared if "pytestmark" in one)]
                assert any("pytest.mark.fault(" in mark for mark in marks), f"{test.name} names no class"
                assert (f"tests/{package}/{file.name}", test.name) in NAMED, f"{test.name} is in no row"
