"""Log lines in both formats: their form, the id of their request, and that they contain no value that somebody sent."""

import ast
import io
import json
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils.log import log_response
from pydantic import BaseModel

from events.ingest import writer
from events.ingest.group_commit import StorageUnavailable
from events.models import Event
from events.sourcemaps.intake import CheckFailed
from telemetry_site import logs
from telemetry_site.server.environ import _errors
from tests.conftest import payload, success

PAYLOAD = "what-somebody-sent"
ADDRESS = "203.0.113.77"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


class Lines:
    """The log as its formatter writes it."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        maker: Callable[[], logging.Formatter] = {"line": logs.LineFormatter, "json": logs.JsonFormatter}[form]
        self.handler.setFormatter(maker())

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture(params=["line", "json"])
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Lines:
    made = Lines(request.param)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [made.handler])
    monkeypatch.setattr(root, "level", logging.INFO)
    return made


def log(message: Any, *args: Any, **options: Any) -> None:
    logging.getLogger("events.somewhere").error(message, *args, **options)


# --- the form ------------------------------------------------------------------------------------------------------


def test_a_line_has_the_time_the_level_and_the_logger(lines: Lines) -> None:
    log("%d of %s – done", 3, "four", extra={"payload": PAYLOAD})
    if lines.form == "line":
        assert re.fullmatch(rf"{TIME} ERROR events\.somewhere: 3 of four – done\n", lines.text)
        return
    [line] = lines.objects
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", line.pop("time"))
    assert line == {"level": "ERROR", "logger": "events.somewhere", "message": "3 of four – done"}


def test_a_traceback_shows_the_places_and_the_causes_but_no_text(lines: Lines) -> None:
    try:
        try:
            int(PAYLOAD)
        except ValueError as error:
            raise KeyError(PAYLOAD) from error
    except KeyError:
        log("It failed", exc_info=True)
    trace = lines.text if lines.form == "line" else lines.objects[0]["exception"]
    assert "ValueError\n\nThis led to:\n\nTraceback (most recent call last):\n" in trace
    assert "raise KeyError(PAYLOAD) from error\nKeyError" in trace
    assert PAYLOAD not in lines.text
    assert lines.text.count("\n") == (1 if lines.form == "json" else len(trace.splitlines()))


def test_a_value_cannot_begin_a_line_of_its_own(lines: Lines) -> None:
    log("The file %s", "a\nb\r\x1b[31m\u2028c\x85")
    assert len(lines.text.splitlines()) == 1
    said = r"The file a\x0ab\x0d\x1b[31m\u2028c\x85"
    assert said in (lines.text if lines.form == "line" else lines.objects[0]["message"])


def test_a_template_that_does_not_fit_its_arguments_is_written_without_them(
    lines: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's own handler would print the arguments to stderr."""
    for template, args in (("%d rows", (PAYLOAD,)), ("%s %s", (PAYLOAD,)), ("%(rows)s", ({"other": PAYLOAD},))):
        # Straight to our handler: pytest's own would raise.
        lines.handler.handle(logging.LogRecord("events.somewhere", logging.ERROR, "", 1, template, args, None))
    assert PAYLOAD not in lines.text + capsys.readouterr().err
    assert lines.text.count("\n") == 3


# --- no value that somebody sent -------------------------------------------------------------------------------------


def raised(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError


class Model(BaseModel):
    number: int


def _group() -> None:
    raise ExceptionGroup(PAYLOAD, [ValueError(PAYLOAD), OSError(28, "No space left on device")])


def _noted() -> None:
    error = ValueError()
    error.add_note(PAYLOAD)
    raise error


def _raise(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


EXCEPTIONS = {
    "a conversion": (lambda: int(PAYLOAD), "ValueError"),
    "a missing key": (lambda: {}[PAYLOAD], "KeyError"),
    "a decoding": (lambda: PAYLOAD.encode("utf-16").decode("ascii"), "UnicodeDecodeError"),
    "JSON": (lambda: json.loads(PAYLOAD), "json.decoder.JSONDecodeError"),
    "validation": (lambda: Model(number=PAYLOAD), "pydantic_core._pydantic_core.ValidationError"),
    "an assertion": (_raise(AssertionError(PAYLOAD)), "AssertionError"),
    "a wrong type": (lambda: Event.objects.filter(received_at_ms=PAYLOAD), "ValueError"),
    "an exception of ours": (_raise(StorageUnavailable(PAYLOAD)), "events.ingest.group_commit.StorageUnavailable"),
    "one whose text is ours alone": (
        _raise(CheckFailed("The check ended with status 1")),
        "events.sourcemaps.intake.CheckFailed: The check ended with status 1",
    ),
    "a note": (_noted, "ValueError"),
    "a group": (_group, "ExceptionGroup"),
    "the system": (lambda: os.stat("/nowhere/at/all"), "FileNotFoundError: No such file or directory: /nowhere/at/all"),
    "a free text of the system": (_raise(OSError(PAYLOAD)), "OSError"),
    "an attribute": (lambda: settings.NOTHING, "AttributeError: 'Settings' object has no attribute 'NOTHING'"),
    "Redis that refuses a command": (
        _raise(redis.ResponseError(f"unknown command, with args: {PAYLOAD}")),
        "redis.exceptions.ResponseError",
    ),
    "Redis that is away": (
        _raise(redis.ConnectionError("Error 111 connecting to localhost:1. Connection refused.")),
        "redis.exceptions.ConnectionError: Error 111 connecting to localhost:1. Connection refused.",
    ),
    "PostgreSQL that is away": (
        _raise(psycopg.OperationalError("connection refused\nIs the server running?")),
        "psycopg.OperationalError: connection refused",
    ),
    "psycopg itself": (_raise(psycopg.DataError(PAYLOAD)), "psycopg.DataError"),
    "a suspicious operation": (_raise(SuspiciousOperation(PAYLOAD)), "django.core.exceptions.SuspiciousOperation"),
}


@pytest.mark.parametrize("case", EXCEPTIONS)
def test_an_exception_is_written_without_what_somebody_sent(case: str, lines: Lines) -> None:
    call, words = EXCEPTIONS[case]
    error = raised(call)
    log("Because: %s", error)
    log(error)
    log("It failed", exc_info=error)
    assert logs.words_of(error) == words
    said = lines.text.splitlines() if lines.form == "line" else [line["message"] for line in lines.objects]
    assert said[0].endswith(f"Because: {words}")
    assert said[1].endswith(words)
    assert PAYLOAD not in lines.text


def violate(**changes: Any) -> BaseException:
    """Return the error of the database about a row that breaks a rule."""
    row = payload(message=PAYLOAD, session_id=PAYLOAD) | {
        "id": "1", "received_at_ms": 1, "stack": PAYLOAD, "source": "event",
    } | changes  # fmt: skip

    def insert() -> None:
        with transaction.atomic():
            Event.objects.create(**row)

    return raised(insert)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "sqlite", "postgresql"),
    [
        (
            {"write_mode": 2},
            "django.db.utils.IntegrityError: CHECK constraint failed: telemetry_events_write_mode",
            'django.db.utils.IntegrityError: 23514, new row for relation "telemetry_events" violates check constraint'
            ' "telemetry_events_write_mode"',
        ),
        (
            {"message": None},
            "django.db.utils.IntegrityError: NOT NULL constraint failed: telemetry_events.message",
            'django.db.utils.IntegrityError: 23502, null value in column "message" of relation "telemetry_events"'
            " violates not-null constraint",
        ),
        (
            {},  # the second row of a session
            "django.db.utils.IntegrityError: UNIQUE constraint failed:"
            " telemetry_events.event_type, telemetry_events.session_id",
            "django.db.utils.IntegrityError: 23505, duplicate key value violates unique constraint"
            ' "telemetry_events_type_session"',
        ),
    ],
)
def test_an_error_of_the_database_names_the_rule_and_no_value(
    changes: dict[str, Any], sqlite: str, postgresql: str, lines: Lines
) -> None:
    if not changes:
        Event.objects.create(**payload(session_id=PAYLOAD), id="0", received_at_ms=1, source="event")
    error = violate(**changes)
    logging.getLogger(writer.__name__).warning("A commit of %d submissions failed: %s", 2, error, exc_info=error)
    words = logs.words_of(error)
    assert words == (postgresql if connection.vendor == "postgresql" else sqlite)
    assert PAYLOAD not in lines.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT CAST('{PAYLOAD}' AS integer) FROM nowhere",
        f"SELECT '{PAYLOAD}' FROM",
        f"SELECT jsonb '{PAYLOAD}'",
        f"SELECT \"{PAYLOAD}\" '{PAYLOAD}' WHERE",
    ],
)
def test_an_error_about_a_statement_does_not_quote_it(sql: str, lines: Lines) -> None:
    def run() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)

    error = raised(run)
    assert isinstance(error, DatabaseError)
    log("It failed: %s", error, exc_info=error)
    assert PAYLOAD not in lines.text


def of_client(path: str = "/event") -> HttpRequest:
    request = RequestFactory().post(f"{path}?token={PAYLOAD}", {"message": PAYLOAD}, HTTP_ORIGIN=f"https://{PAYLOAD}")
    request.META |= {"REMOTE_ADDR": ADDRESS, "HTTP_USER_AGENT": PAYLOAD, "HTTP_REFERER": PAYLOAD}
    return request


def test_lines_of_django_about_a_request_contain_its_path_alone(lines: Lines) -> None:
    from django.http import HttpResponse

    log_response("%s: %s", "Service Unavailable", "/event", response=HttpResponse(status=503), request=of_client())
    security = logging.getLogger("django.security.csrf")
    security.warning(
        "Forbidden (%s): %s", f"Origin {PAYLOAD} does not match", "/admin/", extra={"request": of_client()}
    )
    logging.getLogger("django.security.SuspiciousSession").error(PAYLOAD, exc_info=raised(_raise(ValueError(PAYLOAD))))
    assert PAYLOAD not in lines.text
    assert ADDRESS not in lines.text
    for words in ("Service Unavailable: /event", "A request was refused: csrf", "refused: SuspiciousSession"):
        assert words in lines.text


def test_what_a_library_writes_for_wsgi_is_not_repeated(lines: Lines) -> None:
    _errors.write(PAYLOAD)
    assert f"A library wrote {len(PAYLOAD)} characters to wsgi.errors" in lines.text
    assert PAYLOAD not in lines.text


def test_what_python_would_print_is_logged_instead(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging, "_warnings_showwarning", None)
    logs.take_over()
    thread = threading.Thread(target=lambda: int(PAYLOAD))
    thread.start()
    thread.join()
    error = raised(lambda: int(PAYLOAD))
    sys.excepthook(ValueError, error, error.__traceback__)  # type: ignore[arg-type]
    logs.log_error_of_loop(None, {"message": "Task exception was never retrieved", "exception": error, "task": PAYLOAD})
    warnings.showwarning("This is deprecated", DeprecationWarning, "file.py", 1)
    logging.captureWarnings(False)
    assert PAYLOAD not in lines.text
    assert lines.text.count("An error was not handled") == 2
    assert "Task exception was never retrieved" in lines.text
    assert "This is deprecated" in lines.text


# --- our own calls ---------------------------------------------------------------------------------------------------

# What our log calls may pass. An exception is written by its class, see above. Nothing here comes from an event or from
# the head of a request.
REVIEWED = {
    "error": "an exception",
    "type(error).__name__": "the class of an exception",
    "cause": "an exception",
    "context['message']": "asyncio's own words",
    "len(batch)": "a number",
    "len(text)": "a number",
    "_AWAY_SECONDS": "a number",
    "settings.MIN_FREE_BYTES": "a number",
    "_WORDS[_room]": "one of three texts",
    "source_map.file": "the name of an uploaded file, from a holder of a token",
    "source_map.app_version": "the version of an uploaded file",
    "user.get_username()": "the name of a maintainer",
    "ended": "our words for the end of a process",
    "pause": "a number",
    "name": "the name of a job",
    "job.name": "the name of a job",
    "rule.name": "the name of a rule of alerts",
    "state.name": "the name of a job",
    "state.holder": "the name of this machine, with numbers",
    "ended.log_line": "the end of a job, in our words",
    "'primary' if fault else 'replica'": "one of two words",
    "fault or 'it is current'": "our words",
    "who": "the name of an account or a token",
}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for folder in ("events", "legacy", "telemetry_site"):
        for file in sorted((settings.BASE_DIR / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name("logger"))):
                        yield f"{file.relative_to(settings.BASE_DIR)}:{node.lineno}", node


def test_our_log_calls_pass_only_values_that_were_reviewed() -> None:
    calls = dict(log_calls())
    assert len(calls) > 15
    for place, call in calls.items():
        is_log = isinstance(call.func, ast.Attribute) and call.func.attr == "log"
        template, *args = call.args[1:] if is_log else call.args
        assert isinstance(template, ast.Constant), f"{place}: the template is no literal"
        assert [ast.unparse(arg) for arg in args if ast.unparse(arg) not in REVIEWED] == [], place
        assert {keyword.arg for keyword in call.keywords} <= {"exc_info"}, place


# --- the id of a request ---------------------------------------------------------------------------------------------

NGINX, CADDY = "0123456789abcdef0123456789abcdef", "5f0c2f1e-6d0b-4a39-9d0e-0d6c1c1f7a11"


@pytest.mark.parametrize(
    ("proxies", "sent", "is_used"),
    [
        (1, NGINX, True),
        (1, CADDY, True),
        (2, CADDY, True),
        (0, CADDY, False),  # from the client itself
        (1, f"{NGINX},{CADDY}", False),  # two headers
        (1, "a" * 15, False),
        (1, "a" * 65, False),
        (1, "somebody@example.org", False),
        (1, f"{NGINX}\n", False),
        (1, "", False),
    ],
)
def test_the_id_of_a_request_is_the_one_of_a_trusted_proxy(
    settings: Any, proxies: int, sent: str, is_used: bool, lines: Lines
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    environ = {"HTTP_X_REQUEST_ID": sent}
    with logs.during(environ):
        log("One")
        log("Two")
    log("After the request")
    known = logs.request_id(environ)
    assert (known == sent) is is_used
    assert re.fullmatch("[0-9a-f-]{32,36}", known)
    if lines.form == "json":
        assert [line.get("request_id") for line in lines.objects] == [known, known, None]
    else:
        assert [line.partition(": ")[2] for line in lines.text.splitlines()] == [
            f"One (request {known})", f"Two (request {known})", "After the request",
        ]  # fmt: skip


@pytest.mark.django_db
def test_an_internal_error_names_the_id_that_is_in_the_log(
    client: Client, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.raise_request_exception = False
    monkeypatch.setattr(writer, "submit", lambda _: {}[PAYLOAD])
    answer = client.post("/event", success(), content_type="application/json")
    assert (answer.status_code, answer.json()) == (500, {"ok": False, "error": "Internal error"})
    assert answer.headers["X-Request-ID"] in lines.text
    assert "Internal Server Error: /event" in lines.text
    assert "KeyError" in lines.text
    assert PAYLOAD not in lines.text
    monkeypatch.undo()
    assert "X-Request-ID" not in client.post("/event", success(), content_type="application/json").headers
