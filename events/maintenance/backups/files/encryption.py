"""Encryption with a passphrase in the age format, version 1 (https://age-encryption.org/v1), as a stream.

The commands `age` and `rage` open these files. The primitives are those of `cryptography`: scrypt, HKDF, HMAC-SHA-256
and ChaCha20-Poly1305. A changed, missing or additional byte is an error, before its chunk is used.
"""

import binascii
import re
import secrets
from base64 import b64decode, b64encode
from typing import IO, Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

# scrypt then needs 2^17 KiB of memory: 128 MiB.
LOG_N = 17
MOST_LOG_N = 20
_VERSION = b"age-encryption.org/v1"
_CHUNK = 65_536
_TAG = 16
_HEADER = re.compile(
    rb"(age-encryption\.org/v1\n-> scrypt ([A-Za-z0-9+/]{22}) ([1-9][0-9]?)\n([A-Za-z0-9+/]{43})\n---)"
    rb" ([A-Za-z0-9+/]{43})\n"
)
_LONGEST_HEADER = 200


class SupportsWrite(Protocol):
    def write(self, data: bytes, /) -> int: ...


class NotDecrypted(Exception):
    """The file cannot be decrypted. The message says in words why."""


class Writer:
    """A file object that encrypts what is written to it. `close` writes the last chunk."""

    def __init__(self, file: SupportsWrite, passphrase: str) -> None:
        file_key, salt, nonce = secrets.token_bytes(16), secrets.token_bytes(16), secrets.token_bytes(16)
        body = ChaCha20Poly1305(_wrap_key(passphrase, salt, LOG_N)).encrypt(bytes(12), file_key, None)
        header = b"%b\n-> scrypt %b %d\n%b\n---" % (_VERSION, _as_base64(salt), LOG_N, _as_base64(body))
        mac = _mac(file_key, header)
        file.write(b"%b %b\n%b" % (header, _as_base64(mac.finalize()), nonce))
        self._file, self._cipher = file, ChaCha20Poly1305(_derived(file_key, b"payload", nonce))
        self._counter, self._rest = 0, bytearray()

    def write(self, data: bytes) -> int:
        self._rest += data
        # A full chunk stays in memory until more data shows that it is not the last one.
        while len(self._rest) > _CHUNK:
            self._write_chunk(bytes(self._rest[:_CHUNK]), is_last=False)
            del self._rest[:_CHUNK]
        return len(data)

    def close(self) -> None:
        self._write_chunk(bytes(self._rest), is_last=True)

    def _write_chunk(self, chunk: bytes, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._counter, is_last=is_last), chunk, None))
        self._counter += 1


class Reader:
    """A file object that decrypts. Read to the end: only there it is certain that the file is complete."""

    def __init__(self, file: IO[bytes], passphrase: str) -> None:
        start = file.read(_LONGEST_HEADER)
        header = _HEADER.match(start)
        if header is None:
            raise NotDecrypted("it is not a file that `age` encrypted with a passphrase")
        signed, salt, log_n, body, mac = header.groups()
        if int(log_n) > MOST_LOG_N:
            raise NotDecrypted(f"its key needs {1 << int(log_n) - 10} MiB of memory, more than this site uses")
        try:
            wrap_key = _wrap_key(passphrase, _from_base64(salt), int(log_n))
            file_key = ChaCha20Poly1305(wrap_key).decrypt(bytes(12), _from_base64(body), None)
            _mac(file_key, signed).verify(_from_base64(mac))
        except (InvalidTag, InvalidSignature, binascii.Error):
            raise NotDecrypted("the passphrase is not the one of this file, or its first bytes are damaged") from None
        file.seek(header.end())
        nonce = file.read(16)
        self._file, self._cipher = file, ChaCha20Poly1305(_derived(file_key, b"payload", nonce))
        self._counter, self._plain, self._ahead = 0, bytearray(), file.read(_CHUNK + _TAG)
        self._is_at_end = False

    def read(self, size: int = -1) -> bytes:
        while not self._is_at_end and (size < 0 or len(self._plain) < size):
            self._plain += self._next_chunk()
        size = len(self._plain) if size < 0 else size
        data = bytes(self._plain[:size])
        del self._plain[:size]
        return data

    def _next_chunk(self) -> bytes:
        chunk, self._ahead = self._ahead, self._file.read(_CHUNK + _TAG)
        self._is_at_end = not self._ahead
        try:
            plain = self._cipher.decrypt(_nonce(self._counter, is_last=self._is_at_end), chunk, None)
        except InvalidTag:
            at = f"its bytes from {self._counter * (_CHUNK + _TAG):,} on"
            raise NotDecrypted(f"it is damaged or incomplete: {at} are not what was encrypted") from None
        self._counter += 1
        return plain


def _wrap_key(passphrase: str, salt: bytes, log_n: int) -> bytes:
    scrypt = Scrypt(salt=_VERSION + b"/scrypt" + salt, length=32, n=1 << log_n, r=8, p=1)
    return scrypt.derive(passphrase.encode())


def _derived(file_key: bytes, purpose: bytes, salt: bytes | None = None) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(file_key)


def _mac(file_key: bytes, header: bytes) -> HMAC:
    mac = HMAC(_derived(file_key, b"header"), SHA256())
    mac.update(header)
    return mac


def _nonce(counter: int, *, is_last: bool) -> bytes:
    return counter.to_bytes(11, "big") + bytes([is_last])


def _as_base64(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def _from_base64(data: bytes) -> bytes:
    return b64decode(data + b"=" * (-len(data) % 4), validate=True)
