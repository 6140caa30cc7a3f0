"""Explains to the user and the operator why Django's CSRF check refused a form."""

from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.middleware import csrf

SHOWN_CHARACTERS = 200
_BAD_ORIGIN = csrf.REASON_BAD_ORIGIN.partition("%s")[0]
_BAD_REFERER = csrf.REASON_BAD_REFERER.partition("%s")[0]


class Cause(NamedTuple):
    heading: str
    cause: str
    remedy: str


def explain(request: HttpRequest, reason: str) -> Cause:
    """Return an explanation of one of Django's reasons."""
    if reason.startswith(_BAD_ORIGIN):
        return _origin_cause(_shown(request.META.get("HTTP_ORIGIN", "")))
    if reason == csrf.REASON_NO_REFERER:
        return Cause(
            "The site could not check where this form came from",
            "Your browser sent neither Origin nor Referer. Over HTTPS the site needs one of them.",
            "A proxy in front of the site or a browser extension removes both headers. Configure it to keep them.",
        )
    if reason.startswith(_BAD_REFERER):  # also for a malformed Referer, or one that is not HTTPS
        return _other_site_cause("Referer", _origin_of(request.META.get("HTTP_REFERER", "")))
    if "cookie" in reason:
        return _cookie_cause(request)
    return Cause(
        "This form is out of date",
        "Its CSRF token is missing or is no longer valid. You may have signed in again since the page was loaded.",
        "Go back, load the page again and send the form once more.",
    )


def _origin_cause(origin: str) -> Cause:
    if origin != "null":
        return _other_site_cause("Origin", origin)
    return Cause(
        "The site could not check where this form came from",
        f"Your browser sent Origin: null, which does not match SITE_URL ({settings.SITE_URL}).",
        "A proxy in front of the site or a browser extension sets Referrer-Policy: no-referrer. Remove that header: the"
        " site sends its own. If you did not send this form from a page of this site, another page did: close it.",
    )


def _other_site_cause(header: str, sent: str) -> Cause:
    return Cause(
        "This form came from another address",
        f"{header} {sent} does not match SITE_URL ({settings.SITE_URL}).",
        f"If you use this site at {sent}, its operator must set SITE_URL to that address and restart it."
        " Otherwise another site sent this form: close its page.",
    )


def _cookie_cause(request: HttpRequest) -> Cause:
    if settings.HTTPS and not request.is_secure():
        return Cause(
            "This form arrived without its cookie",
            f"SITE_URL is {settings.SITE_URL}, so browsers send cookies only over HTTPS. This form arrived over HTTP.",
            f"Open the site at {settings.SITE_URL}. Behind a proxy, its operator must set TRUSTED_PROXY_COUNT, and the"
            " proxy must send X-Forwarded-Proto.",
        )
    return Cause(
        "This form is out of date, or cookies are switched off",
        "Your browser sent no valid CSRF cookie. Cookies are blocked, or were deleted after the page was loaded.",
        "Allow cookies for this site, load the page again and send the form once more.",
    )


def _origin_of(address: str) -> str:
    """Return scheme, host and port only: the rest of a Referer may be private."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return _shown(address)
    return _shown(f"{parts.scheme}://{parts.netloc}" if parts.netloc else address)


def _shown(sent: str) -> str:
    return sent if len(sent) <= SHOWN_CHARACTERS else f"{sent[:SHOWN_CHARACTERS]}…"
