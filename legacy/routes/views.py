"""The views of the old Workers' routes. They give the old responses and read the side that the mode selects."""

from datetime import UTC, datetime, time
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch
from django.utils.http import http_date

from events import clock
from events.api.answers import answer, refusal
from events.api.views import (
    IngestViewSet,
    PublicViewSet,
    check_ingest,
    count_stored,
    fit_to_disk,
    has_admin_token,
    note_refusal,
)
from events.ingest import contract, guards, writer
from events.models import Event
from events.reports import failures
from events.reports.failures import Criteria
from events.rows import EventRow
from legacy import old_tables, translate
from legacy.cutover import modes
from legacy.models import ClientLog, LegacyCount, Mode
from legacy.routes import schema

# RFC 9745: deprecated since the day of the specification, 2026-02-12.
DEPRECATED_SINCE = "@1770854400"


class Gone(Exception):
    """The old routes are gone."""


class OldRoute(PublicViewSet):
    """A view whose responses name its successor, and that answers 410 once the old routes are gone."""

    def initial(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        if modes.current() == Mode.GONE:
            route = cast(ResolverMatch, request.resolver_match).url_name
            note_refusal(modes.gone_outcome(f"/{route}"))
            raise Gone

    def handle_exception(self, error: Exception) -> Any:
        if isinstance(error, Gone):
            return answer(410, {"ok": False, "error": "Gone", "successor": "/event"})
        return super().handle_exception(error)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = super().dispatch(request, *args, **kwargs)
        response["Deprecation"] = DEPRECATED_SINCE
        response["Link"] = '</event>; rel="successor-version"'
        if settings.SUNSET:
            response["Sunset"] = http_date(datetime.combine(settings.SUNSET, time(), UTC).timestamp())
        return response


class ClientLogViewSet(OldRoute, IngestViewSet):
    @schema.CLIENT_LOG
    def create(self, request: HttpRequest) -> HttpResponse:
        check_ingest(request, guards.INGEST)
        payload = contract.read_object(guards.read_body(request, settings.MAX_BODY_BYTES))
        (event,) = fit_to_disk([translate.event_from_client_log(payload, clock.now_ms())])
        row = translate.arrived_log_row(payload, event)
        is_new = kept_apart(row)
        count_stored(request, kept_on_both_sides(event, row) if is_new is None else [event] * is_new)
        return answer(200, {"ok": True})


class CounterViewSet(OldRoute, IngestViewSet):
    @schema.COUNTER
    def count(self, request: HttpRequest) -> HttpResponse:
        guards.check_rate(request, guards.READ)
        return answer(200, {"ok": True, "total": modes.count_now()})

    @schema.INCREMENT
    def increment(self, request: HttpRequest) -> HttpResponse:
        check_ingest(request, guards.INGEST)
        payload = contract.read_object(guards.read_body(request, settings.MAX_BODY_BYTES))
        row = translate.arrived_session(payload, clock.now_ms())
        is_new = kept_apart(row)
        if is_new is None:
            row.in_stream = True
            is_new = writer.record(translate.success_from_row(row), alongside=lambda: old_tables.keep(row)).stored
        count_stored(request, [translate.success_from_row(row)] if is_new else [])
        total = modes.count_now()
        return answer(200, {"ok": True, "total": total, "deduped": not is_new})


def kept_apart(row: ClientLog | LegacyCount) -> bool | None:
    """In `separate`, write only to the old tables and return whether the row was new; None in any other mode."""
    if modes.current() != Mode.SEPARATE:
        return None
    with transaction.atomic():
        return old_tables.keep(row) if modes.holds_under_lock(Mode.SEPARATE) else None


def kept_on_both_sides(event: EventRow, row: ClientLog) -> list[EventRow]:
    """Store the event and write its row in one transaction; return what each table added."""
    row.in_stream = True
    written: list[ClientLog | None] = []  # `alongside` may run twice; its last run is the committed one
    outcome = writer.record(event, alongside=lambda: written.append(kept_beside_event(row)))
    added = [event] if outcome.stored or outcome.filled_in else []
    if kept := written[-1]:
        added.append(event._replace(stack=kept.stack, log_lines_json=kept.log_lines_json))
    return added


def kept_beside_event(row: ClientLog) -> ClientLog | None:
    """Write the row in the transaction that stores its event; return the written row, or None if it existed.

    The row leaves its texts to the event, except in `separate`, which may have begun during the request.
    """
    if modes.in_force().mode != Mode.SEPARATE:
        row = old_tables.without_texts_of_event(row)
    return row if old_tables.keep(row) else None


class RecentViewSet(OldRoute):
    @schema.RECENT
    def newest(self, request: HttpRequest) -> HttpResponse:
        guards.check_rate(request, guards.READ)
        if not settings.ADMIN_TOKEN:
            return refusal(503, "ADMIN_TOKEN is not configured")
        if not has_admin_token(request):
            return refusal(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"})
        limit = translate.recent_limit(request.GET.get("limit", ""))
        found: list[Event] | list[ClientLog]
        if modes.current() == Mode.SEPARATE:
            found = old_tables.recent(limit)
        else:
            found = failures.page(Criteria(), limit=limit).events
        rows = [translate.recent_row(row) for row in found]
        return answer(200, {"ok": True, "count": len(rows), "rows": rows})
