"""The page *The count's history*: the parts of the public count, its changes, and all imports."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import clock
from events.counting import rollups
from events.models import CounterBaseline
from legacy.cutover import modes, switch
from legacy.models import Cutover, ImportRun
from tests.conftest import BANNER_QUERIES, VIEW_QUERIES, make_event, sign_in, success, text_of
from tests.fixtures.d1 import baseline_row, export, log_row, success_row

pytestmark = pytest.mark.django_db
PATH = "/admin/legacy/importrun/"


def import_export(folder: Path, name: str = "export.sql") -> None:
    """Import a baseline of 40, two successes, a failure with an old type name, and an invalid row."""
    events = [baseline_row(40), success_row("a"), success_row("b"), success_row(None)]
    file = folder / name
    file.write_text(export(events=events, logs=[log_row(event_type="flash_fail")]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())


def test_a_new_site_says_what_would_change_its_count(client: Client) -> None:
    make_event(**success())
    sign_in(client, "Staff")
    answer = client.get(PATH)
    assert answer.context["made_of"] == (0, 0, 1, 0)
    text = text_of(answer)
    assert "Why is it 1?" in text
    assert "Every success was counted when it arrived" in text
    assert "manage.py import_d1" in text


def test_the_count_is_the_sum_of_baseline_imported_and_live_successes(client: Client, tmp_path: Path) -> None:
    import_export(tmp_path)
    import_export(tmp_path)  # a second import adds nothing
    make_event(**success())
    sign_in(client, "Staff")
    answer = client.get(PATH)
    assert answer.context["made_of"] == (40, 2, 1, 0)
    text = text_of(answer)
    assert "Why is it 43?" in text
    for part in ("<dd>40</dd>", "<dd>+ 2</dd>", "<dd>+ 1</dd>", "<dd>= 43</dd>"):
        assert part in text
    assert '<a href="/admin/events/counterbaseline/">Baseline</a>' in text
    assert "returns the old tables' figure: 42" in text  # the import began in `separate`


def test_each_import_is_shown_with_the_outcomes_of_its_rows(client: Client, tmp_path: Path) -> None:
    import_export(tmp_path, "<b>d1.sql")
    sign_in(client, "Staff")
    answer = client.get(PATH)
    (imported,) = answer.context["imports"]
    assert imported.sums == [
        ("Read", 5),
        ("Added", 4),
        ("Already stored", 0),
        ("Twins", 0),
        ("Repaired", 1),
        ("Refused", 1),
    ]
    text = text_of(answer)
    assert "&lt;b&gt;d1.sql" in text
    assert "Refused: telemetry_events: a success without a session" in text
    assert "Repaired: client_logs: old name of a type, now flash_error" in text


def test_switches_baselines_and_imports_are_in_one_timeline(client: Client, tmp_path: Path) -> None:
    import_export(tmp_path)
    at = clock.now()
    Cutover.objects.update(switched_at=at - timedelta(days=3))
    CounterBaseline.objects.update(set_at=at - timedelta(days=2))
    ImportRun.objects.update(finished_at=at - timedelta(days=1))
    rollups.set_baseline(50, note="found more", user=None, user_name="kim", at=at - timedelta(hours=1))
    switch.to_mode(modes.Mode.ALIAS, reason="phase 3", user=None, user_name="kim", at=at)
    sign_in(client, "Staff")
    answer = client.get(PATH)
    changes = [(c.what, c.name, c.who, c.why, c.before, c.after) for c in answer.context["changes"]]
    row = CounterBaseline.objects.order_by("id")[0]
    assert changes == [
        ("switch", "alias", "kim", "phase 3", 52, 52),
        ("baseline", "", "kim", "found more", 40, 50),
        ("import", "export.sql", "import_d1", "", None, 2),
        ("baseline", "", "import_d1", row.note, 0, 40),
        ("switch", "separate", "import_d1", "the first import from the old system", 0, 0),
    ]
    text = text_of(answer)
    for part in ("switch to alias", "52 → 52", "40 → 50", "found more", "+ 2"):
        assert part in text


def test_the_history_remains_after_the_tables_are_dropped(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    import_export(tmp_path)
    call_command("legacy_mode", "gone", "--force", "--reason", "a test", stdout=io.StringIO())
    call_command("drop_legacy", stdout=io.StringIO())
    sign_in(client, "Staff")
    assert "Why is it 42?" in text_of(client.get(PATH))


def test_the_page_is_limited_and_counts_no_events(client: Client, tmp_path: Path) -> None:
    for _ in range(3):
        import_export(tmp_path)
    sign_in(client, "Staff")
    with CaptureQueriesContext(connection) as queries:
        client.get(PATH)
    assert len(queries) <= 15 + BANNER_QUERIES + VIEW_QUERIES, [query["sql"] for query in queries]
    assert not [query for query in queries if "telemetry_events" in query["sql"]]
