"""Dumps of a PostgreSQL database, made by `pg_dump` and loaded by `pg_restore` and `psql`.

A dump contains the schema of the site's tables. The counts beside it come from the same snapshot. A restore runs in one
transaction, so it happens entirely or not at all.
"""

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connection, transaction
from psycopg.conninfo import make_conninfo

from events.maintenance.backups.databases import contents
from events.maintenance.backups.databases.contents import Contents
from events.maintenance.backups.files import folder
from events.maintenance.backups.files.folder import BackupFailed

_SCRATCH = "_drill_"
_LEAST_MAJOR = 15
_CHUNK = 1 << 20
# What another machine or another role can restore, too.
_PORTABLE = ("--no-owner", "--no-privileges", "--no-comments")
_DEFAULT_SCHEMA = "public"


def needed_bytes() -> int:
    """Return an upper limit for the size of a dump: that of the tables without their indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(SUM(pg_table_size(oid)), 0) FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
        )
        return int(cursor.fetchone()[0])


def dump(target: Path, made_at_ms: int) -> Contents:
    """Write the schema of the site to a new file, and check it. Raises BackupFailed."""
    program = _program("pg_dump")
    try:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
            dumped = contents.read(made_at_ms)
            with _conninfo() as conninfo:
                _run(
                    program, f"--dbname={conninfo}", "--no-password", "--format=custom", *_PORTABLE,
                    f"--schema={_as_pattern(dumped.schema)}", f"--snapshot={snapshot}", f"--file={target}",
                )  # fmt: skip
    except DatabaseError as error:
        raise BackupFailed(f"PostgreSQL cannot be read: {error}".rstrip(".\n") + ".") from None
    target.chmod(0o600)
    folder.sync(target)
    check(target, dumped)
    return dumped


def check(dump_file: Path, expected: Contents) -> None:
    """Raise BackupFailed unless the whole file can be read and has the data of every expected table."""
    program = _program("pg_restore")
    listed = _run(program, "--list", str(dump_file))
    tables = set(re.findall(r"^\d+; \d+ \d+ TABLE DATA \S+ (\S+) ", listed, re.MULTILINE))
    if missing := expected.tables.keys() - tables:
        raise BackupFailed(f"{dump_file.name} lacks the data of {', '.join(sorted(missing))}.")
    _run(program, "--file=/dev/null", str(dump_file))


def restore(dump_file: Path, backup: Contents, *, aside: str | None) -> None:
    """Load a dump into the current database, in one transaction. Raises BackupFailed.

    The schema is renamed to `aside` if it contains anything, and dropped if it is empty.
    """
    schema = backup.schema
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(schema)
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %s)", [schema])
        first = ""
        if cursor.fetchone()[0]:
            if has_objects(schema):
                if aside is None:
                    raise BackupFailed(f"The schema {schema} of this database is not empty.")
                first = f"ALTER SCHEMA {name} RENAME TO {connection.ops.quote_name(aside)};"
            else:
                first = f"DROP SCHEMA {name};"
    with _conninfo() as conninfo:
        _load(dump_file, conninfo, first)


def _load(dump_file: Path, conninfo: str, first: str) -> None:
    """Pass the SQL of a dump to psql. It commits only if pg_restore has read the dump to its end."""
    reads = [_program("pg_restore"), *_PORTABLE, "--file=-", str(dump_file)]
    writes = [_program("psql"), f"--dbname={conninfo}", "--no-psqlrc", "--quiet", "--no-password",
              "--set=ON_ERROR_STOP=1", "--output=/dev/null"]  # fmt: skip
    pipe = subprocess.PIPE
    log = folder.scratch() / "psql.log"
    with (
        log.open("w+b") as errors,
        subprocess.Popen(reads, stdout=pipe, stderr=errors) as reader,  # noqa: S603 (fixed programs)
        subprocess.Popen(writes, stdin=pipe, stderr=errors) as writer,  # noqa: S603
    ):
        assert reader.stdout is not None  # noqa: S101 (for mypy)
        assert writer.stdin is not None  # noqa: S101
        is_complete = False
        try:
            writer.stdin.write(f"BEGIN;\n{first}\n".encode())
            while chunk := reader.stdout.read(_CHUNK):
                writer.stdin.write(chunk)
            if reader.wait() == 0:
                writer.stdin.write(b"\nCOMMIT;\n")
                is_complete = True
            writer.stdin.close()
        except BrokenPipeError:  # psql has stopped at an error
            reader.kill()
        is_complete = writer.wait() == 0 and is_complete
        errors.seek(0)
        if not is_complete:
            raise BackupFailed(f"The dump cannot be loaded. {_last_lines(errors.read())}")


def has_objects(schema: str) -> bool:
    """Return whether a schema exists and contains anything, such as a table or an extension."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_depend JOIN pg_namespace ON pg_namespace.oid = refobjid"
            " WHERE refclassid = 'pg_namespace'::regclass AND nspname = %s)",
            [schema],
        )
        return bool(cursor.fetchone()[0])


def put_back(schema: str, aside: str | None, failed: str) -> None:
    """Undo a restore: give the schema the name `failed`, and the former one its name."""
    quote = connection.ops.quote_name
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(f"ALTER SCHEMA {quote(schema)} RENAME TO {quote(failed)}")
        if aside is not None:
            cursor.execute(f"ALTER SCHEMA {quote(aside)} RENAME TO {quote(schema)}")


def refuse_other_schema(backup: Contents) -> None:
    """Raise BackupFailed if the site would look for its tables in another schema than that of the backup."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_user, current_setting('search_path')")
        schema, role, search_path = cursor.fetchone()
    if schema not in (backup.schema, None):
        raise BackupFailed(
            f"The backup has the schema {backup.schema}, and this database uses {schema} (search_path: {search_path})."
            f" Run: ALTER ROLE {role} SET search_path = {backup.schema};"
        )


def refuse_older_server(backup: Contents) -> None:
    """Raise BackupFailed if the dump comes from a later major version of PostgreSQL."""
    made_by, here = int(backup.engine_version.split(".")[0]), _server_major()
    if made_by > here:
        raise BackupFailed(
            f"The backup was made by PostgreSQL {made_by}, and this server is {here}. Restore into PostgreSQL"
            f" {made_by} or later."
        )


def refuse_without_rights(backup: Contents) -> None:
    """Raise BackupFailed if the role may not rename, drop or create the schema."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, current_database(), has_database_privilege(current_database(), 'CREATE'),"
            " COALESCE((SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = %s), TRUE)",
            [backup.schema],
        )
        role, database, may_create, owns = cursor.fetchone()
    if not may_create or not owns:
        raise BackupFailed(
            f"The role {role} needs to own the database {database} and its schema {backup.schema} to replace the"
            f" tables. As a superuser, run: ALTER DATABASE {database} OWNER TO {role};"
            + ("" if owns else f" ALTER SCHEMA {backup.schema} OWNER TO {role};")
        )


def other_connections() -> list[str]:
    """Return in words each other connection to the current database, such as that of a server elsewhere."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, COALESCE(usename, ''), COALESCE(application_name, ''), COALESCE(host(client_addr), '')"
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' ORDER BY pid"
        )
        return [
            f"process {pid} of {role}" + (f" from {address}" if address else "") + (f" ({name})" if name else "")
            for pid, role, name, address in cursor.fetchall()
        ]


@contextmanager
def scratch_database(backup: Contents) -> Iterator[None]:
    """Create an empty database, let the ORM of this thread use it, and drop it. Raises BackupFailed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_user, rolcreatedb OR rolsuper FROM pg_roles"
                       " WHERE rolname = current_user")  # fmt: skip
        site, role, may_create = cursor.fetchone()
        if not may_create:
            raise BackupFailed(
                f"The restore drill needs a scratch database, and the role {role} may not create one. As a superuser,"
                f" run: ALTER ROLE {role} CREATEDB;"
            )
        # Those of killed drills. A drill of another machine has connections to its own.
        cursor.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND NOT EXISTS"
            " (SELECT 1 FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)",
            [f"{site[:40]}{_SCRATCH}"],
        )
        for (leftover,) in cursor.fetchall():
            cursor.execute(f"DROP DATABASE IF EXISTS {connection.ops.quote_name(leftover)}")
        name = f"{site[:40]}{_SCRATCH}{secrets.token_hex(4)}"
        quoted = connection.ops.quote_name(name)
        try:
            cursor.execute(f"CREATE DATABASE {quoted} TEMPLATE template0")
        except DatabaseError as error:
            raise BackupFailed(f"The scratch database of the restore drill cannot be created: {error}") from None
    try:
        options = {key: value for key, value in connection.settings_dict["OPTIONS"].items() if key != "pool"}
        path = f"-c search_path={_as_option(backup.schema)}"
        options["options"] = f"{options.get('options', '')} {path}".strip()
        with contents.using({"NAME": name, "OPTIONS": options}):
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


def analyze() -> None:
    """Let PostgreSQL count its new tables, or its first queries would be slow."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


# --- the client programs -----------------------------------------------------------------------------------------


def _program(name: str) -> str:
    """Return the path of a client program of at least the server's version. Raises BackupFailed."""
    needed = _server_major()
    advice = (
        f"Install the client programs of PostgreSQL {needed} or later (on Debian and Ubuntu: apt-get install"
        f" postgresql-client-{needed}, or postgresql-client), and put them on PATH."
    )
    path = shutil.which(name)
    if path is None:
        raise BackupFailed(f"{name} is not on PATH. {advice}")
    version = re.search(r"(\d+)", _run(path, "--version").removeprefix(name))
    if version is None or int(version[1]) < needed:
        raise BackupFailed(f"{path} is version {version[1] if version else '?'}, and the server is {needed}. {advice}")
    return path


def _server_major() -> int:
    return max(int(connection.get_database_version()[0]), _LEAST_MAJOR)


@contextmanager
def _conninfo() -> Iterator[str]:
    """Yield the address of the current database for a client program. A file contains the password.

    Other users of the machine see the arguments of a program, and not its files.
    """
    # These are arguments of Django or psycopg, not of libpq.
    own = {"context", "cursor_factory", "prepare_threshold", "server_side_binding", "autocommit", "row_factory"}
    parameters: dict[str, Any] = {
        name: value for name, value in connection.get_connection_params().items() if name not in own
    }
    password = parameters.pop("password", None)
    file = folder.scratch() / f"pgpass-{secrets.token_hex(4)}"
    if password:
        escaped = re.sub(r"([\\:])", r"\\\1", str(password))
        with open(file, "x", opener=folder.private) as passwords:
            passwords.write(f"*:*:*:*:{escaped}\n")
        parameters["passfile"] = str(file)
    try:
        yield make_conninfo(**parameters)
    finally:
        file.unlink(missing_ok=True)


def _run(program: str, *arguments: str) -> str:
    """Run a program and return its output. Raises BackupFailed with its last words."""
    command: Sequence[str] = [program, *arguments]
    ended = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    if ended.returncode:
        raise BackupFailed(f"{Path(program).name} failed. {_last_lines(ended.stderr)}")
    return ended.stdout.decode(errors="replace")


def _last_lines(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return " ".join(lines[-3:]) or "It gave no reason."


def _as_pattern(schema: str) -> str:
    """Return a name as a pattern of pg_dump that matches it alone."""
    return f'"{schema}"'


def _as_option(schema: str) -> str:
    """Return a schema as a value of the connection parameter `options`, which separates words at spaces."""
    quoted = connection.ops.quote_name(schema)
    return re.sub(r"([\\ ])", r"\\\1", quoted)
