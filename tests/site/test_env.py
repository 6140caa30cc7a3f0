"""`telemetry_site/env.py`: what each kind of variable takes, and what it refuses in words."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from telemetry_site import env
from tests.conftest import run_apart

NUMBER = "is not a whole number from 2 to 10"
SIZE = "is not a number of bytes from 1 to 1000000000000000, or off"
ROTATION = "is not a rotation such as 7d4w (days, weeks, months), or off"
HOURS = "is not two different hours from 00 to 23, such as 22-07"
ZONE = "is not a time zone of this machine, such as Europe/Berlin"
SENDER = "is not a mail address, such as telemetry@example.org or Telemetry <t@example.org>"
NAMES = "is not a comma-separated list of at most 2 names of at most 5 characters"

WRITABLE = {"target_session_attrs": "read-write"}
PRIMARY = {"target_session_attrs": "primary"}
DEFAULTS = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "10000",
}


def number(name: str) -> Any:
    return env.integer(name, 7, least=2, most=10)


def size(name: str) -> Any:
    return env.size(name, 7)


def names(name: str) -> Any:
    return sorted(env.names(name, most=2, max_length=5))


def rotation(name: str) -> Any:
    return env.rotation(name, "7d4w")


def time_zone(name: str) -> Any:
    return str(env.time_zone(name, "UTC"))


def passphrase(name: str) -> Any:
    return env.passphrase(name, "", least=12)


def flag(name: str) -> Any:
    return env.flag(name, False)


PERIODS = "is not a number of days from 1 to 36500, or off, such as 90 or 90,a=365"


def periods(name: str) -> Any:
    read = env.periods(name, kinds=("a", "b"))
    return read and tuple(read)


def address(name: str, **options: bool) -> Any:
    """Return the parts of a database's address, and the options that are not the default ones."""
    read = env.database(name, **options)
    if read is None:
        return None
    assert read["ENGINE"] == "telemetry_site.postgresql"
    added = {key: value for key, value in read["OPTIONS"].items() if DEFAULTS.get(key) != value}
    assert read["OPTIONS"].keys() >= DEFAULTS.keys()
    return (*(read[part] for part in ("USER", "PASSWORD", "HOST", "PORT", "NAME")), added)


def replica(name: str) -> Any:
    return address(name, writes=False)


def mail(name: str) -> Any:
    read = env.mail_server(name)
    return read and tuple(read)


def sender(name: str) -> Any:
    return env.mail_address(name, "t@example.org")


AMAZON = "https://s3.us-east-1.amazonaws.com"
COPIES = "has no bucket of 3 to 63 letters, digits, dots and hyphens after s3://. The keys are in"
COPIES_ENDPOINT = "has an endpoint that is not scheme, host and port, such as https://s3.example.org."


@pytest.mark.parametrize(
    ("read", "raw", "value"),
    [
        (env.copy_target, "", None),
        (env.copy_target, "s3://bucket", ("bucket", "", AMAZON, "us-east-1", True, 120, False)),
        (
            env.copy_target,
            "s3://bucket/?region=eu-central-1",
            ("bucket", "", "https://s3.eu-central-1.amazonaws.com", "eu-central-1", True, 120, False),
        ),
        (
            env.copy_target,
            "s3://a.b-c/x/.y_1/?endpoint=HTTP%3A%2F%2FS3.Example:9000/&path_style=no&timeout=3600&unencrypted=1",
            ("a.b-c", "x/.y_1", "http://s3.example:9000", "us-east-1", False, 3_600, True),
        ),
        (number, "", 7),
        (number, " 2 ", 2),
        (number, "10", 10),
        (size, "", 7),
        (size, "off", None),
        (size, "OFF", None),
        (size, "1", 1),
        (size, "1000000000000000", 10**15),
        (names, "", []),
        (names, " b ,a,, a", ["a", "b"]),
        (names, "12345", ["12345"]),
        (periods, "", None),
        (periods, "90", (90, {})),
        (periods, "OFF", (None, {})),
        (periods, " 90 , a = 365,b=off", (90, {"a": 365, "b": None})),
        (periods, "off,b=36500", (None, {"b": 36_500})),
        (flag, "yes", True),
        (flag, "Off", False),
        (rotation, "", {"d": 7, "w": 4}),
        (rotation, "OFF", None),
        (rotation, "12m", {"m": 12}),
        (rotation, "1d2w3m", {"d": 1, "w": 2, "m": 3}),
        (env.hours, "", None),
        (env.hours, "22-07", (22, 7)),
        (env.hours, "0-6", (0, 6)),
        (time_zone, "", "UTC"),
        (time_zone, "Europe/Berlin", "Europe/Berlin"),
        (passphrase, "", ""),
        (passphrase, "correct horse", "correct horse"),
        (env.cache_url, "", ""),
        (env.cache_url, "rediss://cache.example/1", "rediss://cache.example/1"),
        (address, "", None),
        (address, "postgres://u:p%40w@db/name", ("u", "p@w", "db", "", "name", {})),
        (
            address,
            "postgresql://[::1]:5433/name?sslmode=require",
            ("", "", "::1", "5433", "name", {"sslmode": "require"}),
        ),
        (address, "postgres://u@%2Frun%2Fpostgresql/n", ("u", "", "/run/postgresql", "", "n", {})),
        (address, "postgres:///name", ("", "", "", "", "name", {})),
        (address, "postgres://u@a:5433,b/n", ("u", "", "a,b", "5433,5432", "n", WRITABLE)),
        (address, "postgres://a,b/n?target_session_attrs=primary", ("", "", "a,b", "5432,5432", "n", PRIMARY)),
        (address, "postgres:///n?host=a,b&port=5433", ("", "", "a,b", "5433", "n", WRITABLE)),
        (address, "postgres://a/n?connect_timeout=9", ("", "", "a", "", "n", {"connect_timeout": "9"})),
        (mail, "", None),
        (mail, "smtps://u:p%40w@mail.example.org", ("mail.example.org", 465, "u", "p@w", True, False)),
        (mail, "smtp+starttls://u:p@mail.example.org", ("mail.example.org", 587, "u", "p", False, True)),
        (mail, "smtp://localhost:2525/", ("localhost", 2525, "", "", False, False)),
        (mail, "smtp://[::1]", ("::1", 25, "", "", False, False)),
        (sender, "", "t@example.org"),
        (sender, "Télé <a@example.org>", "Télé <a@example.org>"),
        (env.hosts, "", []),
        (
            env.hosts,
            " NTFY.lan:8080, 10.1.2.3/32,,10.1.0.0/16 ",
            [("ntfy.lan", 8080), ("10.1.2.3/32", None), ("10.1.0.0/16", None)],
        ),
        (env.hosts, "[fd00::1]:443,fd00::/8,::1", [("fd00::1/128", 443), ("fd00::/8", None), ("::1/128", None)]),
        (env.hosts, "localhost,localhost", [("localhost", None)]),
        (replica, "postgres://a,b/n", ("", "", "a,b", "5432,5432", "n", {"target_session_attrs": "any"})),
    ],
)
def test_a_value_is_read(monkeypatch: pytest.MonkeyPatch, read: Callable[[str], Any], raw: str, value: Any) -> None:
    monkeypatch.setenv("A_VARIABLE", raw)
    assert read("A_VARIABLE") == value
    env.refuse_faults()


@pytest.mark.parametrize(
    ("read", "raw", "words"),
    [
        (number, "1", NUMBER),
        (number, "11", NUMBER),
        (number, "two", NUMBER),
        (size, "0", SIZE),
        (size, "1000000000000001", SIZE),
        (size, "-1", SIZE),
        (names, "a,b,c", NAMES),
        (names, "123456", NAMES),
        (names, "a\x07", NAMES),
        (periods, "0", PERIODS),
        (periods, "36501", PERIODS),
        (periods, "a=365", PERIODS),
        (periods, "90,a", PERIODS),
        (periods, "90,a=", PERIODS),
        (periods, "90,a=-1", PERIODS),
        (rotation, "7", ROTATION),
        (rotation, "0d", ROTATION),
        (rotation, "4w7d", ROTATION),
        (env.hours, "22", HOURS),
        (env.hours, "22-24", HOURS),
        (env.hours, "7-07", HOURS),
        (env.hours, "22:00-07:00", HOURS),
        (time_zone, "Berlin", ZONE),
        (time_zone, "Europe", ZONE),
        (time_zone, "../etc/passwd", ZONE),
        (time_zone, "/etc/localtime", ZONE),
        (flag, "maybe", "is not 0 or 1"),
        (sender, "nobody", SENDER),
        (sender, "a@b, c@d", SENDER),
        (sender, "A <a@example.org>\nBcc: b@example.org", SENDER),
    ],
)
def test_a_wrong_value_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str], Any], raw: str, words: str
) -> None:
    monkeypatch.setenv("A_VARIABLE", raw)
    read("A_VARIABLE")
    with pytest.raises(ImproperlyConfigured) as raised:
        env.refuse_faults()
    assert f"A_VARIABLE={raw!r} {words}." in str(raised.value)
    env.refuse_faults()  # which has forgotten it


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("90,c=1", "has a period for 'c', which is none of a, b"),
        ("90,", "has a period for '', which is none of a, b"),
        ("90,a=1,a=2", "has two periods for a"),
    ],
)
def test_a_period_of_an_unknown_type_is_refused(monkeypatch: pytest.MonkeyPatch, raw: str, words: str) -> None:
    """A misspelt type would lose its events after the general period."""
    monkeypatch.setenv("A_VARIABLE", raw)
    periods("A_VARIABLE")
    with pytest.raises(ImproperlyConfigured, match=f"  A_VARIABLE {words}."):
        env.refuse_faults()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("mysql://u:hidden@db/name", "is not a postgres:// address, such as postgres://user:password@host:5432/name."),
        ("postgres://u:hidden%@db/name", "is not a postgres:// address that PostgreSQL's client library accepts"),
        ("postgres://u:hidden@db/name?pool=3", "is not a postgres:// address that PostgreSQL's client library accepts"),
        ("postgres://u:hidden@db:5432", "names no database"),
        ("postgres://u:hidden@db:port/name", "has a port that is not a number from 1 to 65535."),
        ("postgres://u:hidden@a:5432,b:65536/name", "has a port that is not a number from 1 to 65535."),
        ("postgres://u:hidden@a,,b/name", "has an empty host, or not one port for each of its hosts."),
        ("postgres:///name?host=a,b,c&port=1,2&password=hidden", "has an empty host, or not one port"),
        ("postgres://u:hidden@a,b/n?target_session_attrs=any", "has several hosts and target_session_attrs=any"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, raw: str, words: str) -> None:
    monkeypatch.setenv("A_VARIABLE", raw)
    assert env.database("A_VARIABLE") is None
    with pytest.raises(ImproperlyConfigured) as raised:
        env.refuse_faults()
    assert f"A_VARIABLE {words}" in str(raised.value)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("imap://u:hidden@host", "begins with none of smtp://, smtp+starttls://, smtps://."),
        ("smtps://u:hidden@", "names no host: it has the form smtps://user:password@host:465."),
        ("smtps://u:hidden@host:0x1", "has no valid host and port: encode special characters"),
        ("smtps://u:hidden@host/path", "goes on after the port: encode the characters / ? # of the password"),
        ("smtps://u@host?hidden", "goes on after the port"),
        ("smtps://u:hidden?x@host", "has no valid host and port"),
        ("smtps://hidden@host", "has a user without a password, or a password without a user."),
    ],
)
def test_a_wrong_mail_server_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, raw: str, words: str
) -> None:
    monkeypatch.setenv("A_VARIABLE", raw)
    assert env.mail_server("A_VARIABLE") is None
    with pytest.raises(ImproperlyConfigured) as raised:
        env.refuse_faults()
    assert f"A_VARIABLE {words}" in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_each_wrong_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "localhost,10.0.0.1/8,a b,ntfy:port,host:0,999.1.1.1")
    env.hosts("A_VARIABLE")
    with pytest.raises(ImproperlyConfigured) as raised:
        env.refuse_faults()
    lines = str(raised.value).splitlines()[:-1]
    assert lines == [
        f"  A_VARIABLE: {word!r} is no host, address or network, alone or with a port."
        for word in ("10.0.0.1/8", "a b", "ntfy:port", "host:0", "999.1.1.1")
    ]


# --- secrets -------------------------------------------------------------------------------------------------------


def token(name: str) -> Any:
    return env.secret(name, "", least=24)


def password(name: str) -> Any:
    return env.secret_text(name, "the default")


def database(name: str) -> Any:
    return (env.database(name) or {"ENGINE": "the default"})["ENGINE"]


def faults() -> str:
    """Return the collected faults, without the last line about the documentation."""
    try:
        env.refuse_faults()
    except ImproperlyConfigured as error:
        return str(error).rpartition("\n")[0]
    return ""


@pytest.mark.parametrize(
    ("read", "raw", "words"),
    [
        (env.cache_url, "http://:a-secret@cache.example", "A_SECRET is not a redis:// address."),
        (
            token,
            "a-secret",
            "A_SECRET has 8 characters, which can be guessed; it needs 24 or more: make one with"
            " `openssl rand -hex 32`.",
        ),
    ],
)
def test_no_message_shows_a_secret(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str], Any], raw: str, words: str
) -> None:
    monkeypatch.setenv("A_SECRET", raw)
    read("A_SECRET")
    assert faults() == f"  {words}"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("https://a-secret.example", "is not an s3:// address, such as s3://bucket/"),
        ("s3://a-secret.example#x", "is not an s3:// address, such as s3://bucket/"),
        ("s3://", COPIES),
        ("s3://key:a-secret@bucket/x", COPIES),
        ("s3://a-secret.example:9000/bucket", COPIES),
        ("s3://bucket/../a-secret", "has a prefix with other characters than letters"),
        ("s3://bucket/a//b", "has a prefix with other characters than letters"),
        (
            "s3://bucket?secret=a-secret",
            "has the option 'secret', which is none of endpoint,",
        ),
        ("s3://bucket?region=a&region=b", "has an option twice."),
        ("s3://bucket?region=a/secret", "has a region that is none"),
        ("s3://bucket?timeout=0", "has a timeout that is not a number of seconds from 1 to"),
        ("s3://bucket?timeout=3601", "has a timeout that is not a number of seconds from 1"),
        ("s3://bucket?endpoint=https://key:a-secret@s3.example", COPIES_ENDPOINT),
        ("s3://bucket?endpoint=https://s3.example/a-secret", COPIES_ENDPOINT),
        ("s3://bucket?unencrypted=perhaps", "has a path_style or an unencrypted that is not"),
    ],
)
def test_the_address_of_copies_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, raw: str, words: str) -> None:
    monkeypatch.setenv("A_SECRET", raw)
    assert env.copy_target("A_SECRET") is None
    message = faults()
    assert message.startswith(f"  A_SECRET {words}")
    assert "a-secret" not in message


GITHUB = "https://github.com/o/r/issues/new?title={title}&body={body}"


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (GITHUB, GITHUB),
        (f" {GITHUB} ", GITHUB),
        ("HTTPS://GitHub.com:443/o/r?t={title}", "https://github.com/o/r?t={title}"),
        ("https://gitlab.com/g/r/-/issues/new?issue[title]={title}&issue[description]={body}&issue[confidential]=true",)
        * 2,
        ("https://t.example:8443/new?labels=a%20b&body=From%20telemetry:%0A{body}#form",) * 2,
        ("https://t.example?body={body}",) * 2,
        ("", None),
    ],
)
def test_the_form_for_a_new_issue_is_read(monkeypatch: pytest.MonkeyPatch, raw: str, read: str | None) -> None:
    monkeypatch.setenv("A_VARIABLE", raw)
    assert env.issue_form("A_VARIABLE") == read
    env.refuse_faults()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("http://github.com/o/r/issues/new?title={title}", "does not begin with https://"),
        ("javascript:alert(1)?title={title}", "does not begin with https://"),
        ("github.com/o/r/issues/new?title={title}", "does not begin with https://"),
        ("https://?title={title}", "has no valid host"),
        ("https://a:b@github.com/new?title={title}", "has no valid host"),
        ("https://gíthub.com/new?title={title}", "has a character that no address contains"),
        ("https://github.com/new", "has neither {title} nor {body} behind a ?"),
        ("https://github.com/new?title=x", "has neither {title} nor {body} behind a ?"),
        ("https://{title}.example/?body={body}", "has a brace before the ?"),
        ("https://github.com/{title}?body={body}", "has a brace before the ?"),
        ("https://github.com/new?body={body}#{title}", "has a brace behind the #"),
        ("https://github.com/#/new?title={title}", "has a brace behind the #"),
        ("https://github.com/new?{title}=1&body={body}", "has {title} as the name of a parameter"),
        ("https://github.com/new?{title}", "has {title} as the name of a parameter"),
        ("https://github.com/new?a={title}&b={title}", "has {title} twice"),
        ("https://github.com/new?title={title}&x={session}", "has another placeholder"),
        ("https://github.com/new?title={title}}", "has another placeholder"),
        ("https://github.com/new?title={Title}", "has another placeholder"),
        ("https://github.com/new?x=1 2&title={title}", "has a character that no address contains"),
        ("https://github.com\\@evil.example/?title={title}", "has a character that no address contains"),
        ("https://github.com/new?x=%zz&title={title}", "has a % without two hexadecimal digits"),
        (f"{GITHUB}&x={'y' * 1000}", "has 1,06"),
    ],
)
def test_another_form_for_a_new_issue_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, raw: str, words: str
) -> None:
    monkeypatch.setenv("A_VARIABLE", raw)
    assert env.issue_form("A_VARIABLE") is None
    assert faults().startswith(f"  A_VARIABLE {words}")


READS = [
    (password, "a secret\n", "a secret"),
    (password, "\ufeff  ä secret \r\n\n", "ä secret"),
    (password, "x" * env.MAX_FILE_BYTES, "x" * env.MAX_FILE_BYTES),
    (token, f"{'s' * 24}\n", "s" * 24),
    (env.cache_url, "rediss://:a-secret@cache.example/1", "rediss://:a-secret@cache.example/1"),
    (database, "postgres://u:a-secret@db.example/x\n", "telemetry_site.postgresql"),
]


@pytest.mark.parametrize(("read", "content", "value"), READS)
def test_a_secret_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Callable[[str], Any], content: str, value: str
) -> None:
    (tmp_path / "file").write_text(content, encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "file")  # as Kubernetes mounts them
    monkeypatch.setenv("A_SECRET", " ")
    monkeypatch.setenv("A_SECRET_FILE", f" {tmp_path / 'link'} ")
    assert read("A_SECRET") == value
    assert faults() == ""
    shown = {env.cache_url: "rediss://***@***/1", database: "postgres://***@***/x"}
    assert env.variables["A_SECRET"] == (shown.get(read, "set"), "A_SECRET_FILE", True)


# The content of the file (or a function that creates another kind of file), and the error message.
FILES: list[tuple[Any, str]] = [
    (b"", "names an empty file"),
    (b" \n\n", "names an empty file"),
    (b"a secret\nand another\n", "names a file with more than one line of text"),
    (b"a\0secret", "names a file with more than one line of text"),
    (b"a secret\xff", "names a file that is not UTF-8"),
    ("a secret".encode("utf-16"), "names a file that is not UTF-8"),
    (b"x" * (env.MAX_FILE_BYTES + 1), "names a file of more than 65,536 bytes"),
    (lambda file: file.mkdir(), "names a folder, not a file"),
    (os.mkfifo, "names a device or a pipe, not a file"),
    (lambda file: file.symlink_to("/dev/zero"), "names a device or a pipe, not a file"),
    (lambda file: file.symlink_to(file), "names a file that cannot be read: Too many levels of symbolic links"),
    (Path.absolute, "names a file that cannot be read: No such file or directory"),
    ("a-secret", "has no absolute path: begin it with /"),
    ("secrets/file", "has no absolute path: begin it with /"),
    ("~/file", "has no absolute path: begin it with /"),
    ("/a-secret\udcff", "names a file that cannot be read: No such file or directory"),
    (f"/{'a-secret' * 1_000}", "names a file that cannot be read: File name too long"),
]


@pytest.mark.parametrize(("file", "words"), FILES)
def test_a_file_without_a_secret_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Any, words: str
) -> None:
    path = tmp_path / "file"
    if isinstance(file, bytes):
        path.write_bytes(file)
    elif callable(file):
        file(path)
    monkeypatch.setenv("A_SECRET_FILE", file if isinstance(file, str) else str(path))
    assert password("A_SECRET") == "the default"
    assert faults() == f"  A_SECRET_FILE {words}."


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """Root can read every file, so a process without rights reads it."""
    file = tmp_path / "file"
    file.write_text("a secret")
    file.chmod(0)
    code = (
        "import os\n"
        "from telemetry_site import env\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "env.secret_text('A_SECRET', '')\n"
        "print(env._faults)"
    )
    result = run_apart(code, A_SECRET_FILE=str(file))
    words = "  A_SECRET_FILE names a file that cannot be read: Permission denied."
    assert (result.stdout, result.stderr) == (f"{[words]}\n", "")


def test_a_wrong_secret_in_a_file_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("http://a-secret")
    monkeypatch.setenv("A_SECRET_FILE", str(tmp_path / "file"))
    env.cache_url("A_SECRET")
    assert faults() == "  A_SECRET_FILE is not a redis:// address."


def test_a_secret_has_one_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a secret")
    monkeypatch.setenv("A_SECRET", "a secret")
    monkeypatch.setenv("A_SECRET_FILE", str(tmp_path / "file"))
    assert password("A_SECRET") == "the default"
    assert faults() == "  A_SECRET and A_SECRET_FILE are both set: remove one of them."


def test_an_empty_name_of_a_file_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "a secret")
    monkeypatch.setenv("A_SECRET_FILE", "  ")
    assert password("A_SECRET") == "a secret"
    assert faults() == ""


def test_only_a_secret_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_NUMBER_FILE", "/dev/null")
    assert number("A_NUMBER") == 7
    assert "A_NUMBER_FILE" in env.ignored_files()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://", "set"),
        ("secret", "set"),
        ("secret://x", "set"),
        ("postgres:///telemetry", "postgres:///telemetry"),
        ("postgres://localhost:5432/telemetry", "postgres://localhost:5432/telemetry"),
        ("postgres://user:secret@127.0.0.1/telemetry", "postgres://***@127.0.0.1/telemetry"),
        ("postgres://user:se@cr/et?#@[::1]:5432/x", "postgres://***@[::1]:5432/x"),
        ("postgres://u:secret@db.example:5432/x", "postgres://***@***:5432/x"),
        ("postgres://u:secret@10.0.0.5/x", "postgres://***@***/x"),
        (
            "postgres://u:secret@a.example:1,b.example:2/x?target_session_attrs=read-write&password=secret#secret",
            "postgres://***@***:1,***:2/x?target_session_attrs=***&password=***",
        ),
        ("redis://:secret@cache.example:6379/0", "redis://***@***:6379/0"),
        (
            "s3://secret:secret@bucket/sites?endpoint=https://s3.example&x=secret",
            "s3://***@***/sites?endpoint=***&x=***",
        ),
        ("smtps://user@example.org:secret@mail.example.org:465", "smtps://***@***:465"),
        ("redis://secret", "redis://***"),
        ("redis://localhost.secret.example/0", "redis://***/0"),
    ],
)
def test_an_address_is_shown_without_secrets_and_foreign_hosts(url: str, shown: str) -> None:
    assert env.masked(url) == shown
