"""The files of a deployment agree with the code and with each other: variables, commands, ports, paths, limits."""

import http.server
import importlib.util
import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from deploy import healthcheck
from telemetry_site.management.commands import serve
from tests.test_docs import PROJECT, rows_of_settings

SITE_STOPS_WITHIN_SECONDS = serve.STOP_SECONDS + 1
# Variables of Python and of other programs.
NOT_OURS = {"PATH", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
SECRETS = {"ADMIN_PASSWORD", "ADMIN_TOKEN", "CACHE_URL", "DATABASE_URL", "SECRET_KEY"}


def text_of(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each as one line."""
    text = re.sub(r"^\s*#.*\n", "", text_of("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in text.splitlines()) if name
    ]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def image_variables() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in arguments("ENV") for word in shlex.split(rest))


def services() -> dict[str, list[dict[str, Any]]]:
    """Return what the two files of Compose say about each service."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in ("compose.yaml", "deploy/compose.postgresql.yaml"):
        for service, content in yaml.safe_load(text_of(name))["services"].items():
            found.setdefault(service, []).append(content)
    return found


def directives(name: str) -> list[str]:
    """Return the values of a directive of the systemd unit."""
    return re.findall(rf"^{name}=(.*)$", text_of("deploy/telemetry.service"), re.MULTILINE)


def unit_variables() -> dict[str, str]:
    return dict(value.split("=", 1) for value in directives("Environment"))


def site_in_compose() -> dict[str, str]:
    return {name: value for content in services()["site"] for name, value in content["environment"].items()}


# --- variables and commands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", [image_variables, site_in_compose, unit_variables])
def test_each_variable_is_one_of_the_site(variables: Any) -> None:
    known = {*rows_of_settings(), *NOT_OURS, *(f"{name}_FILE" for name in SECRETS)}
    assert variables()
    assert sorted(set(variables()) - known) == []


def test_a_secret_comes_from_a_file_that_is_mounted_and_from_nowhere_else() -> None:
    mounted = {name for content in services()["site"] for name in content["secrets"]}
    variables = site_in_compose()
    files = {name: value for name, value in variables.items() if name.endswith("_FILE")}
    assert {value.removeprefix("/run/secrets/") for value in files.values()} == mounted
    # Both at once would be refused, and `.env` may have the other.
    assert {name: variables[name.removesuffix("_FILE")] for name in files} == dict.fromkeys(files, "")
    for name in ("compose.yaml", "deploy/compose.postgresql.yaml"):
        for secret, place in yaml.safe_load(text_of(name))["secrets"].items():
            assert place == {"file": f"secrets/{secret}"}
    assert "secrets/" in text_of(".gitignore").splitlines()


def test_each_command_exists() -> None:
    [entry_point], [command] = map(json.loads, arguments("ENTRYPOINT")), map(json.loads, arguments("CMD"))
    named = [[*entry_point, *command], shlex.split(directives("ExecStart")[0])]
    named += [
        rest.split() for text in arguments("RUN") for rest in re.findall(r"python (manage\.py .*?)(?: &&|$)", text)
    ]
    for words in named:
        assert words[words.index("manage.py") + 1] in get_commands(), words
    assert len(named) == 3


# --- ports, paths, images ------------------------------------------------------------------------------------------


def test_every_file_has_the_same_port() -> None:
    [published] = services()["site"][0]["ports"]
    [exposed] = arguments("EXPOSE")
    ports = [
        image_variables()["PORT"],
        site_in_compose()["PORT"],
        exposed,
        *re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", published).groups(),  # type: ignore[union-attr]
        *re.findall(r"^    server 127\.0\.0\.1:(\d+);", text_of("deploy/nginx.conf"), re.MULTILINE),
        *re.findall(r"^\treverse_proxy 127\.0\.0\.1:(\d+) ", text_of("deploy/Caddyfile"), re.MULTILINE),
    ]
    assert ports == [str(settings.PORT)] * 7


def test_the_data_is_on_the_volume_and_in_the_writable_folder() -> None:
    data_dir = image_variables()["DATA_DIR"]
    assert image_variables()["TMPDIR"] == site_in_compose()["DATA_DIR"] == data_dir
    assert services()["site"][0]["volumes"] == [f"data:{data_dir}"]
    assert any(f" --group=telemetry {data_dir}" in rest for rest in arguments("RUN"))
    assert arguments("VOLUME") == []
    assert unit_variables()["DATA_DIR"] == f"/var/lib/{directives('StateDirectory')[0]}"
    assert directives("ExecStart")[0].startswith(f"{directives('WorkingDirectory')[0]}/.venv/")


def test_each_image_has_an_exact_version() -> None:
    assert re.fullmatch(
        r"BASE_IMAGE=docker\.io/library/python:3\.1[123]\.\d+-slim-[a-z]+", next(iter(arguments("ARG")))
    )
    images = [content["image"] for contents in services().values() for content in contents if "image" in content]
    assert images.pop(0) == "telemetry"
    assert len(images) == 2
    for image in images:
        assert re.fullmatch(r"docker\.io/library/[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+", image), image


def test_the_image_contains_what_the_site_needs_and_nothing_else() -> None:
    first, *kept = [line for line in text_of(".dockerignore").splitlines() if not line.startswith("#")]
    names = {line[1:] for line in kept if line.startswith("!")}
    assert first == "*"
    assert sorted(name for name in names if not list(PROJECT.glob(name))) == []
    assert {app.partition(".")[0] for app in settings.INSTALLED_APPS if (PROJECT / app.partition(".")[0]).is_dir()} | {
        *("manage.py", "requirements.txt", "templates"),
    } <= names
    assert not names & {".env", "secrets", "var", "tests", ".git", ".venv"}
    [check] = arguments("HEALTHCHECK")
    module = json.loads(check.partition("CMD ")[2])[-1]
    assert importlib.util.find_spec(module)
    assert f"{module.replace('.', '/')}.py" in names


# --- limits and times ----------------------------------------------------------------------------------------------


def test_a_stop_leaves_the_site_its_time() -> None:
    graces = [services()["site"][0]["stop_grace_period"].removesuffix("s"), *directives("TimeoutStopSec")]
    assert [int(grace) > SITE_STOPS_WITHIN_SECONDS for grace in graces] == [True, True]


def test_a_proxy_closes_idle_connections_before_the_site_does() -> None:
    idle = re.findall(r"^\s*keepalive(?:_timeout)? (\d+)s;?$", text_of("deploy/nginx.conf"), re.MULTILINE)
    idle += re.findall(r"^\s*keepalive (\d+)s$", text_of("deploy/Caddyfile"), re.MULTILINE)
    assert [int(seconds) * 1_000 < serve.HEADER_MS for seconds in idle] == [True, True]


def test_a_proxy_lets_every_body_pass_that_the_site_accepts() -> None:
    nginx = [int(size) * 2**20 for size in re.findall(r"client_max_body_size (\d+)m;", text_of("deploy/nginx.conf"))]
    [caddy] = re.findall(r"max_size (\d+)MB", text_of("deploy/Caddyfile"))
    largest_map = 67_108_864  # the largest value of SOURCEMAP_MAX_BYTES
    assert f"to {largest_map} |" in text_of("docs/settings.md")
    assert [nginx[0] > settings.MAX_BATCH_BODY_BYTES, nginx[1] > largest_map] == [True, True]
    assert int(caddy) * 10**6 > largest_map


@pytest.mark.needs_systemd
def test_systemd_rates_the_unit_at_most_2() -> None:
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", "deploy/telemetry.service"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout[-200:] + rated.stderr


# --- the health check ----------------------------------------------------------------------------------------------


class Health(http.server.BaseHTTPRequestHandler):
    """Answers as a site does that knows one host."""

    def do_GET(self) -> None:
        is_known = (self.path, self.headers["Host"]) == ("/health", "known.example")
        self.send_response(200 if is_known else 400)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("host", "allowed_hosts", "status", "words"),
    [
        ("0.0.0.0", "known.example,other.example", 0, ""),
        ("127.0.0.1", ".known.example", 0, ""),
        ("0.0.0.0", "", 1, "GET /health answered 400\n"),  # localhost
        ("0.0.0.0", "*", 1, "GET /health answered 400\n"),
    ],
)
def test_the_health_check_asks_as_a_host_that_the_site_knows(
    host: str,
    allowed_hosts: str,
    status: int,
    words: str,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"HOST": host, "PORT": str(port), "ALLOWED_HOSTS": allowed_hosts}.items():
        monkeypatch.setenv(name, value)
    assert (healthcheck.main(), capsys.readouterr().err) == (status, words)


def test_the_health_check_fails_where_nobody_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "1")
    assert healthcheck.main() == 1
    assert capsys.readouterr().err == "GET /health failed: [Errno 111] Connection refused\n"
