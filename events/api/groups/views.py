"""Viewsets of failure groups."""

from typing import Any, cast

from rest_framework.request import Request
from rest_framework.response import Response

from events import clock
from events.api.access import RequiresTriage, name_of
from events.api.answers import Conflict, NotFound
from events.api.groups import decisions, schema
from events.api.parsers import ObjectParser
from events.api.views import StaffViewSet, TakesBody, group_url, invalid, next_url, with_frames
from events.grouping import groups, triage
from events.ingest.contract import InvalidFields
from events.models import FailureGroup, GroupStatus
from events.reports import failures
from events.reports.failures import Criteria
from events.reports.forms import GroupFilter, GroupQuery
from events.reports.groups import breakdowns, items, ranking
from events.reports.groups.items import AmbiguousKey
from events.reports.groups.ranking import RankedGroup
from events.sourcemaps import resolve

# A group that is merged while a decision about it is stored is looked up again.
_ATTEMPTS = 3


class Script:
    """The author of a decision by its name: a token, ADMIN_TOKEN or an account."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get_username(self) -> str:
        return self._name


class GroupViewSet(StaffViewSet):
    def handle_exception(self, error: Exception) -> Response:
        return super().handle_exception(Conflict(str(error)) if isinstance(error, AmbiguousKey) else error)

    @schema.GROUPS
    def ranked(self, request: Request) -> Response:
        query = GroupFilter(request.query_params).refuse_unknown()
        viewer_id = request.user.pk if request.user else None
        if viewer_id is None and query.data.get("status") == "mine":
            query.add_error("status", "A token has no groups of its own. Use assigned=NAME.")
        if viewer_id is None and ("status", "mine") in query.search.excluded:
            query.add_error("q", "A token has no groups of its own. Write -assigned:NAME.")
        if not query.is_valid():
            return invalid(query)
        now_ms = clock.now_ms()
        cleaned = query.cleaned_data
        try:
            chosen = query.ranking(now_ms, viewer_id)
            page = ranking.page(chosen, limit=cleaned["limit"] or 50, after=cleaned["cursor"])
        except ValueError:
            query.add_error("cursor", "Not a cursor of this list. Start again without a cursor.")
            return invalid(query)
        results = [
            item | {"url": group_url(row.group)}
            for row, item in zip(page.rows, items.as_json(page.rows, now_ms), strict=True)
        ]
        return Response({"ok": True, "results": results, "next": page.next and next_url(request, page.next)})

    @schema.GROUP
    def retrieve(self, request: Request, key: str) -> Response:
        query = GroupQuery(request.query_params).refuse_unknown()
        if not query.is_valid():
            return invalid(query)
        now_ms = clock.now_ms()
        row = _found(key, now_ms)
        span = query.cleaned_data["span"] or breakdowns.DEFAULT_SPAN
        compared = breakdowns.compare_in(span, row.group, now_ms)
        return Response(
            {
                "ok": True,
                **_item(row, now_ms),
                "span": span,
                "events_of_span": compared.events,
                "shares": items.shares_as_json(compared),
                "newest_event": _newest_event(row.group, now_ms),
            }
        )


class DecisionViewSet(TakesBody, GroupViewSet):
    permission_classes = [RequiresTriage]
    parser_classes = [ObjectParser]

    @schema.DECISION
    def create(self, request: Request, key: str) -> Response:
        now = clock.now()
        asked = decisions.parse(cast(dict[str, Any], request.data), now)
        author = Script(name_of(request))
        for _ in range(_ATTEMPTS):
            current = items.current_key(key)
            if current is None:
                break
            if asked.decision.status == GroupStatus.EXPECTED and groups.is_overflow(current):
                raise InvalidFields({"status": [triage.NOT_EXPECTED]})
            try:
                changed = triage.decide_once(current, asked.decision, note=asked.note, user=author, at=now)
            except FailureGroup.DoesNotExist:
                continue
            now_ms = clock.epoch_ms(now)
            return Response({"ok": True, "changed": changed, **_item(_found(current, now_ms), now_ms)})
        raise NotFound("No such group")


def _found(key: str, now_ms: int) -> RankedGroup:
    row = items.find(key, now_ms)
    if row is None:
        raise NotFound("No such group")
    return row


def _item(row: RankedGroup, now_ms: int) -> dict[str, Any]:
    [item] = items.as_json([row], now_ms)
    return item | {"url": group_url(row.group)}


def _newest_event(group: FailureGroup, now_ms: int) -> dict[str, Any] | None:
    """Return the newest stored event as an item of `GET /failures`, None if all were deleted."""
    events = failures.page(Criteria(fingerprint=group.pk), limit=1).events
    if not events:
        return None
    [event] = events
    [frames] = resolve.of_stacks([(event.app_version, event.stack)], now_ms=now_ms)
    return with_frames(event, frames)
