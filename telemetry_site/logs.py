"""The form of log lines (LOG_FORMAT), the id of their request, and what they may contain.

A log line never contains a payload or a client's address. Much of a line comes from other code: the text of an
exception may quote what the client sent. PostgreSQL quotes the whole row of a failed INSERT. So both formatters write
an exception by its class and its place in the code. Its text is written only if it cannot contain input.
"""

import logging
import re
import sys
import threading
import traceback
import uuid
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter as StructuredFormatter

logger = logging.getLogger(__name__)

LINE = "{asctime} {levelname} {name}: {message}"
# What nginx and Caddy generate: 32 hex digits, or a UUID. Words that a client chose would not fit.
_REQUEST_ID = re.compile(r"[0-9a-fA-F-]{16,64}")
_ID_KEY = "telemetry.request_id"
_ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
# Control characters would let a value begin a line of its own.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}

# --- the request of a line -------------------------------------------------------------------------------------------

_current = threading.local()


@contextmanager
def during(environ: MutableMapping[str, Any]) -> Iterator[None]:
    """Give the lines of this thread the id of a request, for servers that are not on the fast path."""
    begin(environ)
    try:
        yield
    finally:
        end()


def begin(environ: MutableMapping[str, Any]) -> None:
    """Let the lines of this thread belong to the request of a WSGI environ. Costs nothing until a line is written."""
    _current.environ = environ


def end() -> None:
    _current.environ = None


def request_id(environ: MutableMapping[str, Any]) -> str:
    """Return the id of a request: `X-Request-ID` of a trusted proxy if it is a usable one, else a random one."""
    known = environ.get(_ID_KEY)
    if known is None:
        sent = environ.get("HTTP_X_REQUEST_ID", "") if settings.TRUSTED_PROXY_COUNT else ""
        known = environ[_ID_KEY] = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
    return str(known)


def _request_id_of(record: logging.LogRecord) -> str | None:
    environ = getattr(_current, "environ", None)
    if environ is None:  # Django adds the request to its own lines
        environ = getattr(getattr(record, "request", None), "META", None)
    return None if environ is None else request_id(environ)


# --- what a line may contain -----------------------------------------------------------------------------------------

# The texts of these contain names of our code, or nothing.
_ABOUT_CODE = (ImportError, NameError, AttributeError, MemoryError, RecursionError, NotImplementedError)
# Data exceptions quote a value, syntax errors a part of the statement.
_QUOTING_SQLSTATES = ("22", "42")
_OF_REDIS = {"ConnectionError", "TimeoutError", "AuthenticationError", "BusyLoadingError", "ReadOnlyError"}


def words_of(error: BaseException) -> str:
    """Return the class of an exception, with its text if that cannot contain a payload or a client's address."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    text = _text_of(error)
    return f"{name}: {text}" if text else name


def _text_of(error: BaseException) -> str:
    package = type(error).__module__.partition(".")[0]
    if getattr(error, "is_loggable", False) or package in ("sqlite3", "subprocess"):
        return _first_line(error)  # SQLite names tables and columns, and never a value
    if type(error).__module__ == "django.db.utils":
        return _first_line(error) if error.__cause__ is None else _text_of(error.__cause__)
    if package in ("psycopg", "psycopg_pool"):
        return _text_of_postgres(error)
    if isinstance(error, OSError) and package != "redis":
        return ": ".join(str(part) for part in (error.strerror, error.filename) if part)
    if package == "redis" and type(error).__name__ in _OF_REDIS:
        return _first_line(error)
    return _first_line(error) if isinstance(error, _ABOUT_CODE) else ""


def _text_of_postgres(error: Any) -> str:
    """Return the main message without DETAIL, CONTEXT and the statement, which contain values."""
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is None:  # no answer of the server: it cannot be reached, or the pool is exhausted
        names = {kind.__name__ for kind in type(error).__mro__}
        return _first_line(error) if names & {"OperationalError", "InterfaceError"} else ""
    diagnosis = error.diag
    quotes = sqlstate.startswith(_QUOTING_SQLSTATES)
    places = (diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name)
    parts = [sqlstate, *((diagnosis.message_primary,) if not quotes else places)]
    return ", ".join(part for part in parts if part)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def trace_of(error: BaseException) -> str:
    """Return the traceback of an exception and of its causes, without the texts that could contain input."""
    chain: list[str] = []
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        frames = "".join(traceback.format_tb(found.__traceback__))
        within = "".join(f"\n  within: {words_of(one)}" for one in getattr(found, "exceptions", ()))
        chain.append(f"Traceback (most recent call last):\n{frames}{words_of(found)}{within}")
        if found.__cause__ is not None:
            found = found.__cause__
        else:
            found = None if found.__suppress_context__ else found.__context__
    return "\n\nThis led to:\n\n".join(reversed(chain))


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a record that may be written: nothing but the time, the level, the logger, the message, the
    traceback and the id of the request. Attributes of `extra` are left out: Django adds the whole request.
    """
    clean = logging.LogRecord(
        record.name, record.levelno, record.pathname, record.lineno, _message_of(record).translate(_ESCAPES), (), None
    )
    clean.created, clean.msecs, clean.levelname = record.created, record.msecs, record.levelname
    # `exc_text` may be the full text that another formatter has cached.
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    clean.exc_text = trace_of(error) if error is not None else None
    clean.stack_info = record.stack_info
    identity = _request_id_of(record)
    if identity is not None:
        clean.request_id = identity
    return clean


def _message_of(record: logging.LogRecord) -> str:
    if record.name.startswith("django.security"):
        # Its messages quote the origin, the referrer, the host or a parameter.
        return f"A request was refused: {record.name.removeprefix('django.security').lstrip('.') or 'suspicious'}"
    template = words_of(record.msg) if isinstance(record.msg, BaseException) else str(record.msg)
    args: Any = record.args
    if isinstance(args, tuple):
        args = tuple(map(_argument, args))
    elif isinstance(args, dict):
        args = {name: _argument(value) for name, value in args.items()}
    try:
        return template % args if args else template
    except (TypeError, ValueError, KeyError):  # logging itself would print the arguments
        return template


def _argument(value: Any) -> Any:
    return words_of(value) if isinstance(value, BaseException) else value


# --- the formats -----------------------------------------------------------------------------------------------------


class LineFormatter(logging.Formatter):
    """One line for each record, and the lines of its traceback."""

    def __init__(self) -> None:
        super().__init__(LINE, style="{")

    def format(self, record: logging.LogRecord) -> str:
        clean = cleaned(record)
        if identity := getattr(clean, "request_id", None):
            clean.msg = f"{clean.msg} (request {identity})"
        return super().format(clean)


class JsonFormatter(StructuredFormatter):
    """One JSON object on one line: time, level, logger, message, and where known request_id and exc_info."""

    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception"},
            json_ensure_ascii=False,
        )

    def format(self, record: logging.LogRecord) -> str:
        return super().format(cleaned(record))


FORMATTERS = {"line": "telemetry_site.logs.LineFormatter", "json": "telemetry_site.logs.JsonFormatter"}


# --- what Python writes to stderr by itself --------------------------------------------------------------------------


def take_over() -> None:
    """Log the errors and warnings that Python would print: its own text has no form and contains their values.

    For the processes of a server. A command that a person started keeps Python's own output.
    """
    logging.captureWarnings(True)
    sys.excepthook = _log_error
    sys.unraisablehook = lambda error: _log_error(error.exc_type, error.exc_value, error.exc_traceback)
    threading.excepthook = lambda error: _log_error(error.exc_type, error.exc_value, error.exc_traceback)


def _log_error(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return
    logger.critical("An error was not handled", exc_info=(kind, error or kind(), trace))


def log_error_of_loop(loop: Any, context: dict[str, Any]) -> None:
    """Log what asyncio would log itself, without the values that it adds. For `loop.set_exception_handler`."""
    error = context.get("exception")
    exc_info: _ExcInfo | None = None if error is None else (type(error), error, error.__traceback__)
    logger.error("%s", context["message"], exc_info=exc_info)  # type: ignore[arg-type]
