"""Views of the API: `/event`, metrics, failures and health checks."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from events import clock, rows
from events.api import attempts, health, schema
from events.api.answers import answer, exception_handler, outcome_of, refusal
from events.ingest import contract, guards, quotas, refusals, writer
from events.keyset import Cursor
from events.maintenance import disk
from events.maintenance.disk import Room
from events.reports import failures, metrics
from events.reports.forms import EventFilter, SummaryQuery, TimeseriesQuery
from events.rows import EventRow


class PublicViewSet(ViewSet):
    """A public route: it reads no cookie, and any `Accept` gets JSON."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Call the handler directly. The guards replace DRF's negotiation, authentication and throttling."""
        method = request.method or ""
        handler = getattr(self, method.lower(), None) if method.lower() in self.http_method_names else None
        try:
            self.initial(request)
            if handler is None:
                raise MethodNotAllowed(method)
            return handler(request)
        except Exception as error:
            return self.handle_exception(error)

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Refuse a request before its method is checked. Subclasses override this."""

    def handle_exception(self, error: Exception) -> Any:
        response = exception_handler(error, {})
        if response is None:
            raise error
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = self._allowed()
        return response

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """List the methods in `Allow`. DRF's own response needs content negotiation."""
        return answer(200, {"ok": True}, headers={"Allow": self._allowed()})

    def _allowed(self) -> str:
        return ", ".join(self.allowed_methods)


class IngestViewSet(PublicViewSet):
    """A route that receives events. It counts each refusal by reason."""

    def handle_exception(self, error: Exception) -> Any:
        outcome = outcome_of(error)
        if outcome is not None:
            note_refusal(outcome)
        return super().handle_exception(error)


def note_refusal(outcome: str) -> None:
    """Count a refusal. Write the counts to the database when they are due, even without an event."""
    refusals.note(outcome, clock.now_ms())
    if outcome != refusals.RefusalReason.STORAGE and refusals.are_due():  # a write would fail now
        with suppress(writer.StorageUnavailable):  # the counts stay in memory until the next try
            writer.flush_refusals()


def check_ingest(request: HttpRequest, rate: guards.Rate) -> None:
    """Check whether the request may send events. Raises Refused or StorageUnavailable."""
    guards.check_origin(request)
    guards.check_rate(request, rate)
    guards.check_media_type(request)
    quotas.check(request, clock.now_ms())
    if disk.room() is Room.NONE:
        raise writer.StorageUnavailable("The disk is nearly full")


def fit_to_disk(events: list[EventRow]) -> list[EventRow]:
    """Return the events to store: without stack and log lines while the disk is nearly full."""
    return events if disk.room() is Room.ENOUGH else [rows.without_long_texts(event) for event in events]


def count_stored(request: HttpRequest, stored: Sequence[EventRow]) -> None:
    """Add stored rows to the daily bytes of their client. One event can be a row in two tables."""
    if not stored:
        return
    received_at_ms = stored[0].received_at_ms
    quotas.count(request, sum(map(rows.size_of, stored)), received_at_ms)
    for row in stored:
        if rows.is_left_out(row.log_lines_json):
            refusals.note(refusals.RefusalReason.LEFT_OUT, received_at_ms)


class EventViewSet(IngestViewSet):
    """The ingest routes."""

    @schema.EVENT
    def create(self, request: HttpRequest) -> HttpResponse:
        check_ingest(request, guards.INGEST)
        guards.check_token(request)
        body = guards.read_body(request, settings.MAX_BODY_BYTES)
        (event,) = fit_to_disk([contract.parse(contract.read_object(body), received_at_ms=clock.now_ms())])
        outcome = writer.record(event)
        count_stored(request, [event] if outcome.stored or outcome.filled_in else [])
        return answer(201 if outcome.stored else 200, _as_json(outcome))

    @schema.BATCH
    def batch(self, request: HttpRequest) -> HttpResponse:
        check_ingest(request, guards.BATCH)
        guards.check_token(request)
        body = guards.read_body(request, settings.MAX_BATCH_BODY_BYTES)
        received_at_ms = clock.now_ms()
        results: list[dict[str, Any] | None] = []
        events = []
        items = contract.read_batch(body)
        guards.check_batch_events(request, len(items))
        for item in items:
            try:
                events.append(contract.parse(item, received_at_ms=received_at_ms))
                results.append(None)
            except contract.InvalidFields as error:
                note_refusal(refusals.RefusalReason.INVALID_FIELDS)
                results.append({"ok": False, "fields": error.fields})
        events = fit_to_disk(events)
        outcomes = writer.record_many(events)
        added = [event for event, outcome in zip(events, outcomes, strict=True) if outcome.stored or outcome.filled_in]
        count_stored(request, added)
        remaining = iter(outcomes)
        return answer(200, {"ok": True, "results": [result or _as_json(next(remaining)) for result in results]})


def _as_json(outcome: writer.Recorded) -> dict[str, Any]:
    if outcome.stored:
        return {"ok": True, "deduped": False, "id": outcome.id}
    return {"ok": True, "deduped": True}


class FlashCountViewSet(PublicViewSet):
    @schema.FLASH_COUNT
    def retrieve(self, request: HttpRequest) -> HttpResponse:
        guards.check_rate(request, guards.READ)
        return answer(200, {"ok": True, "total": metrics.flash_count().total})


class HealthViewSet(PublicViewSet):
    @schema.HEALTH
    def live(self, request: HttpRequest) -> HttpResponse:
        return answer(200, {"ok": True, "service": "telemetry-site"})

    @schema.READY
    def ready(self, request: HttpRequest) -> HttpResponse:
        fault = health.storage_fault(clock.now_ms())
        if fault is None:
            return answer(200, {"ok": True, "service": "telemetry-site"})
        return refusal(503, fault, headers={"Retry-After": "5"})


# --- staff reads -----------------------------------------------------------------------------------------------

WRONG_TOKENS = attempts.Limit("address", 20, 900)


def has_admin_token(request: HttpRequest) -> bool:
    """Return whether a request has ADMIN_TOKEN. Raises Refused when its address sent too many wrong tokens."""
    if not settings.ADMIN_TOKEN or not guards.bearer(request):
        return False
    counter = attempts.counter("admin-token", WRONG_TOKENS, guards.client_hash(request), clock.now())
    is_right = guards.is_admin_token(request)
    if not is_right:
        note_refusal(refusals.RefusalReason.ADMIN_TOKEN)
    # Over the limit the response is the same for the right token, so it confirms no guess.
    previous = counter.read() if is_right else counter.add() - 1
    if previous >= WRONG_TOKENS.attempts:
        headers = {"Retry-After": str(counter.seconds_left)}
        raise guards.Refused(429, "Too many wrong tokens", refusals.RefusalReason.ADMIN_TOKEN, headers)
    return is_right


class AdminTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer ADMIN_TOKEN`, with the read permissions of staff."""

    def authenticate(self, request: Request) -> tuple[None, str] | None:
        return (None, "admin-token") if has_admin_token(request._request) else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class MayRead(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        if request.auth == "admin-token":
            return True
        user = request.user
        return bool(user and user.is_active and user.is_staff and user.has_perm("events.view_event"))


class StaffViewSet(ViewSet):
    """A read for staff: requires a staff session with permission to view events, or ADMIN_TOKEN. Others get 401."""

    authentication_classes = [AdminTokenAuthentication, SessionAuthentication]
    permission_classes = [MayRead]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check authentication and permissions, without content negotiation: any `Accept` gets JSON."""
        self.perform_authentication(request)
        self.check_permissions(request)

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """List the methods in `Allow`."""
        return answer(200, {"ok": True})

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> NoReturn:
        raise NotAuthenticated


class MetricsViewSet(StaffViewSet):
    @schema.SUMMARY
    def summary(self, request: Request) -> HttpResponse:
        query = SummaryQuery(request.query_params)
        if not query.is_valid():
            return refusal(400, "Invalid parameters", _errors(query))
        days = query.cleaned_data["days"] or 30
        return answer(200, {"ok": True, **metrics.summary(days, clock.today())})

    @schema.TIMESERIES
    def timeseries(self, request: Request) -> HttpResponse:
        query = TimeseriesQuery(request.query_params)
        if not query.is_valid():
            return refusal(400, "Invalid parameters", _errors(query))
        bucket = query.cleaned_data["bucket"] or "day"
        days = query.cleaned_data["days"] or (30 if bucket == "day" else 1)
        start_ms, end_ms = metrics.last_days(days, clock.today())
        series = metrics.timeseries(start_ms, end_ms, bucket)
        buckets = [{"start": clock.iso(start_ms), "counts": counts} for start_ms, counts in series]
        return answer(200, {"ok": True, "days": days, "bucket": bucket, "buckets": buckets})


class FailureViewSet(StaffViewSet):
    @schema.FAILURES
    def newest(self, request: Request) -> HttpResponse:
        query = EventFilter(request.query_params)
        if not query.is_valid():
            return refusal(400, "Invalid parameters", _errors(query))
        criteria = query.criteria(clock.now_ms())
        page = failures.page(criteria, limit=query.cleaned_data["limit"] or 50, after=query.cleaned_data["cursor"])
        return answer(
            200,
            {
                "ok": True,
                "results": [failures.as_json(event) for event in page.events],
                "next": _next_url(request, page.older) if page.older else None,
            },
        )


def _next_url(request: Request, older: Cursor) -> str:
    query = request.query_params.copy()
    query["cursor"] = str(older)
    return f"/failures?{query.urlencode()}"


def _errors(form: Any) -> dict[str, list[str]]:
    return {field: [str(message) for message in messages] for field, messages in form.errors.items()}
