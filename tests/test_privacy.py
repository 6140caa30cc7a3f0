"""What docs/privacy.md promises: of who sent something, nothing is left in any table, log line or file.

A real server hears from known addresses, agents, cookies, referrers and origins, by every public route, and also
refuses and fails; then everything that it has is searched for them.
"""

import hashlib
import http.client
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from telemetry_site.public_urls import urlpatterns
from tests.conftest import payload, success
from tests.other_process import shared_site
from tests.servers import Server, served_prepared

pytestmark = pytest.mark.django_db(transaction=True)

PEER = "127.0.0.77"  # the address that the connection itself has
ORIGIN = "https://marked-origin.example"
FORWARDED = ["203.0.113.77", "2001:db8:77::4711"]
MARKED = {
    "User-Agent": "Marked-Agent/7.7",
    "Cookie": f"marked_cookie=marked-crumb; {settings.SESSION_COOKIE_NAME}=marked-session-cookie",
    "Referer": "https://marked-referrer.example/marked-page?marked=query",
    "Accept-Language": "marked-language",
    "X-Real-IP": "203.0.113.78",
    "Forwarded": 'for="203.0.113.79"',
    "From": "marked@person.example",
    "Sec-CH-UA": '"Marked-Brand";v="7"',
    "X-Request-ID": "marked-request-id",
}
BEARER, ADMIN_TOKEN, QUERY = "marked-bearer", "marked-and-long-admin-token", "marked-query-token"
REFUSED_ORIGIN, HOST = "https://refused-origin.example", "marked-host.example"
# What clients of the old system put into their payloads of themselves.
OF_THEMSELVES = {
    "user_agent": "Marked-Payload-Agent/1",
    "page_url": "https://marked-page-url.example/?who=me",
    "origin": "https://marked-payload-origin.example",
    "ip_hash": "marked-ip-hash",
    "userAgent": "Marked-Payload-Agent/2",
    "pageUrl": "https://marked-other-page-url.example/",
    "ip": "203.0.113.80",
}
KEPT = "these words are kept"

SECRETS = [
    PEER, *FORWARDED, "203.0.113.78", "203.0.113.79", "203.0.113.80", "2001:db8:77", "marked-origin", "Marked-Agent",
    "marked-crumb", "marked-session-cookie", "marked-referrer", "marked-language", "marked@person", "Marked-Brand",
    "marked-request-id", BEARER, ADMIN_TOKEN, QUERY, "refused-origin", *OF_THEMSELVES.values(),
]  # fmt: skip


def hashes() -> Iterator[str]:
    """Yield hashes of the addresses without a key, which a list of all addresses can reverse."""
    for address in (PEER, *FORWARDED):
        for name in ("md5", "sha1", "sha256", "blake2b", "blake2s"):
            yield hashlib.new(name, address.encode()).hexdigest()[:16]


class Client:
    """Somebody in the field, known by every header that could tell of them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answers: dict[int, int] = {}

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> int:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = MARKED | {"Content-Type": "application/json", "Origin": ORIGIN} | headers
        for forwarded in FORWARDED:
            with closing(
                http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60, source_address=(PEER, 0))
            ) as wire:
                wire.request(method, path, data, sent | {"X-Forwarded-For": f"198.51.100.1, {forwarded}"})
                answer = wire.getresponse()
                answer.read()
                # A staff read is among the pages, and takes a session that is none away.
                assert path == "/failures" or answer.headers["Set-Cookie"] is None
            self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
        return answer.status


@contextmanager
def site(folder: Path, **env: str) -> Iterator[Server]:
    """Serve a site: on a file of its own, or, where the suite runs on PostgreSQL, on the test's database."""
    if connection.vendor == "postgresql":
        env["DATABASE_URL"] = shared_site(folder)["DATABASE_URL"]
    env |= {"ALLOWED_ORIGINS": ORIGIN, "ADMIN_TOKEN": ADMIN_TOKEN, "SECRET_KEY": settings.SECRET_KEY}
    with served_prepared(folder, **env) as server:
        yield server


def everything(server: Server) -> dict[str, str]:
    """Return all that the site has: each table's cells, its log, each file in its folder."""
    found = {"the log": server.log.read_text()}
    for file in sorted(server.data_dir.rglob("*")):
        if file.is_file():
            found[str(file.relative_to(server.data_dir))] = file.read_bytes().decode("latin-1")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')
                found[table] = repr(cursor.fetchall())
    else:
        with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=60)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                found[table] = repr(database.execute(f'SELECT * FROM "{table}"').fetchall())
    return found


def traces(server: Server) -> list[str]:
    where = {name: text.lower() for name, text in everything(server).items()}
    assert KEPT in where["telemetry_events"], "the search finds what is there"
    sought = [*SECRETS, *hashes()]
    return [f"{secret} in {name}" for secret in sought for name, text in where.items() if secret.lower() in text]


def public_routes() -> Iterator[tuple[str, str]]:
    """Yield the method and the path of every route that anyone may call."""
    for pattern in urlpatterns:
        for method in pattern.callback.actions:
            yield method.upper(), re.sub(r"^\^|\\|/\?\$$", "", str(pattern.pattern)).join(["/", ""])


def report_all(client: Client) -> None:
    """Send by every public route what is taken."""
    failure = payload(message=KEPT) | OF_THEMSELVES
    assert client.send("POST", "/event", failure) == 200
    assert client.send("POST", f"/event?token={QUERY}", success() | OF_THEMSELVES) in (200, 201)
    beacon = {"Content-Type": "text/plain"}
    assert client.send("POST", "/event", payload(message="by a beacon") | OF_THEMSELVES, **beacon) in (200, 201)
    assert client.send("POST", "/event/batch", {"events": [payload(message="b") | OF_THEMSELVES, 7]}) == 200
    assert client.send("POST", "/client-log", failure | {"occurred_at": "2026-02-12 18:00:00"}) == 200
    assert client.send("POST", "/increment", {"sessionId": "flash-1"} | OF_THEMSELVES) == 200
    for path in ("/count", "/metrics/flash-count", "/health", "/health/ready", "/badge.svg", "/badge.json"):
        assert client.send("GET", path) == 200
    assert client.send("GET", "/recent", Authorization=f"Bearer {ADMIN_TOKEN}") == 200
    assert client.send("GET", "/failures", Authorization=f"Bearer {ADMIN_TOKEN}") == 200


def be_refused(client: Client) -> None:
    """Send by every public route what is refused, for every reason."""
    for method, path in public_routes():
        client.send(method, f"{path}?token={QUERY}", b"{ no JSON", Authorization=f"Bearer {BEARER}")
        client.send(method, path, {"message": 7, "event_type": "nonsense"} | OF_THEMSELVES)
        client.send(method, path, payload(message="x"), Origin=REFUSED_ORIGIN)
        client.send(method, path, b"x" * 3_000)
        client.send(method, path, payload(), **{"Content-Type": "application/xml"})
        client.send(method, path, payload(), Host=HOST)
        client.send("OPTIONS", path, **{"Access-Control-Request-Method": method})
        client.send("PATCH", path, payload() | OF_THEMSELVES)
    client.send("GET", f"/no-such-page?who={QUERY}")
    client.send("GET", "/failures", Authorization=f"Bearer {BEARER}")
    client.server.raw(f"GET /health HTTP/9.9 {BEARER}\r\nUser-Agent: Marked-Agent\r\n\r\n".encode()).close()
    client.server.raw(f"POST /event HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 900\r\n\r\nhalf".encode()).close()


def fail(server: Server, client: Client) -> None:
    """Send what is valid to a site whose database fails."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE events_hourlyrollup RENAME TO away")
        assert client.send("POST", "/event", payload(message=f"{KEPT} no more")) >= 500
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO events_hourlyrollup")
        return
    with closing(sqlite3.connect(server.data_dir / "telemetry.sqlite3", timeout=60)) as database:
        database.execute("ALTER TABLE events_hourlyrollup RENAME TO away")
        assert client.send("POST", "/event", payload(message=f"{KEPT} no more")) >= 500
        database.execute("ALTER TABLE away RENAME TO events_hourlyrollup")


def keys_of(line: str) -> set[str]:
    return set(json.loads(line))


@pytest.mark.parametrize(("proxies", "form"), [("0", "line"), ("1", "json")])
def test_nothing_identifies_the_sender(data_dir: Path, proxies: str, form: str) -> None:
    unlimited = {"INGEST_RATE": "off", "BATCH_RATE": "off", "READ_RATE": "off"}
    with site(data_dir, TRUSTED_PROXY_COUNT=proxies, LOG_FORMAT=form, MAX_BODY_BYTES="2048", **unlimited) as server:
        client = Client(server)
        report_all(client)
        be_refused(client)
        assert {200, 201, 204, 400, 401, 403, 404, 405, 413, 415} <= client.answers.keys() | {204}
        assert traces(server) == []
        fail(server, client)
        assert traces(server) == []
        lines = server.log.read_text().splitlines()
        # A refused host is counted under its name, which is that of the called site.
        assert [line for line in lines if KEPT in line or HOST in line] == [], "a log line contains what was sent"
        assert any("ERROR" in line for line in lines)
        assert form == "line" or {"time", "level", "logger", "message"} <= set.intersection(*map(keys_of, lines))
        assert server.command("check_parity").returncode in (0, 1, 2)
    assert traces(server) == []


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_nor_does_a_limit(data_dir: Path, proxies: str) -> None:
    limits = {"INGEST_RATE": "2/m", "BATCH_RATE": "1/m", "READ_RATE": "2/m"}
    with site(data_dir, TRUSTED_PROXY_COUNT=proxies, **limits) as server:
        client = Client(server)
        for number in range(4):
            client.send("POST", "/event", payload(message=f"{KEPT} {number}"))
            client.send("POST", "/event/batch", {"events": [payload()]})
            client.send("GET", "/count")
        assert client.answers[429] >= 6
        assert traces(server) == []


def test_nor_does_a_refused_token(data_dir: Path) -> None:
    with site(data_dir, INGEST_TOKEN_REQUIRED="1") as server:
        client = Client(server)
        assert client.send("POST", "/event", payload(), Authorization=f"Bearer {BEARER}") == 401
        assert client.send("POST", f"/event?token={QUERY}", payload()) == 401
        issued = server.command("issue_token", "web", "--expires", "1d").stdout.strip()
        assert client.send("POST", f"/event?token={issued}", payload(message=KEPT)) == 200
        assert traces(server) == []
        assert not [name for name, text in everything(server).items() if issued.partition(":")[2] in text]


def test_nor_does_a_fault(data_dir: Path) -> None:
    if connection.vendor == "postgresql":  # the file is what can be broken by hand
        return
    with site(data_dir) as server:
        client = Client(server)
        client.send("POST", "/event", payload(message=KEPT))
        with closing(sqlite3.connect(data_dir / "telemetry.sqlite3", timeout=60, isolation_level=None)) as database:
            database.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON telemetry_events WHEN NEW.model = 'broken'"
                " BEGIN SELECT RAISE(ABORT, 'broken for a test'); END"
            )
            assert client.send("POST", "/event", payload(model="broken") | OF_THEMSELVES) == 500
            database.execute("DROP TRIGGER broken")
            database.execute("BEGIN IMMEDIATE")
            assert client.send("POST", "/event", payload(message="later") | OF_THEMSELVES) == 503
            database.execute("ROLLBACK")
        log = server.log.read_text()
        assert "broken for a test" in log
        assert "Storage is unavailable" in log
        assert traces(server) == []
