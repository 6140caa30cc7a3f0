"""Bytes to a real server. They cannot hide the client's address, and the server answers only real requests."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.judge import check, count, share
from tests.servers import Server, served_prepared

CLIENT = b"192.0.2.1"  # has used its only read of the hour


@pytest.fixture(scope="module")
def server(make_data_dir: Callable[[], Path]) -> Iterator[Server]:
    limits = {"TRUSTED_PROXY_COUNT": "1", "READ_RATE": "1/h", "INGEST_RATE": "off"}
    with served_prepared(make_data_dir(), **limits) as running:
        assert running.get("/metrics/flash-count", **{"X-Forwarded-For": CLIENT.decode()})[0] == 200
        yield running


def answers_to(server: Server, data: bytes) -> list[tuple[int, bytes]]:
    """Return the status and head of each response until the server closes the connection."""
    count(1)
    with server.raw(data) as wire:
        received = b"".join(iter(lambda: wire.recv(65_536), b""))
    answers = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        has_body = length and not (data.startswith(b"HEAD ") and not answers)
        answers.append((int(head[9:12]), head))
        received = rest[int(length[1]) if has_body else 0 :]
    return answers


# Bytes that HTTP allows in a header: no control character except the tab.
VALUES = st.lists(
    st.sampled_from(
        [b"192.0.2.9", b", ", b",", b" ", b"\t", b"[::1]", b":8000", b"\xc3\xa9", b"\xff", b"unknown", b'"']
    )
    | st.binary(max_size=3).map(
        lambda value: bytes(byte for byte in value if byte == 9 or (byte >= 32 and byte != 127))
    ),
    max_size=5,
).map(b"".join)
NAMES = st.sampled_from([b"X_Forwarded_For", b"X-Forwarded-For-", b"Forwarded", b"X-Real-IP", b"Accept", b"Via"])
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=3)


@pytest.mark.fault("bytes that hide the address of a proxy")
@share(2, short=20)
@given(lines=LINES, values=st.lists(VALUES, max_size=3), are_joined=st.booleans())
def test_bytes_before_the_address_of_a_proxy(
    server: Server, lines: list[tuple[bytes, bytes]], values: list[bytes], are_joined: bool
) -> None:
    """A proxy appends the address to the client's header, or adds a header. Both give the real client address."""
    forwarded = [b", ".join([*values, CLIENT])] if are_joined else [*values, CLIENT]
    sent = [*lines, *((b"X-Forwarded-For", value) for value in forwarded)]
    head = b"GET /metrics/flash-count HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"".join(b"%s: %s\r\n" % line for line in sent)
    answers = answers_to(server, head + b"\r\n")
    check("else", [status for status, _ in answers] in ([429], [400]), answers, head)


HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
AFTER = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SIZE = b"%d" % len(HIDDEN)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
FRAMINGS = {
    b"Content-Length: " + SIZE: HIDDEN,
    b"Content-Length:" + SIZE + b" ": HIDDEN,
    b"Content-Length: +" + SIZE: HIDDEN,
    b"Content-Length: 0" + SIZE: HIDDEN,
    b"Content-Length: 0x" + SIZE: HIDDEN,
    b"Content-Length: " + SIZE + b", " + SIZE: HIDDEN,
    b"Content-Length: " + SIZE + b"\r\nContent-Length: " + SIZE: HIDDEN,
    b"Content-Length: 0\r\nContent-Length: " + SIZE: HIDDEN,
    b"Content-Length: " + SIZE + b"\r\nContent-Length: 0": HIDDEN,
    b"Content-Length: -1": HIDDEN,
    b"Content-Length : " + SIZE: HIDDEN,
    b"Content-Length: " + b"9" * 30: HIDDEN,
    b"Content_Length: 0\r\nContent-Length: " + SIZE: HIDDEN,
    b"Transfer-Encoding: chunked": CHUNKED,
    b"transfer-encoding: CHUNKED": CHUNKED,
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked": CHUNKED,
    b"Transfer-Encoding: gzip, chunked": CHUNKED,
    b"Transfer-Encoding: chunked, identity": CHUNKED,
    b"Transfer-Encoding: xchunked": CHUNKED,
    b"Transfer-Encoding : chunked": CHUNKED,
    b"Transfer-Encoding:\tchunked": CHUNKED,
    b"Transfer-Encoding: identity\r\nContent-Length: " + SIZE: HIDDEN,
    b"Transfer-Encoding: chunked\r\nContent-Length: %d" % len(CHUNKED): CHUNKED,
    b"Content-Length: 4\r\nTransfer-Encoding: chunked": CHUNKED,
}
METHODS = st.sampled_from([b"POST", b"PUT", b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"BREW", b"post"])
TARGETS = st.sampled_from(
    [b"/event", b"/event/batch", b"/increment", b"/admin/login/", b"/health", b"/static/x", b"/nowhere", b"*",
     b"http://localhost/health", b"/\xff", b"//", b"/event?\xc3\xa9"]
)  # fmt: skip


@pytest.mark.fault("framings that hide a request")
@share(2, short=20)
@given(
    framing=st.sampled_from(list(FRAMINGS)),
    method=METHODS,
    target=TARGETS,
    version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"]),
    lines=st.lists(st.tuples(st.sampled_from([b"Content-Type", b"Cookie", b"Expect", b"X-Other", b"Origin"]), VALUES)),
)
def test_a_connection_stays_in_step(
    server: Server, framing: bytes, method: bytes, target: bytes, version: bytes, lines: list[tuple[bytes, bytes]]
) -> None:
    """The body contains a request. The server must not answer it, but may answer the request after the body."""
    head = b"%s %s %s\r\nHost: localhost\r\n" % (method, target, version)
    head += b"".join(b"%s: %s\r\n" % line for line in lines) + framing + b"\r\n\r\n"
    answers = answers_to(server, head + FRAMINGS[framing] + AFTER)
    statuses = [status for status, _ in answers if status != 100]
    check("5xx", all(status < 500 for status in statuses), answers, head)
    check("else", len(statuses) == 1 or (len(statuses) == 2 and statuses[1] == 200), answers, head)
