"""Real listeners on loopback: a web hook, and a mail server."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Request(NamedTuple):
    path: str
    headers: dict[str, str]
    body: str


class Hook:
    """A web hook and the requests that it received. It answers `status`, with `location` if it is set."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.status = 200
        self.location = ""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                hook.requests.append(Request(self.path, dict(self.headers), body))
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_CONNECT = do_PUT = do_POST  # noqa: N815 (names of http.server)

            def log_message(self, *args: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def hook() -> Iterator[Hook]:
    listener = Hook()
    try:
        yield listener
    finally:
        listener.close()


class Delivered(NamedTuple):
    sender: str
    recipients: list[str]
    mail: EmailMessage
    is_authenticated: bool


class MailBox:
    """What a mail server received. It refuses the recipients in `unknown` with 550."""

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []
        self.unknown: set[str] = set()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.delivered.append(Delivered(envelope.mail_from, envelope.rcpt_tos, mail, bool(session.authenticated)))
        return "250 OK"


@contextmanager
def mail_server(*, password: str = "") -> Iterator[tuple[int, MailBox]]:
    """Run a mail server, and yield its port and its box. With a password it accepts the user `u`."""
    box = MailBox()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        is_known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"u", password.encode())
        return AuthResult(success=is_known, handled=is_known)

    options: dict[str, Any] = {"authenticator": authenticate, "auth_require_tls": False} if password else {}
    controller = Controller(box, hostname="127.0.0.1", port=0, server_hostname="mail.test", **options)
    controller.port = _free_port()
    controller.start()
    try:
        yield controller.port, box
    finally:
        controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
