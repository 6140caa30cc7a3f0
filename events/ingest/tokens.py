"""Signed tokens: a name with the site's signature, valid until it expires or is revoked, for one or more scopes.

Each token has a rate limit. It may also have the site's default, which depends on the route.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Q
from django.views.decorators.debug import sensitive_variables

from events import audit, clock, rates
from events.counting import site_days
from events.models import AuditKind, IngestToken

# The resolution of `last_used_at`.
USE_STEP = timedelta(minutes=10)
MAX_NAME = 64
LONGEST = timedelta(days=3_650)
# The rate of a token that has the site's default.
DEFAULT_RATE = ""
# Expired tokens stay in the list for this long, so that a maintainer can see why a client is refused.
EXPIRED_FOR = timedelta(days=30)
_signer = Signer(salt="events.ingest-token")


class Scope(StrEnum):
    """What a token may do."""

    INGEST = "ingest"
    SOURCE_MAPS = "sourcemaps"
    READ = "read"
    TRIAGE = "triage"


def name_fault(name: str) -> str | None:
    """Return what is wrong with the name of a new token, in words, or None.

    A token contains its name and is sent in a header, where browsers allow only ASCII.
    """
    if not name or len(name) > MAX_NAME or not (name.isascii() and name.isprintable()) or name != name.strip():
        return f"A name has 1 to {MAX_NAME} printable ASCII characters."
    return None


def parse_rate(raw: str) -> str:
    """Return the rate of a new token in its stored form. Raises ValueError."""
    return DEFAULT_RATE if raw == DEFAULT_RATE else rates.parse(raw) or rates.OFF


def taken_words(name: str) -> str:
    return f"A token named {name} exists or existed. Names are unique, so choose another."


def until_words(expires_at: datetime | None) -> str:
    return f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until it is revoked"


@sensitive_variables()
def issue(
    name: str,
    *,
    who: str,
    now: datetime,
    expires_at: datetime | None,
    scopes: Collection[Scope] = (Scope.INGEST,),
    rate: str = DEFAULT_RATE,
) -> str:
    """Return a new token; raises IntegrityError when the name exists. `rate` has the form of `parse_rate`."""
    words = [scope.value for scope in Scope if scope in scopes]
    what = f"Issued for {', '.join(words)}, {until_words(expires_at)}"
    with transaction.atomic():
        IngestToken.objects.create(name=name, scopes=" ".join(words), created_at=now, expires_at=expires_at, rate=rate)
        limit = f", with the rate limit {rate}" if rate else ""
        audit.note(AuditKind.TOKEN, f"{what}{limit}.", who=who, at=now, about=name)
    return _signer.sign(name)


def rate_of(token: IngestToken, default: str | None) -> str | None:
    """Return the rate limit of a token, None if it has none. `default` is the one of the route."""
    return default if token.rate == DEFAULT_RATE else rates.parse(token.rate)


def find(token: str) -> IngestToken | None:
    """Return the row of a token that has our signature and is neither expired nor revoked, else None."""
    try:
        name = _signer.unsign(token)
    except BadSignature:
        return None
    known = IngestToken.objects.filter(name=name, revoked_at__isnull=True)
    return known.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now())).first()


def use(token: IngestToken, scope: Scope) -> bool:
    """Return whether a valid token has a scope. If so, update its `last_used_at`.

    The update happens at most every USE_STEP, because a write costs as much as an event.
    """
    if scope not in token.scopes.split():
        return False
    now = clock.now()
    # Also when it lies in the future, after a wrong clock.
    if token.last_used_at is None or abs(now - token.last_used_at) >= USE_STEP:
        # Of several requests at once, only the first one writes.
        IngestToken.objects.filter(pk=token.pk, last_used_at=token.last_used_at).update(last_used_at=now)
    return True


def used_until(now: datetime) -> list[IngestToken]:
    """Return all tokens. A last use in the future, after a wrong clock, is shown as now."""
    tokens = list(IngestToken.objects.all())
    for token in tokens:
        token.last_used_at = token.last_used_at and min(token.last_used_at, now)
    return tokens


def state_of(token: IngestToken, now: datetime) -> str:
    """Return `valid`, `expired` or `revoked`."""
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= now else "valid"


def revoke(token: IngestToken, *, who: str, now: datetime) -> None:
    """Revoke a token at once and for ever. A second call keeps the first time."""
    with transaction.atomic():
        if IngestToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now):
            audit.note(AuditKind.TOKEN, "Revoked.", who=who, at=now, about=token.name)


def revoke_expired() -> str:
    """Revoke the tokens that expired EXPIRED_FOR ago. Return the outcome in words.

    A token is a signed name, so its row stays: a new token of the same name would make the old one valid again. A
    revoked token is refused whatever the clock says. For the same reason, a doubtful clock revokes nothing.
    """
    now = clock.now()
    expired = list(IngestToken.objects.filter(expires_at__lt=now - EXPIRED_FOR, revoked_at__isnull=True))
    if expired and (doubt := site_days.doubt_of(now)):
        return f"Revoked no expired token: {doubt}."
    for token in expired:
        revoke(token, who="the site", now=now)
    return f"Revoked {len(expired):,} expired token{'' if len(expired) == 1 else 's'}."
