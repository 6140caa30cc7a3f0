"""One message through Apprise, to a real listener: what arrives, what is refused, and that no secret gets out."""

import ast
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from events.alerts.channels import sealing, sending
from events.alerts.channels.sending import ChannelFailed
from events.alerts.channels.urls import DEFAULT_SCHEMES
from events.alerts.messages import Message
from events.models import AlertChannel
from tests.alerts.channels.listeners import Hook, hook

MESSAGE = Message("[new] Radio vanished\r\nX-Evil: yes", "It happened {{ twice }} :smile:\n<b>no</b>\n", "<p>It</p>")
SECRET = "s3cr3t-t0k3n"


@pytest.fixture
def listener() -> Iterator[Hook]:
    with hook() as found:
        yield found


def channel(url: str) -> AlertChannel:
    return AlertChannel(name="ops", sealed_url=sealing.seal(url), service="json")


def failure_of(url: str, *, allowed: str = "") -> str:
    hosts = [(allowed, None)] if allowed else []
    with override_settings(ALERT_ALLOW_HOSTS=hosts), pytest.raises(ChannelFailed) as caught:
        sending.send(channel(url), MESSAGE)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_message_arrives_as_it_is(listener: Hook) -> None:
    with override_settings(ALERT_ALLOW_HOSTS=[("127.0.0.1", listener.port)]):
        sending.send(channel(f"json://127.0.0.1:{listener.port}/hook?+X-Token={SECRET}"), MESSAGE)
    (request,) = listener.requests
    body = ast.literal_eval(request.body)
    assert request.path == "/hook"
    assert request.headers["X-Token"] == SECRET
    assert body["title"] == "[new] Radio vanished X-Evil: yes"
    assert body["message"].strip() == MESSAGE.text.strip()
    assert body["attachments"] == []


def test_a_redirect_is_not_followed(listener: Hook) -> None:
    with hook() as target:
        listener.status, listener.location = 307, f"http://127.0.0.1:{target.port}/latest/meta-data"
        words = failure_of(f"json://127.0.0.1:{listener.port}/{SECRET}", allowed="127.0.0.1")
        assert target.requests == []
    assert words == (
        "The service answered 307 (Temporary Redirect). Redirects are not followed: enter the final address."
    )
    assert len(listener.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 308])
def test_no_kind_of_redirect_is_followed(listener: Hook, status: int) -> None:
    listener.status, listener.location = status, "/again"
    assert f"answered {status}" in failure_of(f"ntfy://127.0.0.1:{listener.port}/topic", allowed="127.0.0.1")
    assert len(listener.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"])
def test_a_private_host_is_not_connected_to(listener: Hook, host: str) -> None:
    words = failure_of(f"json://{host}:{listener.port}/{SECRET}")
    assert words.startswith(("127.0.0.1 (port", "0.0.0.0 (port", "::ffff:127.0.0.1 (port", "Apprise does not accept"))
    assert listener.requests == []


def test_the_metadata_service_of_a_cloud_is_not_connected_to() -> None:
    assert failure_of("json://169.254.169.254/latest/meta-data") == (
        "169.254.169.254 (port 80) is not a public address, so nothing was sent to it."
        " If it is yours, add it to ALERT_ALLOW_HOSTS."
    )


def test_another_port_of_an_allowed_host_is_not_connected_to(listener: Hook) -> None:
    with override_settings(ALERT_ALLOW_HOSTS=[("localhost", 1)]), pytest.raises(ChannelFailed, match="not a public"):
        sending.send(channel(f"json://localhost:{listener.port}/"), MESSAGE)
    assert listener.requests == []


def test_a_proxy_of_the_environment_is_not_used(listener: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to private addresses on behalf of the site."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    assert "10.0.0.1 (port 80)" in failure_of(f"json://10.0.0.1/{SECRET}", allowed="127.0.0.1")
    assert listener.requests == []


def test_a_certificate_is_always_checked(listener: Hook) -> None:
    words = failure_of(f"jsons://localhost:{listener.port}/{SECRET}", allowed="localhost")
    assert words == "The encrypted connection failed."
    assert "parameter verify is not allowed" in failure_of(f"jsons://localhost:{listener.port}/?verify=no")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"json://no-such-host.invalid/{SECRET}", "The name of the host is unknown."),
        (f"json://localhost:1/{SECRET}", "The host refused the connection."),
        (f"slack://{SECRET}", "Apprise does not accept this URL."),
    ],
)
def test_a_failure_is_told_without_the_url(url: str, words: str) -> None:
    assert failure_of(url, allowed="localhost").startswith(words)


def test_an_answer_that_is_an_error_is_told_by_its_number(listener: Hook) -> None:
    listener.status = 403
    words = failure_of(f"json://localhost:{listener.port}/{SECRET}", allowed="localhost")
    assert words == "The service answered 403 (Forbidden)."


def test_no_log_line_contains_the_secret(
    listener: Hook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    listener.status = 500
    failure_of(f"json://localhost:{listener.port}/{SECRET}", allowed="localhost")
    out, err = capfd.readouterr()
    assert SECRET not in caplog.text + out + err


def test_a_scheme_that_is_no_longer_allowed_is_refused_at_once() -> None:
    with override_settings(ALERT_SCHEMES=["ntfy"]):
        assert "does not allow the scheme json" in failure_of("json://example.org/")


def test_a_changed_secret_key_is_told_in_words() -> None:
    sealed = channel("json://example.org/")
    with override_settings(SECRET_KEY="another-" + "x" * 50), pytest.raises(ChannelFailed, match="Enter the URL again"):
        sending.send(sealed, MESSAGE)


def test_a_sealed_url_shows_nothing_and_is_never_the_same() -> None:
    url = f"json://example.org/{SECRET}"
    assert SECRET not in sealing.seal(url)
    assert sealing.seal(url) != sealing.seal(url)
    assert sealing.opened(sealing.seal(url)) == url


@pytest.mark.parametrize(
    "sealed",
    ["", "nonsense", "é", pytest.param(sealing.seal("x")[:-6] + "AAAAA=", id="another signature")],  # a random text
)
def test_a_damaged_row_is_told_in_words(sealed: str) -> None:
    with pytest.raises(sealing.NotOpened, match="Enter the URL again"):
        sealing.opened(sealed)


def test_the_server_and_the_jobs_do_not_import_apprise() -> None:
    code = (
        "import sys, django; django.setup()\n"
        "import telemetry_site.urls, telemetry_site.wsgi, events.alerts.channels.trials, events.admin.overview\n"
        "from django.contrib import admin; admin.autodiscover()\n"
        "from events.maintenance.jobs import registry; registry.registered()\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'apprise'))"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTEST_VERSION": "1", "PATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=settings.BASE_DIR, env=environment, check=True
    )
    assert ended.stdout.strip() == "[]"


def test_only_the_sending_process_imports_apprise() -> None:
    importing = []
    for folder in ("events", "legacy", "telemetry_site"):
        for file in (settings.BASE_DIR / folder).rglob("*.py"):
            names = {
                name.name.partition(".")[0]
                for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                if isinstance(node, ast.Import)
                for name in node.names
            }
            importing += [file.relative_to(settings.BASE_DIR).as_posix()] if "apprise" in names else []
    assert importing == ["events/alerts/channels/program.py"]


def test_each_request_of_apprise_obeys_our_rule_of_redirects() -> None:
    """A plugin of Apprise whose request does not say `allow_redirects` would follow redirects."""
    import importlib.util

    spec = importlib.util.find_spec("apprise")
    assert spec is not None
    assert spec.origin is not None
    methods = {"get", "post", "put", "patch", "delete", "request", "head"}
    faults, checked = [], 0
    for file in (Path(spec.origin).parent / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "requests" and node.func.attr in methods:
                checked += 1
                rules = [ast.unparse(word.value) for word in node.keywords if word.arg == "allow_redirects"]
                if rules not in (["self.redirects"], ["False"]):
                    faults.append(f"{file.name}:{node.lineno}")
    assert checked > 100
    assert len(DEFAULT_SCHEMES) > 40
    assert faults == []
