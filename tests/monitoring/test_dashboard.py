"""The dashboard, the alert rules and the table of metrics name what the site really exposes."""

import json
import re
from typing import Any

import pytest
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from events.models import Backup, JobState
from events.monitoring import exposition
from tests.conftest import make_event

NAME = re.compile(r"\btelemetry_[a-z_]+")
FOLDER = settings.BASE_DIR
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
PAGE = (FOLDER / "docs" / "monitoring.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| `(telemetry_\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
ALERTS = re.findall(r"^ +expr: (.+)$", PAGE, re.MULTILINE)


def queries() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return panels + [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]


@pytest.fixture
def families() -> dict[str, Any]:
    """Return the exposed metrics, by name, of a site that has rows for each of them."""
    make_event()
    JobState.objects.create(name="a", due_ms=1, heartbeat_ms=1, started_ms=1, ended_ms=1, succeeded_ms=1, holder="a")
    Backup.objects.create(
        name="a", made_ms=1, file_bytes=1, sha256="", is_encrypted=False, events=1, proven_ms=1, problem=""
    )
    text = exposition.text(2, exposition.Outcomes(["origin"], "duplicate", "left_out")).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        found[f"{family.name}_total" if family.type == "counter" else family.name] = family
    return found


@pytest.mark.django_db
def test_the_page_lists_every_metric_with_its_type(families: dict[str, Any]) -> None:
    assert {name: family.type for name, family in families.items()} == TABLE


@pytest.mark.django_db
@pytest.mark.parametrize("expressions", [queries(), ALERTS], ids=["dashboard", "alerts"])
def test_every_query_finds_a_sample(expressions: list[str], families: dict[str, Any]) -> None:
    exposed = {sample.name for family in families.values() for sample in family.samples}
    assert len(expressions) > 10
    assert {name for expression in expressions for name in NAME.findall(expression)} - exposed == set()


@pytest.mark.django_db
def test_the_dashboard_shows_every_metric(families: dict[str, Any]) -> None:
    shown = {re.sub("_(bucket|sum|count)$", "", name) for query in queries() for name in NAME.findall(query)}
    assert set(families) - shown == set()


@pytest.mark.django_db
@pytest.mark.parametrize("expression", [*queries(), *ALERTS])
def test_a_query_uses_labels_and_values_that_exist(expression: str, families: dict[str, Any]) -> None:
    """Prometheus adds `job` and `instance`; `le` is of the buckets."""
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels}
    named = re.findall(r"(\w+)\s*!?=~?\s*\"", expression) + re.findall(r"(?:by|on) \(([\w, ]+)\)", expression)
    used = {label.strip() for names in named for label in names.split(",")}
    assert used <= labels | {"job", "instance"}
    # A counter starts again at 0 with another database, so only its growth means something.
    for name in re.findall(r"telemetry_\w+_(?:total|bucket|sum|count)\b", expression):
        assert re.search(rf"(rate|increase)\({name}", expression), name


def test_the_dashboard_can_be_imported_anywhere() -> None:
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", "telemetry-site"}
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
