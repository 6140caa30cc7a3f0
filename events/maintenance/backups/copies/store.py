"""Requests to a bucket of an S3-compatible service, by obstore. Only the process of a job or a command imports this.

The signature of each request includes the SHA-256 of its body, so the service refuses a body that the network changed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import obstore
from django.conf import settings
from obstore.exceptions import BaseError
from obstore.store import S3Store

from events.maintenance.backups.files.folder import BackupFailed

if TYPE_CHECKING:  # obstore has these types in its stubs only
    from obstore.store import S3Credential

PART_BYTES = 8 << 20
# S3 allows 10,000 parts. A backup over 72 GB gets larger parts.
_MOST_PARTS = 9_000
_CONNECT_SECONDS = 10
_RETRIES = 3

_MEANINGS = {
    "NoSuchBucket": "the bucket does not exist",
    "InvalidAccessKeyId": "the service does not know the key in BACKUP_S3_KEY_ID",
    "SignatureDoesNotMatch": "BACKUP_S3_SECRET does not belong to the key in BACKUP_S3_KEY_ID",
    "AccessDenied": "the key may not do this: it needs the rights to list, read, write and delete objects",
    "AllAccessDisabled": "the service has disabled the bucket",
    "PermanentRedirect": "the bucket is in another region: set the option region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set the option region",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
}


class StoreFailed(BackupFailed):
    """A request failed, so further ones would fail too. The message contains no secret."""


class StoredObject(NamedTuple):
    key: str  # without the prefix of BACKUP_URL
    size: int


class Store:
    """The objects under the prefix of BACKUP_URL. Each method raises StoreFailed."""

    def __init__(self) -> None:
        target = settings.BACKUP_URL
        if target is None:
            raise StoreFailed("BACKUP_URL is not set.")
        if not settings.BACKUP_S3_KEY_ID or not settings.BACKUP_S3_SECRET:
            raise StoreFailed("BACKUP_S3_KEY_ID or BACKUP_S3_SECRET is not set.")
        self.place, self.may_be_plain = str(target), target.may_be_plain
        self._timeout_seconds = target.timeout_seconds
        scheme, _, host = target.endpoint.partition("://")
        # obstore also reads AWS_… from the environment. What it would take from there is set here.
        self._store = S3Store(
            target.bucket,
            prefix=target.prefix or None,
            aws_endpoint_url_s3=target.endpoint if target.is_path_style else f"{scheme}://{target.bucket}.{host}",
            region=target.region,
            virtual_hosted_style_request=not target.is_path_style,
            skip_signature=False,
            unsigned_payload=False,
            credential_provider=_credentials,
            client_options={
                "allow_http": scheme == "http",
                "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, self._timeout_seconds)),
                "timeout": timedelta(seconds=self._timeout_seconds),
            },
            retry_config={
                "max_retries": _RETRIES,
                # No retry begins after this time, so a service that hangs is given up after two time-outs.
                "retry_timeout": timedelta(seconds=1.5 * self._timeout_seconds),
            },
        )

    def folders(self) -> list[str]:
        """Return the names of the folders directly under the prefix."""
        with self._explained("list the copies"):
            found = obstore.list_with_delimiter(self._store)
            return sorted(path.strip("/").rpartition("/")[2] for path in found["common_prefixes"])

    def objects(self, folder: str) -> list[StoredObject]:
        """Return the objects directly in a folder."""
        with self._explained("list the copies"):
            found = obstore.list_with_delimiter(self._store, f"{folder}/")
            return [StoredObject(each["path"], each["size"]) for each in found["objects"]]

    def read(self, key: str) -> bytes:
        with self._explained(f"read {key}"):
            return bytes(obstore.get(self._store, key).bytes())

    def parts(self, stored: StoredObject) -> Iterator[bytes]:
        """Yield the content of an object in parts, each by a request of its own."""
        for start in range(0, stored.size, PART_BYTES):
            with self._explained(f"read {stored.key}"):
                part = obstore.get_range(
                    self._store, stored.key, start=start, end=min(start + PART_BYTES, stored.size)
                ).to_bytes()
            yield part

    def write(self, key: str, content: bytes) -> None:
        with self._explained(f"write {key}"):
            obstore.put(self._store, key, content, use_multipart=False)

    def send(self, key: str, chunks: Iterable[bytes], size: int) -> None:
        """Write an object in parts. It does not exist before the last one; an error deletes the parts.

        The memory is that of two parts. An exception of `chunks` aborts the upload.
        """
        with self._explained(f"write {key}"):
            obstore.put(
                self._store,
                key,
                chunks,
                use_multipart=True,
                chunk_size=max(PART_BYTES, size // _MOST_PARTS + 1),
                max_concurrency=1,
            )
            stored_bytes = obstore.head(self._store, key)["size"]
        if stored_bytes != size:
            raise StoreFailed(f"{self.place} has {stored_bytes:,} bytes of {key} instead of {size:,}.")

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects one after the other. A key that does not exist is no error."""
        for key in keys:  # not every service has the request that deletes several
            with self._explained(f"delete {key}"):
                obstore.delete(self._store, key)

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreFailed(f"Cannot {action} in {self.place}: {self._reason(str(error))}.") from None

    def _reason(self, text: str) -> str:
        """Return the reason of an error of obstore. Its whole text quotes the request and the answer."""
        code, status = re.search(r"<Code>(\w{1,64})</Code>", text), re.search(r"status code: (\d{3})", text)
        if code and code[1] in _MEANINGS:
            return _MEANINGS[code[1]]
        if status:
            return f"the service answered {status[1]}{f' {code[1]}' if code else ''}"
        if "timed out" in text or "TimedOut" in text:
            return f"the service did not answer within {self._timeout_seconds} s"
        if "InvalidCertificate" in text:
            return "the certificate of the service is not valid for its host, or its issuer is unknown"
        return "the service cannot be reached, or it ended the connection"


def _credentials() -> "S3Credential":
    return {
        "access_key_id": settings.BACKUP_S3_KEY_ID,
        "secret_access_key": settings.BACKUP_S3_SECRET,
        "token": None,
        "expires_at": None,
    }
