"""The headers of every response: views, errors, files, redirects, streams, the adapter itself."""

import json
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

from telemetry_site.public_urls import urlpatterns as public_urlpatterns
from telemetry_site.wsgi import application
from tests.api.test_who_may import ROWS, things
from tests.conftest import make_event, payload, rolled_back, run_apart
from tests.servers import Server, served_prepared

PUBLIC = [reverse(str(route.name)) for route in public_urlpatterns]
# The routes whose answers browsers and proxies may keep. Two of them have a policy of their own.
KEPT = ["/badge.svg", "/badge.json", "/stats", "/stats.json"]
METHODS = ["get", "head", "post", "put", "patch", "delete", "options"]
__all__ = ["things"]


def expect_headers(headers: Any, case: str = "") -> None:
    sent = {name.lower(): value for name, value in headers.items()}
    wanted = {name.lower(): value for name, value in settings.SECURITY_HEADERS.items()}
    policy = sent.pop("content-security-policy")
    assert "default-src 'none'" in policy, case
    assert "frame-ancestors 'none'" in policy, case
    assert "unsafe" not in policy, case
    del wanted["content-security-policy"]
    assert {name: sent.get(name) for name in wanted} == wanted, case


@pytest.mark.django_db
@override_settings(PUBLIC_STATS=True)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PUBLIC)
def test_public_routes(path: str, method: str) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = "from elsewhere"
    for origin in ("http://localhost:5173", "https://evil.example"):
        for headers in ({"origin": origin}, {"origin": origin, "access-control-request-method": "POST"}):
            answer = getattr(client, method)(path, headers=headers)
            expect_headers(answer.headers)
            if path in KEPT and "ETag" in answer.headers:
                assert answer.headers["Cache-Control"] == "public, max-age=300"
            else:
                assert answer.headers["Content-Security-Policy"] == settings.SECURITY_HEADERS["Content-Security-Policy"]
                assert answer.headers["Cache-Control"] == "no-store"
            assert not answer.cookies


@pytest.mark.django_db
def test_pages_with_and_without_a_signed_in_user(things: dict[str, Any]) -> None:
    """Ask for all rows in one test, as making the things takes longer than a request."""
    everybody = Client(raise_request_exception=False)
    root = Client(raise_request_exception=False)
    root.force_login(User.objects.create_superuser("root", password="correct horse battery"))
    for client in (everybody, root):
        cookies = copy(client.cookies)
        for name, row in ROWS.items():
            client.cookies = copy(cookies)  # a sign-out gives another session, which is rolled back
            with rolled_back():
                for method in ("get", "post"):
                    answer = getattr(client, method)(row.path.format_map(things))
                    expect_headers(answer.headers, f"{method} of {name}")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status", "headers"),
    [
        ("/nowhere", 404, {}),
        ("/admin/nowhere/", 404, {}),
        ("/admin", 301, {}),
        ("/", 302, {}),
        ("/event", 400, {"host": "evil.example"}),
        ("/admin/", 400, {"host": "evil.example"}),
        ("/failures", 401, {}),
        ("/static/nowhere.css", 404, {}),
    ],
)
def test_redirects_and_errors(admin_client: Client, path: str, status: int, headers: dict[str, str]) -> None:
    client = admin_client if path.startswith("/admin/n") else Client()
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    expect_headers(answer.headers)


@pytest.mark.django_db
@override_settings(READ_RATE="a broken setting")
@pytest.mark.parametrize("path", ["/metrics/flash-count", "/admin/login/"])
def test_an_error_of_ours(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry_site.sign_in.SignInForm.__init__", None)
    answer = Client(raise_request_exception=False).get(path)
    assert answer.status_code == 500
    expect_headers(answer.headers)


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["event", "recentfailure", "failuregroup"])
def test_a_streamed_file(admin_client: Client, page: str) -> None:
    make_event()
    answer = admin_client.get(f"/admin/events/{page}/export/")
    assert answer.streaming
    assert b"".join(answer.streaming_content)
    expect_headers(answer.headers)


@pytest.mark.parametrize(
    ("method", "status", "asked"),
    [
        ("GET", 200, {}),
        ("HEAD", 200, {}),
        ("POST", 405, {}),
        ("GET", 206, {"HTTP_RANGE": "bytes=0-9"}),
        ("GET", 416, {"HTTP_RANGE": "bytes=99999999-"}),
        ("GET", 304, {"HTTP_IF_MODIFIED_SINCE": "Fri, 31 Dec 2100 00:00:00 GMT"}),
    ],
)
def test_static_files(method: str, status: int, asked: dict[str, str]) -> None:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": "/static/admin/css/base.css"} | asked
    setup_testing_defaults(environ)
    started: list[Any] = []
    body = application(environ, lambda code, headers: started.extend([code, headers]))
    getattr(body, "close", lambda: None)()
    assert started[0].startswith(str(status))
    expect_headers(dict(started[1]))
    assert len(dict(started[1])) == len(started[1])  # none of them twice


@pytest.fixture(scope="module")
def server(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    with served_prepared(make_data_dir()) as running:
        yield running


HEAD = b"POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (HEAD + b"Content-Length: 131073\r\n\r\n", 413),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        (b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        (b"GET /static/admin/css/base.css HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
    ],
)
def test_on_the_wire(server: Server, request_bytes: bytes, status: int) -> None:
    assert answer_to(server, request_bytes)[0] == status


def test_a_slow_body_gets_408_with_cors_headers(server: Server) -> None:
    origin = "http://localhost:5173"
    status, headers, body = answer_to(server, HEAD + f'Origin: {origin}\r\nContent-Length: 100\r\n\r\n{{"'.encode())
    assert (status, body) == (408, '{"ok":false,"error":"Request not received in time"}')
    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-credentials"] == "true"


def answer_to(server: Server, request_bytes: bytes) -> tuple[int, dict[str, str], str]:
    """Return the status, the headers, each once, and the body, where the connection ends with the answer."""
    with server.raw(request_bytes) as wire:
        head, _, body = wire.makefile("rb").read(16_384).decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    assert len({name for name, _ in pairs} - {"vary"}) == len([name for name, _ in pairs if name != "vary"])
    expect_headers(dict(pairs))
    return int(status.split()[1]), dict(pairs), body


ASKED = (
    "import django; django.setup()\n"
    "import json, sys\n"
    "from django.test import Client\n"
    "client = Client(headers={'host': 'telemetry.example.org', 'x-forwarded-proto': 'https'})\n"
    "paths = ['/event', '/metrics/flash-count', '/admin/login/', '/admin/', '/nowhere', '/failures', '/api/']\n"
    "print(json.dumps([client.get(path).headers.get('Strict-Transport-Security') for path in paths]))\n"
)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, None),
        ({"HSTS_SECONDS": "3600"}, "max-age=3600"),
        ({"HSTS_SECONDS": "3600", "HSTS_SUBDOMAINS": "1"}, "max-age=3600; includeSubDomains"),
        (
            {"HSTS_SECONDS": "31536000", "HSTS_SUBDOMAINS": "1", "HSTS_PRELOAD": "1"},
            "max-age=31536000; includeSubDomains; preload",
        ),
        ({"HSTS_SECONDS": "3600", "SITE_URL": "http://telemetry.example.org"}, None),
    ],
)
def test_hsts_is_sent_everywhere_when_chosen_and_nowhere_else(
    data_dir: Path, chosen: dict[str, str], expected: str | None
) -> None:
    site = {"SITE_URL": "https://telemetry.example.org", "TRUSTED_PROXY_COUNT": "1", "DATA_DIR": str(data_dir)}
    done = run_apart(ASKED, **(site | chosen))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [expected] * 7


@pytest.mark.django_db
def test_an_event_s_answer_sets_no_cookie_for_somebody_signed_in(admin_client: Client) -> None:
    answer = admin_client.post("/event", payload(), content_type="application/json")
    assert answer.status_code == 201
    assert not answer.cookies
    assert "Cookie" not in answer.headers.get("Vary", "")
