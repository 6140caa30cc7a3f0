"""Throttles: requests per client (django-ratelimit), and bytes per client and UTC day."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from events import clock
from events.api.answers import TooManyRequests
from events.ingest import guards, quotas
from events.ingest.guards import Rate
from events.ingest.refusals import RefusalReason


class ClientThrottle(BaseThrottle):
    """Raises TooManyRequests with the reason to count, which DRF's own `Throttled` cannot carry."""

    reason: ClassVar[RefusalReason]

    def seconds_over(self, request: Request) -> int | None:
        """Return the seconds until the client may send again, None while it is within the limit."""
        raise NotImplementedError

    def allow_request(self, request: Request, view: Any) -> bool:
        if view.action == "metadata":  # OPTIONS
            return True
        seconds = self.seconds_over(request)
        if seconds is not None:
            raise TooManyRequests(seconds, self.reason)
        return True


class RateThrottle(ClientThrottle):
    reason = RefusalReason.RATE_LIMITED
    rate: ClassVar[Rate]

    def seconds_over(self, request: Request) -> int | None:
        return guards.seconds_over_rate(request._request, self.rate)


class IngestRate(RateThrottle):
    rate = guards.INGEST


class BatchRate(RateThrottle):
    rate = guards.BATCH


class ReadRate(RateThrottle):
    rate = guards.READ


class DailyBytes(ClientThrottle):
    reason = RefusalReason.QUOTA

    def seconds_over(self, request: Request) -> int | None:
        return quotas.seconds_over(request._request, clock.now_ms())
