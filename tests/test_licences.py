"""`docs/licences.md`: the licence of everything that the site runs on; all of them let us, and the list is true."""

import re
from importlib import metadata

import pytest
from django.conf import settings

from tests.test_requirements import pins

FAMILIES = {
    "MIT": r"\bMIT\b",
    "Apache-2.0": r"Apache",
    "BSD": r"\bBSD\b",
    "ISC": r"\bISC\b",
    "MPL-2.0": r"MPL|Mozilla",
    "PSF-2.0": r"PSF|Python Software",
    # Used as it comes, and imported: what it asks for is that one may replace it, and pip does.
    "LGPL-3.0": r"LGPL",
}

# `make check` runs it as a program. Nothing imports it, and nothing of it is shipped.
PROGRAMS = {"djlint": "GPL-3.0-or-later"}


def rows() -> dict[str, str]:
    text = (settings.BASE_DIR / "docs" / "licences.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([a-z0-9.-]+)` \| (.+?) \|", text, re.MULTILINE))


def families_of(name: str) -> set[str]:
    """Return the families of licence that an installed package names."""
    data = metadata.metadata(name)
    classifiers = [line for line in data.get_all("Classifier", []) if line.startswith("License")]
    words = data.get("License-Expression") or " ".join([*classifiers, (data.get("License") or "")[:60]])
    return {family for family, pattern in FAMILIES.items() if re.search(pattern, words)}


def test_everything_that_the_site_runs_on_is_listed_and_nothing_else() -> None:
    assert sorted(rows()) == sorted(pins("requirements.txt"))


@pytest.mark.parametrize("name", sorted(pins("requirements.txt")))
def test_the_list_says_what_the_package_says(name: str) -> None:
    listed = set(re.split(" or | and ", rows()[name]))
    assert listed <= set(FAMILIES)
    try:
        assert listed == families_of(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is for other systems; its line is not checked here")


@pytest.mark.parametrize("name", sorted(pins("requirements-dev.txt")))
def test_what_the_tests_run_on_lets_us_too(name: str) -> None:
    try:
        assert families_of(name) or metadata.metadata(name)["License-Expression"] == PROGRAMS.get(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is for other systems")
