"""Another attempt of a delivery that was given up. Besides `delivery`, it alone writes `events_alertdelivery`."""

from datetime import datetime

from django.db import transaction

from events import audit
from events.models import AlertDelivery, AuditKind, DeliveryState


def retry(delivery: AlertDelivery, *, who: str, at: datetime) -> bool:
    """Let a delivery wait again, for a whole day. Return False if it was not given up, or its channel is off."""
    now_ms = int(at.timestamp() * 1000)
    with transaction.atomic():
        given_up = AlertDelivery.objects.filter(pk=delivery.pk, state=DeliveryState.GIVEN_UP, channel__is_on=True)
        is_changed = given_up.update(
            state=DeliveryState.WAITING, due_ms=now_ms, attempts=0, ended_at_ms=None, problem=""
        )
        if is_changed:
            what = f"Requested another attempt of the alert [{delivery.alert.kind}]."
            audit.note(AuditKind.ALERT, what, who=who, at=at, about=delivery.channel.name)
    return bool(is_changed)
