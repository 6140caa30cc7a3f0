"""The chunks of a streamed response."""

from collections.abc import Iterator

from telemetry_site.server.streaming import Chunks


def test_a_response_is_closed_also_when_its_client_has_gone() -> None:
    closed = []

    class Response:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"first", b"", b"last"])

        def close(self) -> None:
            closed.append(self)

    response = Response()
    chunks = Chunks(response)
    assert chunks.next() == b"first"
    chunks.close()
    assert closed == [response]


def test_an_empty_chunk_is_not_the_end() -> None:
    chunks = Chunks([b"first", b"", b"last"])
    assert [chunks.next() for _ in range(4)] == [b"first", b"", b"last", None]
    chunks.close()  # a list has nothing to close
