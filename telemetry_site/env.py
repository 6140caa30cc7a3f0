"""Typed reads of environment variables. No other module reads the environment.

An invalid value is never replaced by a guess. Each read collects its fault, and `settings.py` ends with
`refuse_faults()`, which raises one error for all of them.

A secret can be in a file that `NAME_FILE` names. No error message contains a secret, the text of such a file, or its
path: somebody may have put the secret itself there.
"""

import os
import re
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from django.core.exceptions import ImproperlyConfigured

from events import rates

T = TypeVar("T")


class UnusableValue(ValueError):
    """A refused value. The message follows the variable's name and ends without a full stop."""


class Periods(NamedTuple):
    """Storage periods in days; None keeps for ever. `of_kind` replaces `general` for the kinds that it names."""

    general: int | None
    of_kind: dict[str, int | None]


class MailServer(NamedTuple):
    """A mail server. `has_tls`: the connection is encrypted from its start; `starts_tls`: after a command."""

    host: str
    port: int
    user: str
    password: str
    has_tls: bool
    starts_tls: bool


class CopyTarget(NamedTuple):
    """The place of the copies of backups: a prefix in a bucket of a service that has the API of Amazon S3."""

    bucket: str
    prefix: str  # without slashes at its ends, "" for none
    endpoint: str  # the origin of the service, such as https://s3.eu-central-1.amazonaws.com
    region: str
    is_path_style: bool  # the bucket is in the path of a request, not in the host name
    timeout_seconds: int  # of one request, which sends or reads at most 8 MiB
    may_be_plain: bool  # unencrypted backups are copied too

    def __str__(self) -> str:
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{self.prefix} at {self.endpoint}"


class Variable(NamedTuple):
    """A variable that was read. `shown` is its text without secrets, "" for the default; `source` is where it was."""

    shown: str
    source: str
    is_secret: bool


PROJECT_DIR = Path(__file__).resolve().parent.parent
MAX_FILE_BYTES = 65_536

variables: dict[str, Variable] = {}  # by name, in the order of their reads
only_reads = False  # True for a command that must not write: nothing is created

_faults: list[str] = []
_LARGEST = 10**15
_MAX_DAYS = 36_500

# A developer's .env must not change the settings of the tests.
if "PYTEST_VERSION" not in os.environ:
    environ.Env.read_env(PROJECT_DIR / ".env")


def _read(
    name: str, default: T, parse: Callable[[str], T], expected: str, *, is_secret: bool = False, is_url: bool = False
) -> T:
    source, raw = _raw_secret(name) if is_secret else (name, os.environ.get(name, "").strip())
    variables[name] = Variable((masked(raw) if is_url else "set") if raw and is_secret else raw, source, is_secret)
    if not raw:
        return default
    try:
        return parse(raw)
    except UnusableValue as error:
        _faults.append(f"  {source} {error}.")
        return default
    except ValueError:
        _faults.append(f"  {source}{'' if is_secret else f'={raw!r}'} is not {expected}.")
        return default


def _raw_secret(name: str) -> tuple[str, str]:
    """Return the variable that contains a secret or names its file, and the secret; "" if there is none."""
    raw, source = os.environ.get(name, "").strip(), f"{name}_FILE"
    file = os.environ.get(source, "").strip()
    if not file:
        return name, raw
    if raw:
        _faults.append(f"  {name} and {source} are both set: remove one of them.")
        return name, ""
    try:
        return source, _read_file(file)
    except UnusableValue as error:
        _faults.append(f"  {source} {error}.")
        return source, ""


def _read_file(file: str) -> str:
    """Return the only line of a small file; raises UnusableValue."""
    if not os.path.isabs(file):
        raise UnusableValue("has no absolute path: begin it with /")
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a process that writes to it.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a path"
        raise UnusableValue(f"names a file that cannot be read: {reason}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise UnusableValue(f"names {'a folder' if stat.S_ISDIR(mode) else 'a device or a pipe'}, not a file")
        content = os.read(descriptor, MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise UnusableValue(f"names a file of more than {MAX_FILE_BYTES:,} bytes")
    try:
        line = content.decode("utf-8-sig").strip()  # some editors begin a file with a byte order mark
    except UnicodeDecodeError:
        raise UnusableValue("names a file that is not UTF-8") from None
    if not line:
        raise UnusableValue("names an empty file")
    if len(line.splitlines()) > 1 or "\0" in line:
        raise UnusableValue("names a file with more than one line of text")
    return line


def masked(url: str) -> str:
    """Return the URL of a server without user, password, foreign hosts and values of options.

    A password may contain every character, so all text before the last @ counts as one.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _URL_SCHEMES or not rest:
        return "set"
    _, at, rest = rest.rpartition("@")
    place, _, options = rest.partition("#")[0].partition("?")
    hosts, _, path = place.partition("/")
    names = [option.partition("=")[0] for option in options.split("&") if option]
    return (
        f"{scheme}://{'***' + at if at else ''}{','.join(map(_masked_host, hosts.split(',')))}"
        f"{'/' + path if path else ''}{'?' if names else ''}{'&'.join(f'{name}=***' for name in names)}"
    )


_MAIL_SCHEMES = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}  # with their usual ports
_URL_SCHEMES = ("postgres", "postgresql", "redis", "rediss", "s3", *_MAIL_SCHEMES)


def _masked_host(host: str) -> str:
    own = re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\]|)(:[0-9]+)?", host, re.IGNORECASE)
    return host if own else "***" + (port[0] if (port := re.search(r":[0-9]+$", host)) else "")


def ignored_files() -> list[str]:
    """Return the variables `NAME_FILE` without effect, because NAME is no secret."""
    return [f"{name}_FILE" for name, read in variables.items() if not read.is_secret and f"{name}_FILE" in os.environ]


def text(name: str, default: str) -> str:
    return _read(name, default, str, "text")


def secret_text(name: str, default: str) -> str:
    """Read a secret of any characters, such as a password."""
    return _read(name, default, str, "text", is_secret=True)


def flag(name: str, default: bool) -> bool:
    return _read(name, default, _parse_flag, "0 or 1")


def choice(name: str, default: str, *, among: tuple[str, ...]) -> str:
    def parse(raw: str) -> str:
        if raw.lower() not in among:
            raise ValueError
        return raw.lower()

    return _read(name, default, parse, " or ".join(among))


def integer(name: str, default: int, *, least: int, most: int) -> int:
    def parse(raw: str) -> int:
        value = int(raw)
        if not least <= value <= most:
            raise ValueError
        return value

    return _read(name, default, parse, f"a whole number from {least} to {most}")


def path(name: str, default: Path) -> Path:
    return _read(name, default, lambda raw: Path(raw).expanduser().resolve(), "a path")


def words(name: str, default: list[str]) -> list[str]:
    return _read(name, default, lambda raw: [word.strip() for word in raw.split(",") if word.strip()], "a list")


def names(name: str, *, most: int, max_length: int) -> frozenset[str]:
    """Read a comma-separated list of names, as events contain them."""

    def parse(raw: str) -> frozenset[str]:
        words = frozenset(word.strip() for word in raw.split(",")) - {""}
        if len(words) > most or any(len(word) > max_length or not word.isprintable() for word in words):
            raise ValueError
        return words

    expected = f"a comma-separated list of at most {most} names of at most {max_length} characters"
    return _read(name, frozenset(), parse, expected)


def keys(name: str, default: list[str]) -> tuple[str, ...]:
    """Read a comma-separated list of keys. Unlike in other lists, an empty value is one: no key."""
    raw = os.environ.get(name)
    variables[name] = Variable("(none)" if raw == "" else raw or "", name, is_secret=False)
    words = default if raw is None else [word.strip() for word in raw.split(",")]
    return tuple(word for word in words if word)


def secret(name: str, default: str, *, least: int) -> str:
    """Read a secret for an HTTP header. The error message never contains the secret."""

    def parse(raw: str) -> str:
        advice = "make one with `openssl rand -hex 32`"
        if len(raw) < least:
            raise UnusableValue(f"has {len(raw)} characters, which can be guessed; it needs {least} or more: {advice}")
        if not raw.isascii() or not raw.isprintable() or " " in raw:
            raise UnusableValue(f"has a space or a letter outside ASCII, which no header carries: {advice}")
        return raw

    return _read(name, default, parse, "a secret", is_secret=True)


def passphrase(name: str, default: str, *, least: int) -> str:
    """Read a passphrase. The error message never contains it."""

    def parse(raw: str) -> str:
        if len(raw) < least:
            raise UnusableValue(
                f"has {len(raw)} characters, which can be guessed; it needs {least} or more: use several random words"
            )
        if not raw.isprintable():
            raise UnusableValue("has a control character, which nobody can type")
        return raw

    return _read(name, default, parse, "a passphrase", is_secret=True)


def rotation(name: str, default: str) -> dict[str, int] | None:
    """Read how many days (d), weeks (w) and months (m) have a backup, such as `7d4w`. Return None for `off`."""

    def parse(raw: str) -> dict[str, int] | None:
        if raw.lower() == "off":
            return None
        if not re.fullmatch(r"([1-9]\d{0,3}d)?([1-9]\d{0,3}w)?([1-9]\d{0,3}m)?", raw):
            raise ValueError
        return {part[-1]: int(part[:-1]) for part in re.findall(r"\d+[dwm]", raw)}

    return _read(name, parse(default), parse, "a rotation such as 7d4w (days, weeks, months), or off")


def origins(name: str, default: list[str]) -> list[str]:
    """Read comma-separated origins. Return each one once, as a browser sends it. The error lists every fault."""

    def parse(raw: str) -> list[str]:
        parsed = []
        for word in filter(None, map(str.strip, raw.split(","))):
            try:
                parsed.append(_parse_origin(word))
            except UnusableValue as error:
                _faults.append(f"  {name}: {error}.")
        return list(dict.fromkeys(parsed))

    return _read(name, default, parse, "a list of origins")


def origin(name: str, default: str) -> str:
    """Read the site's own origin. A path is refused: the admin and the cookies need the root of a host."""

    def parse(raw: str) -> str:
        try:
            return _parse_origin(raw)
        except _HasPath as error:
            raise UnusableValue(
                f"{error}, and the site cannot be served under a sub-path: give it a host name or a port of its own"
            ) from None

    return _read(name, default, parse, "an address such as https://telemetry.example.org")


def host_in_url(host: str) -> str:
    """Return a host as a URL contains it: with brackets around an IPv6 address."""
    try:
        return f"[{IPv6Address(host)}]"
    except AddressValueError:
        return host.lower()


def day(name: str) -> date | None:
    return _read(name, None, date.fromisoformat, "a date such as 2027-01-31")


def hours(name: str) -> tuple[int, int] | None:
    """Read the hours of a day from the first up to, but without, the second, such as `22-07`. None when not set."""

    def parse(raw: str) -> tuple[int, int]:
        match = re.fullmatch(r"([01]?[0-9]|2[0-3])-([01]?[0-9]|2[0-3])", raw)
        if not match or int(match[1]) == int(match[2]):
            raise ValueError
        return int(match[1]), int(match[2])

    return _read(name, None, parse, "two different hours from 00 to 23, such as 22-07")


def time_zone(name: str, default: str) -> ZoneInfo:
    def parse(raw: str) -> ZoneInfo:
        try:
            return ZoneInfo(raw)
        except (ZoneInfoNotFoundError, OSError):  # a folder of time zones, such as `Europe`, raises OSError
            raise ValueError from None

    return _read(name, ZoneInfo(default), parse, "a time zone of this machine, such as Europe/Berlin")


def rate(name: str, default: str | None) -> str | None:
    """Read a rate such as `120/m` (units s, m, h, d). Return None for `off`."""
    return _read(name, default, rates.parse, "a rate such as 120/m, or off")


def size(name: str, default: int | None) -> int | None:
    """Read a number of bytes. Return None for `off`."""

    def parse(raw: str) -> int | None:
        if raw.lower() == "off":
            return None
        value = int(raw)
        if not 1 <= value <= _LARGEST:
            raise ValueError
        return value

    return _read(name, default, parse, f"a number of bytes from 1 to {_LARGEST}, or off")


def periods(name: str, *, kinds: Sequence[str]) -> Periods | None:
    """Read periods such as `90,flash_success=365`: days or `off`, then those of single kinds. None when not set."""

    def parse(raw: str) -> Periods:
        general, *parts = (part.strip() for part in raw.split(","))
        of_kind: dict[str, int | None] = {}
        for part in parts:
            kind, _, days = (word.strip() for word in part.partition("="))
            if kind not in kinds:
                raise UnusableValue(f"has a period for {kind!r}, which is none of {', '.join(kinds)}")
            if kind in of_kind:
                raise UnusableValue(f"has two periods for {kind}")
            of_kind[kind] = _parse_days(days)
        return Periods(_parse_days(general), of_kind)

    expected = f"a number of days from 1 to {_MAX_DAYS}, or off, such as 90 or 90,{kinds[0]}=365"
    return _read(name, None, parse, expected)


def _parse_days(raw: str) -> int | None:
    if raw.lower() == "off":
        return None
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw) <= _MAX_DAYS:
        raise ValueError
    return int(raw)


def database(name: str, *, writes: bool = True) -> dict[str, Any] | None:
    """Read the address of a PostgreSQL database, with one host or several. Return Django's form of it.

    The error never contains the address: it has a password in it. `writes`: only the primary of several hosts is used.
    """
    return _read(
        name, None, lambda raw: _parse_database(raw, writes), "a postgres:// address", is_secret=True, is_url=True
    )


def cache_url(name: str) -> str:
    parse = _parse_scheme("redis", "rediss")
    return _read(name, "", parse, "a redis:// address", is_secret=True, is_url=True)


def mail_server(name: str) -> MailServer | None:
    """Read the address of a mail server, such as `smtps://user:password@host:465`."""
    return _read(name, None, _parse_mail_server, "the address of a mail server", is_secret=True, is_url=True)


def mail_address(name: str, default: str) -> str:
    """Read a mail address, alone or as `Name <address>`."""

    def parse(raw: str) -> str:
        if not _MAIL_ADDRESS.fullmatch(raw) or not raw.isprintable():
            raise ValueError
        return raw

    return _read(name, default, parse, "a mail address, such as telemetry@example.org or Telemetry <t@example.org>")


def hosts(name: str) -> list[tuple[str, int | None]]:
    """Read comma-separated host names, addresses and networks, each with a port or None. The error lists all faults."""

    def parse(raw: str) -> list[tuple[str, int | None]]:
        parsed = []
        for word in filter(None, map(str.strip, raw.split(","))):
            try:
                parsed.append(_parse_place(word))
            except ValueError:
                _faults.append(f"  {name}: {word!r} is no host, address or network, alone or with a port.")
        return list(dict.fromkeys(parsed))

    return _read(name, [], parse, "a list of hosts")


def copy_target(name: str) -> CopyTarget | None:
    """Read the address of a bucket, such as `s3://bucket/prefix?endpoint=https://s3.example.org`.

    The error never contains the address: somebody may have put the secret into it.
    """
    return _read(name, None, _parse_copy_target, "an s3:// address", is_secret=True, is_url=True)


def issue_form(name: str) -> str | None:
    """Read the address of a tracker's form for a new issue, with the placeholders {title} and {body} in its query."""
    return _read(name, None, _parse_issue_form, "an https address with {title} or {body}")


def make_folder(name: str, folder: Path) -> None:
    """Create a folder that only its owner may open. Raises ImproperlyConfigured when that fails."""
    if only_reads:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ImproperlyConfigured(f"  {name}={str(folder)!r} cannot be used: {error.strerror}.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"  {name}={str(folder)!r} cannot be written.")


def refuse_faults() -> None:
    """Raise one ImproperlyConfigured that lists every invalid value."""
    if _faults:
        words = "\n".join(_faults)
        _faults.clear()  # Django imports failed settings a second time
        raise ImproperlyConfigured(f"{words}\ndocs/settings.md describes every variable.")


def _parse_flag(raw: str) -> bool:
    value = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if raw.lower() not in value:
        raise ValueError
    return value[raw.lower()]


class _HasPath(UnusableValue):
    pass


_DEFAULT_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


def _parse_origin(raw: str) -> str:
    """Return an origin as a browser writes it; raises UnusableValue for a value that no browser sends."""
    if raw == "null":
        raise UnusableValue("'null' cannot be allowed: every file and every sandboxed page sends it")
    if not raw.isprintable() or " " in raw:
        raise UnusableValue(f"{raw!r} has a space or a control character: separate origins with commas")
    match = re.fullmatch(r"(https?)://([^/?#\\]*)(.*)", raw, re.IGNORECASE)
    if not match:
        raise UnusableValue(f"{raw!r} does not begin with http:// or https://")
    scheme, authority, rest = match[1].lower(), match[2].lower(), match[3]
    if rest.strip("/"):
        raise _HasPath(f"{raw!r} has a path: an origin is scheme, host and port alone")
    if "@" in authority:
        raise UnusableValue(f"{raw!r} has a user name: an origin is scheme, host and port alone")
    if "*" in authority:
        raise UnusableValue(f"{raw!r} has a wildcard: name each origin in full")
    if not authority.isascii():
        raise UnusableValue(f"{raw!r} has letters outside ASCII: write the host as browsers send it, with xn--")
    parts = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{0,5}))?", authority)
    port = int(parts[2] or _DEFAULT_PORTS[scheme]) if parts else 0
    if parts is None or not 1 <= port <= 65535:
        raise UnusableValue(f"{raw!r} has no port from 1 to 65535 after its host")
    try:
        host = _parse_host(parts[1])
    except AddressValueError:
        raise UnusableValue(f"{raw!r} has no valid host") from None
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def _parse_host(host: str) -> str:
    """Return a host name, an IPv4 address or an IPv6 address in brackets; raises AddressValueError."""
    if host.startswith("["):
        return f"[{IPv6Address(host.strip('[]'))}]"
    if not _HOST_NAME.fullmatch(host):
        raise AddressValueError
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2]):  # browsers parse it as IPv4
        return str(IPv4Address(host))
    return host


# A host that does not answer is skipped after this time. A lost connection is noticed within ten seconds: otherwise a
# commit would wait for a dead host for as long as the kernel repeats its packets.
_CONNECTION_OPTIONS = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "10000",
}
_WRITABLE = ("read-write", "primary")


def _parse_database(raw: str, writes: bool) -> dict[str, Any]:
    """Parse an address with libpq's own rules: several hosts, IPv6, sockets, percent-encoding, its parameters."""
    from psycopg import Error  # a site on SQLite does not need the driver
    from psycopg.conninfo import conninfo_to_dict

    if not raw.startswith(("postgres://", "postgresql://")):
        raise UnusableValue("is not a postgres:// address, such as postgres://user:password@host:5432/name")
    try:
        parts: dict[str, str] = {key: str(value) for key, value in conninfo_to_dict(raw).items()}
    except (Error, UnicodeDecodeError):
        raise UnusableValue(
            "is not a postgres:// address that PostgreSQL's client library accepts: encode special characters of the"
            " password as %XX, and use only its parameters"
        ) from None
    hosts, ports = parts.pop("host", ""), parts.pop("port", "")
    database, user, password = (parts.pop(key, "") for key in ("dbname", "user", "password"))
    if not database:
        raise UnusableValue("names no database: it ends with /name")
    port_list = [port or "5432" for port in ports.split(",")] if ports else []
    if not all(re.fullmatch(r"[1-9]\d{0,4}", port) and int(port) <= 65_535 for port in port_list):
        raise UnusableValue("has a port that is not a number from 1 to 65535")
    if "," in hosts:
        count = hosts.count(",") + 1
        if not all(hosts.split(",")) or len(port_list) not in (0, 1, count):
            raise UnusableValue("has an empty host, or not one port for each of its hosts")
        wanted = parts.setdefault("target_session_attrs", "read-write" if writes else "any")
        if writes and wanted not in _WRITABLE:
            raise UnusableValue(
                f"has several hosts and target_session_attrs={wanted}, so the site could reach a standby:"
                " use read-write, or leave the parameter out"
            )
    return {
        "ENGINE": "telemetry_site.postgresql",
        "NAME": database,
        "USER": user,
        "PASSWORD": password,
        "HOST": hosts,
        "PORT": ",".join(port_list),
        "OPTIONS": _CONNECTION_OPTIONS | parts,
    }


_MAIL_ADDRESS = re.compile(r"[^@<>]*<[^@<>\s,]+@[^@<>\s,]+>|[^@<>\s,]+@[^@<>\s,]+")


def _parse_mail_server(raw: str) -> MailServer:
    try:
        parts = urlsplit(raw)
        port = parts.port
    except ValueError:
        raise UnusableValue("has no valid host and port: encode special characters of the password as %XX") from None
    if parts.scheme not in _MAIL_SCHEMES:
        raise UnusableValue(f"begins with none of {', '.join(f'{scheme}://' for scheme in _MAIL_SCHEMES)}")
    if not parts.hostname:
        raise UnusableValue("names no host: it has the form smtps://user:password@host:465")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise UnusableValue("goes on after the port: encode the characters / ? # of the password as %XX")
    if bool(parts.username) != bool(parts.password):
        raise UnusableValue("has a user without a password, or a password without a user")
    return MailServer(
        parts.hostname,
        port or _MAIL_SCHEMES[parts.scheme],
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        has_tls=parts.scheme == "smtps",
        starts_tls=parts.scheme == "smtp+starttls",
    )


def _parse_place(word: str) -> tuple[str, int | None]:
    """Return a host, an address or a network, and its port, None without one. Raises ValueError."""
    with suppress(ValueError):
        return str(ip_network(word.strip("[]"))), None
    host, colon, port = word.rpartition(":")
    if not colon:
        return _parse_host(word.lower()), None
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise ValueError
    with suppress(ValueError):
        return str(ip_network(host.strip("[]"))), int(port)
    return _parse_host(host.lower()), int(port)


MAX_ISSUE_FORM = 1_000
_PLACEHOLDERS = ("{title}", "{body}")


def _parse_issue_form(raw: str) -> str:
    """Return the address. Its placeholders are values of the query, so no text can change the host or the path."""
    if len(raw) > MAX_ISSUE_FORM:
        raise UnusableValue(f"has {len(raw):,} characters: use at most {MAX_ISSUE_FORM:,}")
    if not raw.isascii() or not raw.isprintable() or any(character in raw for character in " \\\"'<>^`|"):
        raise UnusableValue("has a character that no address contains: encode spaces and letters outside ASCII as %XX")
    place, mark, query = raw.partition("#")[0].partition("?")
    scheme, _, rest = place.partition("://")
    if scheme.lower() != "https":
        raise UnusableValue("does not begin with https://")
    authority, slash, path = rest.partition("/")
    if any(brace in place for brace in "{}"):
        raise UnusableValue("has a brace before the ?: {title} and {body} can only be values behind it")
    try:
        origin = _parse_origin(f"https://{authority}")
    except UnusableValue as error:
        raise UnusableValue(f"has no valid host: {error}") from None
    if "{" in raw.partition("#")[2] or "}" in raw.partition("#")[2]:
        raise UnusableValue("has a brace behind the #: {title} and {body} can only be values between the ? and the #")
    values = [part.partition("=")[2] for part in query.split("&")]
    rest_of_query = query
    for placeholder in _PLACEHOLDERS:
        if query.count(placeholder) > 1:
            raise UnusableValue(f"has {placeholder} twice")
        if placeholder in query and not any(placeholder in value for value in values):
            raise UnusableValue(f"has {placeholder} as the name of a parameter: write name={placeholder}")
        rest_of_query = rest_of_query.replace(placeholder, "")
    if "{" in rest_of_query or "}" in rest_of_query:
        raise UnusableValue("has another placeholder than {title} and {body}")
    if rest_of_query == query:
        raise UnusableValue("has neither {title} nor {body} behind a ?, such as ?title={title}&body={body}")
    if re.search(r"%(?![0-9a-fA-F]{2})", raw):
        raise UnusableValue("has a % without two hexadecimal digits: encode it as %25")
    return f"{origin}{slash}{path}{mark}{query}{raw[len(raw.partition('#')[0]) :]}"


_OPTIONS_OF_COPIES = ("endpoint", "region", "path_style", "timeout", "unencrypted")


def _parse_copy_target(raw: str) -> CopyTarget:
    parts = urlsplit(raw)
    if parts.scheme != "s3" or parts.fragment:
        raise UnusableValue("is not an s3:// address, such as s3://bucket/prefix?endpoint=https://s3.example.org")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", parts.netloc):
        raise UnusableValue(
            "has no bucket of 3 to 63 letters, digits, dots and hyphens after s3://. The keys are in BACKUP_S3_KEY_ID"
            " and BACKUP_S3_SECRET, the host of the service in endpoint="
        )
    prefix = parts.path.strip("/")
    if prefix and not all(re.fullmatch(r"\.{0,2}[A-Za-z0-9_=-][A-Za-z0-9._=-]*", part) for part in prefix.split("/")):
        raise UnusableValue("has a prefix with other characters than letters, digits and ._=-/, or an empty part")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    if unknown := sorted(options.keys() - set(_OPTIONS_OF_COPIES)):
        raise UnusableValue(f"has the option {unknown[0][:40]!r}, which is none of {', '.join(_OPTIONS_OF_COPIES)}")
    if len(options) < len(pairs):
        raise UnusableValue("has an option twice")
    region = options.get("region", "us-east-1")
    if not re.fullmatch(r"[a-z0-9-]{1,40}", region):
        raise UnusableValue("has a region that is none, such as eu-central-1, or auto")
    timeout = options.get("timeout", "120")
    if not re.fullmatch(r"[1-9]\d{0,3}", timeout) or int(timeout) > 3_600:
        raise UnusableValue("has a timeout that is not a number of seconds from 1 to 3600")
    try:
        endpoint = _parse_origin(options.get("endpoint", f"https://s3.{region}.amazonaws.com"))
    except UnusableValue:
        raise UnusableValue(
            "has an endpoint that is not scheme, host and port, such as https://s3.example.org"
        ) from None
    try:
        is_path_style, may_be_plain = (
            _parse_flag(options.get(option, default)) for option, default in (("path_style", "1"), ("unencrypted", "0"))
        )
    except ValueError:
        raise UnusableValue("has a path_style or an unencrypted that is not 0 or 1") from None
    return CopyTarget(parts.netloc, prefix, endpoint, region, is_path_style, int(timeout), may_be_plain)


def _parse_scheme(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if urlsplit(raw).scheme not in schemes:
            raise ValueError
        return raw

    return parse
