"""The viewsets of the old Workers' routes. They give the old answers and read the side that the mode selects."""

from datetime import UTC, datetime, time
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.utils.http import http_date
from rest_framework.exceptions import APIException, NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from events import clock
from events.api.access import ADMIN_TOKEN, AdminTokenAuthentication
from events.api.answers import rendered
from events.api.throttles import ReadRate
from events.api.views import IngestViewSet, SiteViewSet, count_stored, fit_to_disk, room_on_disk
from events.ingest import writer
from events.models import Event
from events.reports import failures
from events.reports.failures import Criteria
from events.rows import EventRow
from legacy import old_tables, translate
from legacy.cutover import modes, old_counts
from legacy.models import ClientLog, LegacyCount, Mode
from legacy.routes import schema

# RFC 9745: deprecated since the day of the specification, 2026-02-12.
DEPRECATED_SINCE = "@1770854400"


class Gone(Exception):
    """The old routes are gone."""


class OldRoute(SiteViewSet):
    """A route whose answers name its successor, and that answers 410 once the old routes are gone."""

    @property
    def default_response_headers(self) -> dict[str, str]:
        headers = {"Deprecation": DEPRECATED_SINCE, "Link": '</event>; rel="successor-version"'}
        if settings.SUNSET:
            headers["Sunset"] = http_date(datetime.combine(settings.SUNSET, time(), UTC).timestamp())
        return super().default_response_headers | headers

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if modes.current() == Mode.GONE:
            writer.note_refusal(old_counts.gone_outcome(f"/{self.basename}"))
            raise Gone
        super().initial(request, *args, **kwargs)

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, Gone):
            return Response({"ok": False, "error": "Gone", "successor": "/event"}, 410)
        return super().handle_exception(error)


class ClientLogViewSet(OldRoute, IngestViewSet):
    @schema.CLIENT_LOG
    def create(self, request: Request) -> HttpResponse:
        room = room_on_disk()
        payload = cast(dict[str, Any], request.data)
        (event,) = fit_to_disk([translate.event_from_client_log(payload, clock.now_ms())], room)
        row = translate.arrived_log_row(payload, event)
        is_new = kept_apart(row)
        count_stored(request, kept_on_both_sides(event, row) if is_new is None else [event] * is_new)
        return rendered({"ok": True})


class CountViewSet(OldRoute):
    throttle_classes = [ReadRate]

    @schema.COUNTER
    def retrieve(self, request: Request) -> HttpResponse:
        return rendered({"ok": True, "total": old_counts.count_now()})


class IncrementViewSet(OldRoute, IngestViewSet):
    @schema.INCREMENT
    def create(self, request: Request) -> HttpResponse:
        room_on_disk()
        row = translate.arrived_session(cast(dict[str, Any], request.data), clock.now_ms())
        is_new = kept_apart(row)
        if is_new is None:
            row.in_stream = True
            is_new = writer.record(translate.success_from_row(row), alongside=lambda: old_tables.keep(row)).stored
        count_stored(request, [translate.success_from_row(row)] if is_new else [])
        return rendered({"ok": True, "total": old_counts.count_now(), "deduped": not is_new})


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


class NotConfigured(APIException):
    status_code = 503
    default_detail = "ADMIN_TOKEN is not configured"


class HasAdminToken(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        if view.action == "metadata" or request.auth == ADMIN_TOKEN:
            return True
        raise NotAuthenticated("Unauthorized") if settings.ADMIN_TOKEN else NotConfigured


class RecentViewSet(OldRoute):
    authentication_classes = [AdminTokenAuthentication]
    permission_classes = [HasAdminToken]
    throttle_classes = [ReadRate]

    @schema.RECENT
    def retrieve(self, request: Request) -> Response:
        limit = translate.recent_limit(request.query_params.get("limit", ""))
        newest: list[Event] | list[ClientLog]
        if modes.current() == Mode.SEPARATE:
            newest = old_tables.recent(limit)
        else:
            newest = failures.page(Criteria(), limit=limit).events
        rows = [translate.recent_row(row) for row in newest]
        return Response({"ok": True, "count": len(rows), "rows": rows})
