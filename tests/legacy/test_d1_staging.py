"""Exports in the scratch database: the rows that are read, and the statements that are refused."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from legacy.imports import d1_staging
from legacy.imports.d1_staging import Staged
from tests.faults.disks import fill, small_disk
from tests.fixtures import d1
from tests.fixtures.d1 import baseline_row, event_row, export, log_row, success_row

Stage = Callable[[str], Staged]


def test_rows_are_read_unchanged_oldest_first(stage: Stage) -> None:
    odd = 'It\'s; "quoted"\n-- not a comment\r\n📻 \\ %s ?'
    rows = [log_row(message=odd, stack="a\nb"), log_row(received_at_ms=5), log_row(model=b"\0\xff", write_mode=-7)]
    staged = stage(export(logs=rows))
    assert [row for page in staged.read("client_logs", 2) for row in page] == [rows[1], rows[0], rows[2]]
    assert [len(page) for page in staged.read("client_logs", 2)] == [2, 1]
    assert staged.rows == {"client_logs": 3, "telemetry_events": 0}


def test_one_table_of_the_two_is_enough(stage: Stage) -> None:
    assert stage(d1.EVENT_TABLE + "CREATE TABLE d1_migrations(id);\n")[1:] == (
        {"telemetry_events": 0},
        ["d1_migrations"],
    )


def test_an_export_with_autoincrement_is_accepted(stage: Stage) -> None:
    table = (
        "CREATE TABLE d1_migrations(id INTEGER PRIMARY KEY AUTOINCREMENT, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);\n"
    )
    rows = "INSERT INTO \"d1_migrations\" VALUES(7,'2026-02-12');\nDELETE FROM sqlite_sequence;\n"
    counted = "INSERT INTO \"sqlite_sequence\" VALUES('d1_migrations',7);\n"
    assert stage(d1.EVENT_TABLE + table + rows + counted).left_out == ["d1_migrations"]


TYPES = {
    "TEXT": "7",
    "varchar(9)": "7",
    "INTEGER": 7,
    "BIGINT": 7,
    "REAL": 7.0,
    "NUMERIC": 7,
    "ANY": 7,
    "BLOB": "7",
    "": "7",
}


@pytest.mark.parametrize("declared", TYPES)
def test_a_value_is_stored_with_the_type_affinity_of_its_column(stage: Stage, declared: str) -> None:
    table = f"CREATE TABLE other(v {declared});\n"
    staged = stage(d1.EVENT_TABLE + table + "INSERT INTO other VALUES('7');\n")
    assert staged.connection.execute("SELECT v FROM other").fetchone() == (TYPES[declared],)
    with closing(sqlite3.connect(":memory:")) as own:
        own.executescript(table + "INSERT INTO other VALUES('7');")
        assert own.execute("SELECT v FROM other").fetchone() == (TYPES[declared],)


def test_columns_in_another_order_are_read_by_name(stage: Stage) -> None:
    columns = d1_staging.TABLES["client_logs"]
    values = ",".join(f"'{name}'" for name in reversed(columns))
    staged = stage(
        f"CREATE TABLE client_logs({','.join(reversed(columns))}, more);\nINSERT INTO client_logs VALUES({values},1);\n"
    )
    assert next(staged.read("client_logs", 1)) == [{name: name for name in columns}]


def test_the_genuine_baseline_is_read_before_a_forged_one(stage: Stage) -> None:
    forged, own = success_row("baseline-mine", received_at_ms=1), baseline_row(12)
    near = [success_row("baselin"), success_row("baseline."), success_row("my baseline-"), event_row(id="Baseline-")]
    staged = stage(export(events=[forged, *near, own]))
    assert [row["id"] for row in staged.baselines()] == [own["id"], forged["id"]]


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    file = d1.as_sqlite(export(logs=[log_row(message="MARK")]), tmp_path / "export.sqlite")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE client_logs SET message = CAST(X'61FF62' AS TEXT)")
    connection.close()
    staged = d1_staging.stage(file, tmp_path / "scratch", lambda _: None)
    assert next(staged.read("client_logs", 1))[0]["message"] == "a\ufffdb"
    staged.connection.close()


def test_the_export_file_is_not_changed(tmp_path: Path) -> None:
    file = d1.as_sqlite(export(logs=[log_row()]), tmp_path / "export.sqlite")
    content, others = file.read_bytes(), sorted(tmp_path.iterdir())
    staged = d1_staging.stage(file, tmp_path / "scratch", lambda _: None)
    staged.connection.close()
    assert file.read_bytes() == content
    assert sorted(tmp_path.iterdir()) == [*others, tmp_path / "scratch"]


def test_progress_reports_the_number_of_bytes_read(tmp_path: Path) -> None:
    file = tmp_path / "export.sql"
    file.write_text(export(logs=[log_row() for _ in range(2_100)]))
    positions: list[int] = []
    d1_staging.stage(file, tmp_path / "scratch", positions.append).connection.close()
    assert len(positions) == 3
    assert positions == sorted(positions)
    assert positions[-1] == file.stat().st_size


def test_reading_rows_runs_no_function(stage: Stage) -> None:
    staged = stage(export(logs=[log_row()]))
    with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
        staged.connection.execute("SELECT hex(id) FROM client_logs")


@pytest.mark.parametrize("action", ["BEGIN;", "begin transaction;", "COMMIT;", "END TRANSACTION ;"])
def test_the_transaction_statements_of_an_export_are_ignored(stage: Stage, action: str) -> None:
    parts: list[Any] = [action, export(logs=[log_row()]), action]
    assert stage("\n".join([*parts, ""])).rows["client_logs"] == 1


@pytest.mark.needs_small_disk
@pytest.mark.parametrize("is_sqlite", [False, True], ids=["sql", "sqlite"])
def test_a_full_disk_is_reported_as_such(tmp_path: Path, is_sqlite: bool) -> None:
    file = tmp_path / "export"
    sql = export(logs=[log_row() for _ in range(20)])
    if is_sqlite:
        with closing(sqlite3.connect(file)) as database:
            database.executescript(sql)
    else:
        file.write_text(sql, encoding="utf-8")
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        with pytest.raises(OSError, match="No space left"):
            d1_staging.stage(file, disk / "scratch", lambda _: None)
