"""Encryption of the URLs of channels, which contain tokens and passwords. The site's secret key gives the key.

Fernet (AES-128-CBC with HMAC-SHA-256) of `cryptography`; the key is HKDF-SHA-256 of SECRET_KEY. So a copy of the
database alone shows no URL, and a site with another secret key cannot use them.
"""

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_PURPOSE = b"events.alerts.channels: URL, version 1"


class NotOpened(Exception):
    """The URL was sealed with another secret key, or its row is damaged."""

    is_loggable = True  # the message is fixed

    def __init__(self) -> None:
        super().__init__("The secret key of the site has changed since the URL was entered. Enter the URL again.")


def seal(url: str) -> str:
    return _fernet().encrypt(url.encode()).decode()


def opened(sealed: str) -> str:
    """Return the URL of `seal`. Raises NotOpened."""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except (InvalidToken, UnicodeDecodeError):
        raise NotOpened from None


def _fernet() -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(settings.SECRET_KEY.encode())
    return Fernet(urlsafe_b64encode(key))
