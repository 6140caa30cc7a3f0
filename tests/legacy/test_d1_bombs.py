"""Small exports that would cause much work. Each is refused before it causes the work."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from legacy.imports import d1_staging
from legacy.imports.d1_staging import RefusedFile
from tests.fixtures import d1

TABLE = "CREATE TABLE client_logs(id TEXT PRIMARY KEY, message TEXT);\n"
INSERT = "INSERT INTO client_logs(id) VALUES("


def tree(leaves: list[str], operator: str) -> str:
    """Return a balanced expression of leaves and an operator, because the depth has a separate limit."""
    while len(leaves) > 1:
        leaves = [f"({operator.join(leaves[at : at + 2])})" for at in range(0, len(leaves), 2)]
    return leaves[0]


def nested(depth: int, text: str) -> str:
    return "replace(" * depth + f"'{text}'" + ",'b','b')" * depth


GROWS = "it produces far more text than it contains"
LONG_PATTERN = "the function replace with a pattern of more than 16 characters"
TOO_MUCH_CODE = "it has more than 8,192 bytes outside its texts"
RETURNS = "it returns rows"
BOMBS = {
    "replace that grows": (f"{INSERT}replace('{'a' * 1_000}','a','{'b' * 4_000}'));", GROWS),
    "replace of what replace made": (
        f"{INSERT}replace(replace('{'a' * 9}','a','{'b' * 40}'),'b','{'c' * 40}'));",
        GROWS,
    ),
    "replace by what replace made": (f"{INSERT}replace('{'ab' * 900}','a',replace('{'c' * 900}','c','cc')));", GROWS),
    "replace of a number": (f"{INSERT}replace(111111111111,1,'{'b' * 90}'));", GROWS),
    "replace of bytes": (f"{INSERT}replace(X'{'61' * 900}','a','{'b' * 900}'));", GROWS),
    "replace in replace": (f"{INSERT}{nested(12, 'a' * 1_000_000)});", GROWS),
    "many replaces of one statement": (f"{INSERT}{tree([nested(8, 'a' * 900)] * 60, '||')});", GROWS),
    "replace of a long pattern": (f"{INSERT}replace('{'a' * 400_000}','{'a' * 200_000}b','c'));", LONG_PATTERN),
    "char of many": (f"{INSERT}char({','.join(['128251'] * 100)}){'||char(128251)' * 600});", TOO_MUCH_CODE),
    "a chain": (INSERT + "||".join(["'a'"] * 100_000) + ");", TOO_MUCH_CODE),
    "a short chain": (INSERT + "||".join(["'a'"] * 60) + ");", "maximum depth 50"),
    "a tree": (INSERT + tree(["'a'"] * 100_000, "||") + ");", TOO_MUCH_CODE),
    "constants that are compared with each other": (
        INSERT + tree([f"(replace('','','')|({n}+1))" for n in range(20_000)], "|") + ");",
        TOO_MUCH_CODE,
    ),
    "parentheses": (f"{INSERT}{'(' * 1_000_000}1{')' * 1_000_000});", TOO_MUCH_CODE),
    "a few parentheses": (f"{INSERT}{'(' * 3_000}1{')' * 3_000});", "parser stack overflow"),
    "a list": (f"{INSERT}1 IN ({','.join(map(str, range(100_000)))}));", TOO_MUCH_CODE),
    "many rows": (f"{INSERT}1){',(1)' * 100_000};", TOO_MUCH_CODE),
    "some rows": (f"{INSERT}1){',(1)' * 100};", "SELECT"),
    "code behind a quoted name": (f'{INSERT}1) RETURNING 1 AS "\'"{",2" * 9_000} AS "\'";', TOO_MUCH_CODE),
    "code behind a comment": (f"{INSERT}1 /* ' */ IN ({','.join(map(str, range(9_000)))}) /* ' */);", TOO_MUCH_CODE),
    "a comment": (f"{INSERT}1 /*{' ' * 9_000}*/);", TOO_MUCH_CODE),
    "a pattern of LIKE": (f"{INSERT}'{'a' * 9_000}' LIKE '{'%a' * 9_000}b');", "the function like"),
    "a pattern of GLOB": (f"{INSERT}'{'a' * 9_000}' GLOB '{'*a' * 9_000}b');", "the function glob"),
    "RETURNING with columns": (f"{INSERT}'a') RETURNING {','.join(['id||id'] * 500)};", "this statement"),
    "RETURNING": (f"{INSERT}'a') RETURNING 1;", RETURNS),
    "EXPLAIN": (f"EXPLAIN {INSERT}'a');", RETURNS),
    "an upsert": (f"{INSERT}'a') ON CONFLICT(id) DO UPDATE SET id = id || id;", "this statement"),
    "a generated column": ("CREATE TABLE x(id, more GENERATED ALWAYS AS (id || id) STORED);", "A generated column"),
    "a virtual generated column": ("CREATE TABLE x(id, more AS (id || id));", "A generated column"),
    "a default of many terms": (f"CREATE TABLE x(id DEFAULT ({tree(['(1=2)'] * 9_000, '|')}));", TOO_MUCH_CODE),
    "tables": ("".join(f"CREATE TABLE x{n}(id);\n" for n in range(600)), "the limit of 500 CREATE statements"),
    "indexes": ("".join(f"CREATE INDEX x{n} ON client_logs(id);\n" for n in range(600)), "limit of 500 CREATE"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_with_its_reason(stage: Any, bomb: str) -> None:
    sql, why = BOMBS[bomb]
    with pytest.raises(RefusedFile) as refused:
        stage(TABLE + sql + "\n")
    assert why in str(refused.value)


COSTLY = {
    "defaults": "CREATE TABLE {name}({columns}, more DEFAULT (randomblob(4000000)), again DEFAULT (zeroblob(9)));",
    "a check": "CREATE TABLE {name}({columns}, CHECK (hex(zeroblob(4000000)) = message));",
    "an index on an expression": "CREATE TABLE {name}({columns});\nCREATE INDEX i ON {name}(id || id || id, hex(id));",
    "a partial index": "CREATE TABLE {name}({columns});\nCREATE INDEX i ON {name}(id) WHERE hex(id) = lower(id);",
    "many indexes": "CREATE TABLE {name}({columns});\n"
    + "\n".join(f"CREATE INDEX i{n} ON {{name}}(id);" for n in range(400)),
    "a rule for conflicts": "CREATE TABLE {name}({columns}, UNIQUE (message) ON CONFLICT REPLACE);",
    "no row ids": "CREATE TABLE {name}({columns}, PRIMARY KEY (id, message)) WITHOUT ROWID;",
    "strict types": "CREATE TABLE {name}({columns}) STRICT;",
}


@pytest.mark.parametrize("costly", COSTLY)
def test_the_schema_of_the_file_does_not_run_for_its_rows(stage: Any, costly: str) -> None:
    columns = ", ".join(f"{name} TEXT" for name in d1_staging.TABLES["client_logs"])
    schema = COSTLY[costly].format(name="client_logs", columns=columns) + "\n"
    rows = "".join(f"INSERT OR IGNORE INTO client_logs(id, received_at_ms) VALUES('{n}',{n});\n" for n in range(50))
    staged = stage(schema + rows)
    assert staged.rows == {"client_logs": 50}
    made = dict(staged.connection.execute("SELECT name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence'"))
    names = (*d1_staging.TABLES["client_logs"], *(["more", "again"] if costly == "defaults" else []))
    plain = ", ".join(f'"{name}" {"TEXT" if name not in ("more", "again") else ""}' for name in names)
    index = "CREATE INDEX staged_client_logs ON client_logs (received_at_ms)"
    assert made == {"client_logs": f'CREATE TABLE "client_logs" ({plain})', "staged_client_logs": index}


def test_many_statements_just_below_the_limit_produce_no_more_than_the_file_allows(tmp_path: Path, stage: Any) -> None:
    most = f"INSERT INTO other VALUES({nested(3, 'b' * 400)}||replace('{'b' * 100}','b','ccccc'));\n"
    staged = stage(d1.LOG_TABLE + "CREATE TABLE other(x);\n" + most * 10_000)
    assert sum(1 for _ in staged.connection.execute("SELECT rowid FROM other")) == 10_000
    assert (tmp_path / "scratch").stat().st_size <= 4 * (tmp_path / "export.sql").stat().st_size


def test_statements_have_no_loop(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row with a hundred columns needs a few hundred steps of SQLite's virtual machine."""
    monkeypatch.setattr(d1_staging, "_STEPS_A_CALL", 20)
    columns = ",".join(f"c{n} DEFAULT ({n})" for n in range(100))
    values = ",".join(["replace(replace('a\\\\n','\\\\r',char(13)),'\\\\n',char(10))"] * 100)
    stage(f"{d1.LOG_TABLE}CREATE TABLE wide({columns});\nINSERT INTO wide VALUES({values});\n")


def test_a_statement_that_needs_more_steps_is_stopped(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this version of SQLite, no statement exceeds the limit, so the test lowers the limit."""
    monkeypatch.setattr(d1_staging, "_STEPS_A_CALL", 1)
    monkeypatch.setattr(d1_staging, "_MAX_CALLS", 10)
    with pytest.raises(RefusedFile, match="it takes longer than any statement of an export"):
        stage(TABLE)


# --- replace ------------------------------------------------------------------------------------------------------

TEXTS = ["", "a", "b", "ab", "aab", "1", "1.0", "\0", "\0a", "a\0", "é📻"]
VALUES = [*TEXTS, None, 0, 1, 11, -1, 1.0, 1e20, 0.1, b"", b"a", b"ab"]


def test_replace_returns_the_same_as_sqlites_own(tmp_path: Path) -> None:
    own = sqlite3.connect(":memory:")
    with closing(own), closing(sqlite3.connect(tmp_path / "scratch", isolation_level=None)) as rows:
        gatekeeper = d1_staging._Gatekeeper(rows)
        gatekeeper.may_produce = 10**9
        given = [(x, y, z) for x in VALUES for y in VALUES for z in VALUES]
        expected = [own.execute("SELECT replace(?, ?, ?)", three).fetchone()[0] for three in given]
        assert [gatekeeper.replace(*three) for three in given] == expected
        gatekeeper.close()


LITERALS = ["NULL", "''", "'a'", "'aa'", "1", "1.5", "1e300", "-7", "X'61'", "X''", "'a' || NULL", "char(97, 0)"]


def test_replace_in_a_statement_stores_the_same_as_sqlites_own(stage: Any) -> None:
    calls = [f"replace({x}, {y}, {z})" for x in LITERALS for y in LITERALS for z in LITERALS]
    rows = "".join(f"INSERT INTO x VALUES({call});\n" for call in calls)
    staged = stage(f"{d1.LOG_TABLE}CREATE TABLE x(v);\n{rows}")
    with closing(sqlite3.connect(":memory:")) as own:
        expected = [own.execute(f"SELECT {call}").fetchone()[0] for call in calls]
    assert [value for (value,) in staged.connection.execute("SELECT v FROM x")] == expected


def test_replace_of_a_value_that_is_no_text_is_refused(stage: Any) -> None:
    with pytest.raises(RefusedFile, match="it passes a value that is not text to the function replace"):
        stage(f"{TABLE}{INSERT}replace('a','a',char(55357)));\n")


# --- where a statement ends ---------------------------------------------------------------------------------------

ENDS = {
    "a literal": "INSERT INTO x VALUES('a;\nb''c;\n');\n",
    "a name": 'CREATE TABLE "y;\n"(z);\n',
    "a name in brackets": "CREATE TABLE [y;\n](z);\n",
    "a name in backticks": "CREATE TABLE `y;\n`(z);\n",
    "a comment": "CREATE TABLE y( -- it's the key;\nid, -- [the second;\nmore);\n",
    "a long comment": "CREATE TABLE y( /* it's;\n the \"key;\n **/ id);\n",
    "a minus and a slash": "INSERT INTO x VALUES(-1-2/3);\n",
    "blanks": "INSERT INTO x VALUES(1);  \t\r\n",
    "a comment before it": "/* a; */ -- b;\n CREATE TABLE y(id);\n",
    "semicolons": ";;\n;\n",
}


@pytest.mark.parametrize("within", ENDS)
def test_a_statement_ends_where_sqlite_says(tmp_path: Path, within: str) -> None:
    file = tmp_path / "export.sql"
    file.write_bytes(f"CREATE TABLE x(v);\n{ENDS[within]}CREATE TABLE z(v);\n".encode())
    statements = [statement.decode() for statement in d1_staging._statements(file)]
    assert "".join(statements) == file.read_bytes().decode()
    assert all(sqlite3.complete_statement(statement) for statement in statements)
    assert statements[0] == "CREATE TABLE x(v);\n"
    assert statements[-1].endswith("CREATE TABLE z(v);\n")
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.execute(statement)
