"""Signed ingest tokens: a name under the site's signature, valid until it expires or is revoked."""

from datetime import datetime, timedelta

from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Q

from events import audit, clock
from events.models import AuditKind, IngestToken

# How exact the moment of the last use is.
USE_STEP = timedelta(minutes=10)
_signer = Signer(salt="events.ingest-token")


def issue(name: str, *, who: str, now: datetime, expires_at: datetime | None) -> str:
    """Return a new token; raises IntegrityError when one of that name exists."""
    until = f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until it is revoked"
    with transaction.atomic():
        IngestToken.objects.create(name=name, created_at=now, expires_at=expires_at)
        audit.note(AuditKind.TOKEN, f"Issued {until}.", who=who, at=now, about=name)
    return _signer.sign(name)


def admit(token: str) -> bool:
    """Tell whether a token bears our signature and its name is neither expired nor revoked, and keep that it was used.

    Not on each event, for a write costs as much as one.
    """
    try:
        name = _signer.unsign(token)
    except BadSignature:
        return False
    now = clock.now()
    known = IngestToken.objects.filter(name=name, revoked_at__isnull=True)
    found = known.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now)).first()
    if found is None:
        return False
    # Also where it lies in the future: the clock was ahead.
    if found.last_used_at is None or abs(now - found.last_used_at) >= USE_STEP:
        # Of many requests at once, the first writes.
        IngestToken.objects.filter(pk=found.pk, last_used_at=found.last_used_at).update(last_used_at=now)
    return True


def used_until(now: datetime) -> list[IngestToken]:
    """Return every token; a last use under a clock that was ahead was now at the latest."""
    tokens = list(IngestToken.objects.all())
    for token in tokens:
        token.last_used_at = token.last_used_at and min(token.last_used_at, now)
    return tokens


def revoke(token: IngestToken, *, who: str, now: datetime) -> None:
    """End a token at once and for good; the first moment of its end is kept."""
    with transaction.atomic():
        if IngestToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now):
            audit.note(AuditKind.TOKEN, "Revoked.", who=who, at=now, about=token.name)
