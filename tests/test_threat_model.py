"""`docs/threat-model.md`: every test that it names exists, and every threat names one."""

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
    assert len(tables) == 6
    assert [row for table in tables for row in table.splitlines() if "`tests/" not in row.rsplit("|", 2)[1]] == []
