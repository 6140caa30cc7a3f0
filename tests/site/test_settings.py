"""`telemetry_site/settings.py`: what the environment makes of the site."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from telemetry_site import env
from tests.conftest import run_apart


def test_the_folder_of_data_is_made_also_for_a_site_with_a_key_of_its_own(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    result = run_apart("from django.conf import settings; settings.DEBUG", DATA_DIR=str(data_dir), SECRET_KEY="k" * 50)
    assert result.returncode == 0, result.stderr
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert list(data_dir.iterdir()) == []


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    asked = "from django.conf import settings; print(settings.SECRET_KEY)"
    first, second = (run_apart(asked, DATA_DIR=str(tmp_path)).stdout for _ in range(2))
    assert first == second
    assert len(first.strip()) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_every_value_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    result = run_apart(
        "from django.conf import settings; settings.DEBUG", DATA_DIR=str(tmp_path), PORT="eighty", INGEST_RATE="fast"
    )
    assert result.returncode != 0
    assert "PORT='eighty' is not a whole number from 1 to 65535." in result.stderr
    assert "INGEST_RATE='fast' is not a rate such as 120/m, or off." in result.stderr


def test_an_https_site_passes_the_deployment_checks(tmp_path: Path) -> None:
    result = run_apart(
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('check', deploy=True, fail_level='WARNING')",
        DATA_DIR=str(tmp_path),
        SITE_URL="https://telemetry.example.org",
        TRUSTED_PROXY_COUNT="1",
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("folder", ["a file", "a file/deeper"])
def test_a_data_folder_that_cannot_be_created_is_explained(tmp_path: Path, folder: str) -> None:
    (tmp_path / "a file").touch()
    result = run_apart("import manage, sys; sys.argv[1:] = ['check']; manage.main()", DATA_DIR=str(tmp_path / folder))
    assert result.returncode != 0
    assert f"DATA_DIR='{tmp_path / folder}' cannot be used: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_new_connection_reads_while_another_process_writes(data_dir: Path) -> None:
    with closing(sqlite3.connect(data_dir / "telemetry.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        result = run_apart(
            "import django; django.setup()\nfrom events.reports import metrics; print(metrics.flash_count().total)",
            DATA_DIR=str(data_dir),
        )
    assert (result.returncode, result.stdout, result.stderr) == (0, "0\n", "")


# --- origins -------------------------------------------------------------------------------------------------------

SCHEME_HOST_PORT = "an origin is scheme, host and port alone"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://example.org", ["https://example.org"]),
        ("https://example.org:443", ["https://example.org"]),
        ("https://example.org:0443", ["https://example.org"]),
        ("http://example.org:80", ["http://example.org"]),
        ("https://example.org:80", ["https://example.org:80"]),
        ("http://example.org:443", ["http://example.org:443"]),
        ("https://example.org:", ["https://example.org"]),
        ("HTTPS://Example.ORG:8443", ["https://example.org:8443"]),
        ("https://example.org/", ["https://example.org"]),
        ("https://example.org//", ["https://example.org"]),
        (" https://a.example , https://b.example,, ", ["https://a.example", "https://b.example"]),
        ("https://a.example,https://A.example:443/,https://a.example", ["https://a.example"]),
        ("https://xn--bcher-kva.example", ["https://xn--bcher-kva.example"]),
        ("http://localhost:5173", ["http://localhost:5173"]),
        ("http://127.0.0.1:5173", ["http://127.0.0.1:5173"]),
        ("http://[0:0:0:0:0:0:0:1]:80", ["http://[::1]"]),
        ("https://example.org.", ["https://example.org."]),
    ],
)
def test_an_origin_is_kept_as_a_browser_sends_it(
    written: str, meant: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", written)
    assert env.origins("ALLOWED_ORIGINS", []) == meant
    env.refuse_faults()


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("null", "'null' cannot be allowed: every file and every sandboxed page sends it"),
        ("*", "'*' does not begin with http:// or https://"),
        ("https://*", "'https://*' has a wildcard: name each origin in full"),
        ("https://*.example.org", "'https://*.example.org' has a wildcard: name each origin in full"),
        ("example.org", "'example.org' does not begin with http:// or https://"),
        ("//example.org", "'//example.org' does not begin with http:// or https://"),
        ("https:example.org", "'https:example.org' does not begin with http:// or https://"),
        ("file://", "'file://' does not begin with http:// or https://"),
        ("https://example.org/app", f"'https://example.org/app' has a path: {SCHEME_HOST_PORT}"),
        ("https://example.org/*", f"'https://example.org/*' has a path: {SCHEME_HOST_PORT}"),
        ("https://example.org?a", f"'https://example.org?a' has a path: {SCHEME_HOST_PORT}"),
        ("https://example.org#a", f"'https://example.org#a' has a path: {SCHEME_HOST_PORT}"),
        ("https://me@example.org", f"'https://me@example.org' has a user name: {SCHEME_HOST_PORT}"),
        ("https://@example.org", f"'https://@example.org' has a user name: {SCHEME_HOST_PORT}"),
        (
            "https://a.example https://b.example",
            "'https://a.example https://b.example' has a space or a control character: separate origins with commas",
        ),
        (
            "https://exam\tple.org",
            "'https://exam\\tple.org' has a space or a control character: separate origins with commas",
        ),
        (
            "https://b\u00fccher.example",
            "'https://b\u00fccher.example' has letters outside ASCII: write the host as browsers send it, with xn--",
        ),
        ("https://example.org:0", "'https://example.org:0' has no port from 1 to 65535 after its host"),
        ("https://example.org:70000", "'https://example.org:70000' has no port from 1 to 65535 after its host"),
        ("https://example.org:https", "'https://example.org:https' has no port from 1 to 65535 after its host"),
        ("https://", "'https://' has no valid host"),
        ("https://:8443", "'https://:8443' has no valid host"),
        ("https://a..example", "'https://a..example' has no valid host"),
        ("https://-a.example", "'https://-a.example' has no valid host"),
        ("https://ex%61mple.org", "'https://ex%61mple.org' has no valid host"),
        ("http://127.1", "'http://127.1' has no valid host"),
        ("http://0x7f000001", "'http://0x7f000001' has no valid host"),
        ("http://[::1", "'http://[::1' has no port from 1 to 65535 after its host"),
        ("http://[example]", "'http://[example]' has no valid host"),
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(written: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", written)
    env.origins("ALLOWED_ORIGINS", [])
    with pytest.raises(ImproperlyConfigured) as refused:
        env.refuse_faults()
    assert str(refused.value).splitlines()[:-1] == [f"  ALLOWED_ORIGINS: {words}."]


def test_each_origin_that_is_refused_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", "https://good.example,*,null")
    env.origins("ALLOWED_ORIGINS", [])
    with pytest.raises(ImproperlyConfigured, match=r"(?s)'\*' does not begin .*'null' cannot be allowed"):
        env.refuse_faults()


# --- what it is called ---------------------------------------------------------------------------------------------

NAMES = "from django.conf import settings; print(settings.SITE_URL, *settings.ALLOWED_HOSTS)"


@pytest.mark.parametrize(
    ("variables", "site_url", "host"),
    [
        ({}, "http://127.0.0.1:8000", "127.0.0.1"),
        ({"HOST": "localhost"}, "http://localhost:8000", "localhost"),
        ({"HOST": "0.0.0.0"}, "http://localhost:8000", "localhost"),
        ({"HOST": "::"}, "http://localhost:8000", "localhost"),
        ({"HOST": "::1", "PORT": "9000"}, "http://[::1]:9000", "[::1]"),
        ({"HOST": "[::1]"}, "http://[::1]:8000", "[::1]"),
        ({"HOST": "2001:DB8:0::1"}, "http://[2001:db8::1]:8000", "[2001:db8::1]"),
        ({"SITE_URL": "https://[2001:db8::1]:8443"}, "https://[2001:db8::1]:8443", "[2001:db8::1]"),
        ({"SITE_URL": "https://Telemetry.example.org:443/"}, "https://telemetry.example.org", "telemetry.example.org"),
    ],
)
def test_the_site_is_called_by_an_address_that_works(
    tmp_path: Path, variables: dict[str, str], site_url: str, host: str
) -> None:
    printed = run_apart(NAMES, DATA_DIR=str(tmp_path), **variables).stdout.split()
    assert (printed[0], printed[-1]) == (site_url, host)


def test_a_sub_path_is_refused_with_what_to_do(tmp_path: Path) -> None:
    refused = run_apart(NAMES, DATA_DIR=str(tmp_path), SITE_URL="https://example.org/telemetry/")
    assert (
        "SITE_URL 'https://example.org/telemetry/' has a path: an origin is scheme, host and port alone, and the site"
        " cannot be served under a sub-path: give it a host name or a port of its own." in refused.stderr
    )


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("x", "has 1 characters, which can be guessed; it needs 24 or more"),
        ("not-long-enough-by-one-", "has 23 characters, which can be guessed; it needs 24 or more"),
        ("long enough and with spaces", "has a space or a letter outside ASCII, which no header carries"),
        ("long-enough-and-with-\u00fc\u00fc\u00fc", "has a space or a letter outside ASCII, which no header carries"),
    ],
)
def test_a_token_that_can_be_guessed_or_cannot_be_sent_is_refused(
    token: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", token)
    env.secret("ADMIN_TOKEN", "", least=24)
    with pytest.raises(ImproperlyConfigured) as refused:
        env.refuse_faults()
    assert str(refused.value).splitlines()[0] == f"  ADMIN_TOKEN {words}: make one with `openssl rand -hex 32`."
    assert token == "x" or token not in str(refused.value)


@pytest.mark.parametrize("token", ["", "just-long-enough-as-it-is", "!" * 24])
def test_a_token_of_24_characters_or_none_is_taken(token: str, tmp_path: Path) -> None:
    printed = run_apart(
        "from django.conf import settings; print(settings.ADMIN_TOKEN)", DATA_DIR=str(tmp_path), ADMIN_TOKEN=token
    )
    assert printed.stdout.strip() == token


@pytest.mark.parametrize(
    ("raw", "names", "fault"),
    [
        (None, ("browser", "os", "usb", "step"), ""),
        ("", (), ""),
        (" , ", (), ""),
        ("a, b_1 ,c", ("a", "b_1", "c"), ""),
        ("a,b,c,d,e,f,g," + "x" * 24, ("a", "b", "c", "d", "e", "f", "g", "x" * 24), ""),
        ("a,b,c,d,e,f,g,h,i", None, "FACETS has 9 names."),
        ("browser,os,browser", None, "FACETS has browser twice."),
        ("Browser", None, "FACETS has 'Browser', which is no name of 1 to 24 characters"),
        ("os," + "x" * 25, None, "which is no name of 1 to 24 characters"),
        ("1a", None, "FACETS has '1a', which is no name"),
        ("a.b", None, "FACETS has 'a.b', which is no name"),
        ("browser os", None, "FACETS has 'browser os', which is no name"),
        ("é", None, "which is no name of 1 to 24 characters from a-z, 0-9 and _"),
    ],
)
def test_the_names_of_facets_are_checked_at_start(
    raw: str | None, names: tuple[str, ...] | None, fault: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACETS", raising=False)
    if raw is not None:
        monkeypatch.setenv("FACETS", raw)
    settings.FACETS = env.keys("FACETS", ["browser", "os", "usb", "step"])
    assert names in (None, settings.FACETS)
    found = [one for one in run_checks() if one.id == "telemetry_site.E002"]
    assert [fault in one.msg and "switches facets off" in (one.hint or "") for one in found] == [True] * bool(fault)


KEYS = {"BACKUP_S3_KEY_ID": "a-key-id", "BACKUP_S3_SECRET": "a-secret"}
PASSPHRASE = {"BACKUP_PASSPHRASE": "correct horse battery"}


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"BACKUP_URL": "s3://bucket"} | PASSPHRASE, ["E005"]),
        ({"BACKUP_URL": "s3://bucket", "BACKUP_S3_KEY_ID": "a-key-id"} | PASSPHRASE, ["E005"]),
        ({"BACKUP_URL": "s3://bucket"} | KEYS, ["E006"]),
        ({"BACKUP_URL": "s3://bucket?unencrypted=1"} | KEYS, ["W005"]),
        ({"BACKUP_URL": "s3://bucket?unencrypted=1"} | KEYS | PASSPHRASE, []),
        ({"BACKUP_URL": "s3://bucket"} | KEYS | PASSPHRASE, []),
        (KEYS, []),
    ],
)
def test_copies_need_keys_and_a_passphrase(tmp_path: Path, variables: dict[str, str], found: list[str]) -> None:
    code = "from telemetry_site import checks; print(*[message.id[-4:] for message in checks.check_settings()])"
    result = run_apart(code, DATA_DIR=str(tmp_path / "data"), EPHEMERAL_DATA="1", **variables)
    assert result.stdout.split() == found, result.stderr
