"""docs/architecture.md lists the files that two requests visit; a recorded run proves the lists."""

import json
import re
from pathlib import Path

from django.conf import settings

from tests.conftest import run_apart


def listed_files() -> dict[str, list[str]]:
    """Return the files in the table below each heading that names a request."""
    text = (settings.BASE_DIR / "docs" / "architecture.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### `([A-Z]+ /\S*)`\n(.*?)(?=^#)", text, re.MULTILINE | re.DOTALL)
    return {request: re.findall(r"^\| `(\S+)` \|", section, re.MULTILINE) for request, section in sections}


def test_a_request_visits_the_files_that_the_page_lists(tmp_path: Path) -> None:
    recorded = run_apart("from tests import journeys; journeys.main()", DATA_DIR=str(tmp_path / "var"))
    assert recorded.returncode == 0, recorded.stderr
    assert json.loads(recorded.stdout) == listed_files()
