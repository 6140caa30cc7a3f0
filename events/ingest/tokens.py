"""Signed ingest tokens: a name with the site's signature, valid until it expires or is revoked."""

from datetime import datetime, timedelta

from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Q

from events import audit, clock
from events.models import AuditKind, IngestToken

# The resolution of `last_used_at`.
USE_STEP = timedelta(minutes=10)
_signer = Signer(salt="events.ingest-token")


def issue(name: str, *, who: str, now: datetime, expires_at: datetime | None) -> str:
    """Return a new token; raises IntegrityError when the name exists."""
    until = f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until it is revoked"
    with transaction.atomic():
        IngestToken.objects.create(name=name, created_at=now, expires_at=expires_at)
        audit.note(AuditKind.TOKEN, f"Issued {until}.", who=who, at=now, about=name)
    return _signer.sign(name)


def admit(token: str) -> bool:
    """Return whether a token has our signature and is neither expired nor revoked; updates `last_used_at`.

    The update happens at most every USE_STEP, because a write costs as much as an event.
    """
    try:
        name = _signer.unsign(token)
    except BadSignature:
        return False
    now = clock.now()
    known = IngestToken.objects.filter(name=name, revoked_at__isnull=True)
    valid = known.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now)).first()
    if valid is None:
        return False
    # Also when it lies in the future, after a wrong clock.
    if valid.last_used_at is None or abs(now - valid.last_used_at) >= USE_STEP:
        # Of several requests at once, only the first one writes.
        IngestToken.objects.filter(pk=valid.pk, last_used_at=valid.last_used_at).update(last_used_at=now)
    return True


def used_until(now: datetime) -> list[IngestToken]:
    """Return all tokens. A last use in the future, after a wrong clock, is shown as now."""
    tokens = list(IngestToken.objects.all())
    for token in tokens:
        token.last_used_at = token.last_used_at and min(token.last_used_at, now)
    return tokens


def revoke(token: IngestToken, *, who: str, now: datetime) -> None:
    """Revoke a token at once and for ever. A second call keeps the first time."""
    with transaction.atomic():
        if IngestToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now):
            audit.note(AuditKind.TOKEN, "Revoked.", who=who, at=now, about=token.name)
