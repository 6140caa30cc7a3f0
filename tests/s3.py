"""An S3-compatible service (moto) in a process of its own, which checks the signature of each request.

`python -m tests.s3` is that process. It prints its port and the keys, and ends with its standard input.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from telemetry_site import env

BUCKET = "backups"


class Service(NamedTuple):
    process: subprocess.Popen[str]
    port: int
    key_id: str
    secret: str

    def url(self, prefix: str, *, port: int | None = None, bucket: str = BUCKET, **options: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"s3://{bucket}/{prefix}?endpoint=http://127.0.0.1:{port or self.port}{more}"

    def target(self, prefix: str, **options: object) -> env.CopyTarget:
        return env._parse_copy_target(self.url(prefix, **options))

    def objects(self, prefix: str) -> dict[str, int]:
        """Return the sizes of all objects under a prefix, by their keys below it."""
        import obstore

        found = obstore.list(self._store(), prefix).collect()
        return {each["path"].removeprefix(f"{prefix}/"): each["size"] for each in found}

    def get(self, key: str) -> bytes:
        import obstore

        return bytes(obstore.get(self._store(), key).bytes())

    def put(self, key: str, content: bytes) -> None:
        import obstore

        obstore.put(self._store(), key, content)

    def delete(self, key: str) -> None:
        import obstore

        obstore.delete(self._store(), key)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop the service: connections are accepted, and no request is answered."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _store(self):
        from obstore.store import S3Store

        keys = {"access_key_id": self.key_id, "secret_access_key": self.secret, "token": None, "expires_at": None}
        return S3Store(
            BUCKET,
            aws_endpoint_url_s3=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            credential_provider=lambda: keys,
            client_options={"allow_http": True},
        )


@contextmanager
def running() -> Iterator[Service]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.s3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "0"},
    ) as process:
        try:
            assert process.stdout is not None
            port, key_id, secret = json.loads(process.stdout.readline())
            yield Service(process, port, key_id, secret)
        finally:
            process.kill()


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Serve one answer to each connection, then close it. Yields the port."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(2)
                    with suppress(OSError):
                        while client.recv(65_536) and answer:
                            client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering_securely(folder: Path) -> Iterator[int]:
    """Begin TLS on each connection, with a certificate for localhost that nobody trusts. Yields the port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "pair.pem").write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    context.wrap_socket(client, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def watched(port: int, word: bytes, act: Callable[[], object]) -> Iterator[int]:
    """Forward connections to a port. Before a request with `word` is forwarded, call `act`, and close everything."""

    def forward(source: socket.socket, target: socket.socket, *, is_request: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if is_request and word in data:
                    act()
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                service = socket.create_connection(("127.0.0.1", port))
                sockets.extend((client, service))
                for source, target, is_request in ((client, service, True), (service, client, False)):
                    threading.Thread(
                        target=forward, args=(source, target), kwargs={"is_request": is_request}, daemon=True
                    ).start()

    sockets: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for each in sockets:
        each.close()


def _serve() -> None:
    from moto.iam.models import iam_backends
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    account = "123456789012"
    iam = iam_backends[account]["aws"]
    iam.create_user(region_name="us-east-1", user_name="site")
    key = iam.create_access_key("site")
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_user_policy("site", "all", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3_backends[account]["aws"].create_bucket(BUCKET, "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(json.dumps([server.get_host_and_port()[1], key.access_key_id, key.secret_access_key]), flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
