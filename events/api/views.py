"""Viewsets of the API: `/event`, metrics, failures, releases, source maps and health checks."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from django.conf import settings
from django.contrib.admin.utils import quote
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, UnsupportedMediaType
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from events import clock, replica, rows
from events.api import health, schema
from events.api.access import (
    HasIngestToken,
    MayRead,
    MayScrape,
    MayUseSourceMaps,
    OriginAllowed,
    TokenAuthentication,
    demand_export,
    name_of,
)
from events.api.answers import (
    CONTENT_TYPE,
    HEADERS,
    Conflict,
    Invalid,
    JsonRenderer,
    NotFound,
    TooManyRequests,
    Unavailable,
    encode,
    reason_of,
    refusal_body,
    rendered,
)
from events.api.parsers import BatchParser, JsonOnly, ObjectParser, upload_chunks
from events.api.pending import IS_COMPLETED_BY_SERVER, Answer, PendingResponse
from events.api.throttles import BatchRate, DailyBytes, IngestRate, ReadRate
from events.ingest import contract, guards, media_types, quotas, refusals, writer
from events.ingest.group_commit import Recorded, StorageUnavailable
from events.ingest.refusals import RefusalReason
from events.keyset import Cursor
from events.maintenance import disk
from events.maintenance.disk import Room
from events.models import Event, FailureGroup
from events.monitoring import exposition
from events.reports import failures, metrics
from events.reports.exports import making, named
from events.reports.exports.choices import InvalidExport
from events.reports.forms import EventFilter, ReleaseQuery, ReleasesQuery, SummaryQuery, TimeseriesQuery
from events.reports.groups.ranking import GroupCursor
from events.reports.releases import changes, figures, mixes
from events.rows import EventRow
from events.sourcemaps import check, intake, resolve, store

logger = logging.getLogger(__name__)


class SiteViewSet(ViewSet):
    """A public route: it reads no cookie, and any `Accept` gets JSON."""

    content_negotiation_class = JsonOnly
    renderer_classes = [JsonRenderer]
    format_kwarg = None

    @property
    def default_response_headers(self) -> dict[str, str]:
        return HEADERS

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse an unknown method first, so that it counts towards no limit; throttle before the permissions.

        DRF asks the permissions first. Then a client could guess tokens without a limit. A permission that asks for
        the user authenticates the request.
        """
        if self.action is None:
            self.http_method_not_allowed(request)
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        self.check_throttles(request)
        self.check_permissions(request)

    def options(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Response:
        return Response({"ok": True}, headers={"Allow": ", ".join(self.allowed_methods)})

    def get_authenticate_header(self, request: Request) -> str:
        return "Bearer"  # without it, DRF turns 401 into 403


class TakesBody(SiteViewSet):
    """A route with a JSON body."""

    def initialize_request(self, request: Any, *args: Any, **kwargs: Any) -> Request:
        """Let the parser read every body. DRF treats a body without Content-Length (chunked) as empty."""
        wrapped = super().initialize_request(request, *args, **kwargs)
        wrapped._stream = request
        return wrapped


class IngestViewSet(TakesBody):
    """A route that receives events. It counts each refusal by reason."""

    permission_classes = [OriginAllowed]
    throttle_classes = [IngestRate, DailyBytes]
    parser_classes = [ObjectParser]

    def handle_exception(self, error: Exception) -> Response:
        reason = reason_of(error)
        if reason is not None:
            writer.note_refusal(reason)
        return super().handle_exception(error)

    def after_commit(
        self, request: Request, events: Sequence[EventRow], answer: Callable[[list[Recorded]], Answer]
    ) -> HttpResponse:
        """Store events. Return `answer` of their outcomes, or a PendingResponse if the server completes it itself."""
        submission = writer.submit(events)
        if IS_COMPLETED_BY_SERVER in request._request.META:
            return PendingResponse(lambda: answer(writer.wait(submission)), self.refusal_of, CONTENT_TYPE)
        content, status = answer(writer.wait(submission))
        return HttpResponse(content, status=status, content_type=CONTENT_TYPE)

    def refusal_of(self, error: Exception) -> HttpResponse:
        """Return the response to an exception after `dispatch`: that of the contract, or Django's 500."""
        try:
            return cast(HttpResponse, self.finalize_response(self.request, self.handle_exception(error)).render())
        except Exception as uncaught:
            return response_for_exception(self.request._request, uncaught)


def room_on_disk() -> Room:
    """Return the room for events, before the body is read. Raises StorageUnavailable when the disk is full."""
    room = disk.room()
    if room is Room.NONE:
        raise StorageUnavailable("The disk is nearly full")
    return room


def fit_to_disk(events: list[EventRow], room: Room) -> list[EventRow]:
    """Return the events to store: without stack and log lines while the disk is nearly full."""
    return events if room is Room.ENOUGH else [rows.without_long_texts(event) for event in events]


def count_stored(request: Request, stored: Sequence[EventRow]) -> None:
    """Add stored rows to the daily bytes of their client. One event can be a row in two tables."""
    if not stored:
        return
    received_at_ms = stored[0].received_at_ms
    quotas.count(request._request, sum(map(rows.size_of, stored)), received_at_ms)
    for row in stored:
        if rows.is_left_out(row.log_lines_json):
            refusals.note(RefusalReason.LEFT_OUT, received_at_ms)


class EventViewSet(IngestViewSet):
    permission_classes = [OriginAllowed, HasIngestToken]

    @schema.EVENT
    def create(self, request: Request) -> HttpResponse:
        room = room_on_disk()
        (event,) = fit_to_disk([contract.parse(request.data, received_at_ms=clock.now_ms())], room)

        def answer(outcomes: list[Recorded]) -> Answer:
            (outcome,) = outcomes
            count_stored(request, [event] if outcome.stored or outcome.filled_in else [])
            return Answer(encode(_as_json(outcome)), 201 if outcome.stored else 200)

        return self.after_commit(request, [event], answer)

    @schema.BATCH
    @action(detail=False, methods=["post"], throttle_classes=[BatchRate, DailyBytes], parser_classes=[BatchParser])
    def batch(self, request: Request) -> HttpResponse:
        room = room_on_disk()
        items = request.data
        received_at_ms = clock.now_ms()
        seconds = guards.seconds_over_batch_events(request._request, len(items))
        if seconds is not None:
            raise TooManyRequests(seconds, RefusalReason.RATE_LIMITED)
        results: list[dict[str, Any] | None] = []
        events = []
        for item in items:
            try:
                events.append(contract.parse(item, received_at_ms=received_at_ms))
                results.append(None)
            except contract.InvalidFields as error:
                writer.note_refusal(RefusalReason.INVALID_FIELDS)
                results.append({"ok": False, "fields": error.fields})
        events = fit_to_disk(events, room)

        def answer(outcomes: list[Recorded]) -> Answer:
            pairs = zip(events, outcomes, strict=True)
            count_stored(request, [event for event, outcome in pairs if outcome.stored or outcome.filled_in])
            remaining = iter(outcomes)
            answers = [result or _as_json(next(remaining)) for result in results]
            return Answer(encode({"ok": True, "results": answers}), 200)

        return self.after_commit(request, events, answer)


def _as_json(outcome: Recorded) -> dict[str, Any]:
    body: dict[str, Any] = {"ok": True, "deduped": not outcome.stored}
    if outcome.stored:
        body["id"] = outcome.id
    if outcome.advice is not None:
        body["advice"] = {"text": outcome.advice.text, "url": outcome.advice.url}
    return body


class PublicMetricsViewSet(SiteViewSet):
    throttle_classes = [ReadRate]

    @schema.FLASH_COUNT
    @action(detail=False, url_path="flash-count")
    def flash_count(self, request: Request) -> HttpResponse:
        return rendered({"ok": True, "total": metrics.flash_count().total})


class HealthViewSet(SiteViewSet):
    @schema.HEALTH
    def retrieve(self, request: Request) -> HttpResponse:
        return rendered({"ok": True, "service": "telemetry-site"})

    @schema.READY
    @action(detail=False)
    def ready(self, request: Request) -> Response:
        fault = health.storage_fault(clock.now_ms())
        if fault is None:
            return Response({"ok": True, "service": "telemetry-site"})
        return Response(refusal_body(fault), 503, headers={"Retry-After": "5"})


class StaffViewSet(SiteViewSet):
    """A read for staff. Others get 401."""

    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [MayRead]

    def handle_exception(self, error: Exception) -> Response:
        if replica.can_have_failed(error):
            raise error  # the middleware repeats the read on the primary
        return super().handle_exception(error)


class MetricsViewSet(StaffViewSet):
    @schema.SUMMARY
    @action(detail=False)
    def summary(self, request: Request) -> Response:
        query = SummaryQuery(request.query_params)
        if not query.is_valid():
            return invalid(query)
        days = query.cleaned_data["days"] or 30
        return Response({"ok": True, **metrics.summary(days, clock.today())})

    @schema.TIMESERIES
    @action(detail=False)
    def timeseries(self, request: Request) -> Response:
        query = TimeseriesQuery(request.query_params)
        if not query.is_valid():
            return invalid(query)
        bucket = query.cleaned_data["bucket"] or "day"
        days = query.cleaned_data["days"] or (30 if bucket == "day" else 1)
        start_ms, end_ms = metrics.last_days(days, clock.today())
        series = metrics.timeseries(start_ms, end_ms, bucket)
        buckets = [
            {
                "start": clock.iso(at.start_ms),
                "counts": at.counts,
                "failures": at.failures,
                "expected": sum(at.expected.values()),
            }
            for at in series
        ]
        return Response({"ok": True, "days": days, "bucket": bucket, "buckets": buckets})


class PrometheusViewSet(SiteViewSet):
    """The figures for a monitoring system. It sends a token of its own, never a session."""

    permission_classes = [MayScrape]

    @schema.PROMETHEUS
    @action(detail=False)
    def prometheus(self, request: Request) -> HttpResponse:
        return HttpResponse(exposition.text(clock.now_ms(), _OUTCOMES), content_type=exposition.CONTENT_TYPE)


_OUTCOMES = exposition.Outcomes(
    refusals=[reason.value for reason in RefusalReason if reason not in refusals.STORED],
    duplicate=RefusalReason.DUPLICATE.value,
    shortened=RefusalReason.LEFT_OUT.value,
)


class FailureViewSet(StaffViewSet):
    @schema.FAILURES
    def retrieve(self, request: Request) -> Response:
        query = EventFilter(request.query_params)
        if not query.is_valid():
            return invalid(query)
        now_ms = clock.now_ms()
        criteria = query.criteria(now_ms)
        page = failures.page(criteria, limit=query.cleaned_data["limit"] or 50, after=query.cleaned_data["cursor"])
        resolved = resolve.of_stacks([(event.app_version, event.stack) for event in page.events], now_ms=now_ms)
        results = [with_frames(event, frames) for event, frames in zip(page.events, resolved, strict=True)]
        return Response({"ok": True, "results": results, "next": page.older and next_url(request, page.older)})


def with_frames(event: Event, frames: list[resolve.Frame]) -> dict[str, Any]:
    item = failures.as_json(event)
    return item | {"frames": [frame.as_json() for frame in frames]} if frames else item


class ReleaseViewSet(StaffViewSet):
    @schema.RELEASES
    def newest(self, request: Request) -> Response:
        query = ReleasesQuery(request.query_params)
        if not query.is_valid():
            return invalid(query)
        compared = figures.newest(query.cleaned_data["limit"] or 20, clock.now())
        return Response({"ok": True, "results": [figures.as_json(row) for row in compared]})

    @schema.RELEASE
    def retrieve(self, request: Request, version: str) -> Response:
        query = ReleaseQuery(request.query_params)
        if not query.is_valid():
            return invalid(query)
        now = clock.now()
        details = figures.details(version, query.cleaned_data["against"] or None, now)
        if details is None:
            raise NotFound("No such release")
        changed = changes.of(details.comparison, clock.epoch_ms(now))
        return Response(
            {
                "ok": True,
                **figures.as_json(details.comparison),
                **figures.comparison_as_json(details.comparison),
                "mix_differs": details.mix_differs,
                "adjusted": None if details.adjusted is None else mixes.as_json(details.adjusted),
                "new_groups": [_group_as_json(row) for row in changed.new],
                "regressed_groups": [_group_as_json(row) for row in changed.came_back],
                "gone_groups": [_group_as_json(row) for row in changed.gone],
            }
        )


def _group_as_json(changed: changes.Changed) -> dict[str, Any]:
    group = changed.group
    return {
        "key": group.pk,
        "title": group.title,
        "event_type": group.event_type,
        "events": changed.events,
        "url": group_url(group),
    }


def group_url(group: FailureGroup) -> str:
    """Return the address of the page of a group."""
    return f"{settings.SITE_URL}{reverse('admin:events_failuregroup_change', args=[quote(group.pk)])}"


class ExportViewSet(StaffViewSet):
    """Downloads a stored export. Tokens get the lists of events and groups, persons those that they may export."""

    @schema.EXPORT
    def retrieve(self, request: Request, name: str) -> HttpResponseBase:
        if request.query_params:
            fields = {parameter: ["This route has no parameters."] for parameter in request.query_params}
            return Response(refusal_body("Invalid parameters", fields), 400)
        if request.auth is None and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise PermissionDenied("Another site opened this export, so nothing was exported")
        export = named.find(name)
        if export is None:
            raise NotFound("No such export")
        try:
            choice = named.choice_of(export)
            demand_export(request, choice.export_list.permissions)
            read = choice.read(clock.now(), getattr(request.user, "pk", None))
        except InvalidExport as fault:
            return Response(refusal_body("This export can no longer be made", fault.fields), 409)
        if request.method != "HEAD":
            making.note(choice, who=name_of(request), at=read.now, name=name)
        headers = making.headers_of(choice.file_name(read))
        if choice.missing:
            headers["X-Export-Empty-Columns"] = ", ".join(choice.missing)
        media_type = choice.format.encoding.media_type
        return StreamingHttpResponse(making.pieces(choice, read), content_type=media_type, headers=headers)


class SourceMapViewSet(SiteViewSet):
    """Uploads, lists and deletes source maps. The body of an upload is read only after the token was checked."""

    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = [MayUseSourceMaps]

    def get_authenticators(self) -> list[BaseAuthentication]:
        """A session is for reads only, so that no page of another site can change maps."""
        is_read = self.request is None or self.request.method in SAFE_METHODS
        return super().get_authenticators() if is_read else [TokenAuthentication()]

    def handle_exception(self, error: Exception) -> Response:
        is_invalid = isinstance(error, store.InvalidName | check.InvalidMap)
        return super().handle_exception(Invalid(str(error)) if is_invalid else error)

    @schema.PUT_SOURCE_MAP
    def update(self, request: Request, app_version: str, file: str) -> Response:
        key = store.key_of(app_version, file)
        replace = request.query_params.get("replace", "0")
        if replace not in ("0", "1"):
            return Response(refusal_body("Invalid parameters", {"replace": ["Must be 0 or 1."]}), 400)
        checked = _checked_upload(request)
        outcome = store.put(key, checked, replace=replace == "1", who=name_of(request), at=clock.now())
        if outcome is store.Outcome.CONFLICT:
            raise Conflict(f"Other content is stored for {key}. Add ?replace=1 to replace it.")
        body = {"ok": True, "version": key.app_version, "file": key.file, "sources": checked.sources}
        if outcome is store.Outcome.UNCHANGED:
            return Response(body | {"unchanged": True})
        return Response(body, 201)

    @schema.SOURCE_MAPS
    def retrieve(self, request: Request, app_version: str) -> Response:
        store.check_version(app_version)
        files = [
            {
                "file": stored.file,
                "bytes": stored.bytes,
                "sources": stored.sources,
                "uploaded_at": clock.iso(stored.uploaded_at_ms),
            }
            for stored in store.of_version(app_version)
        ]
        return Response({"ok": True, "version": app_version, "files": files})

    @schema.DELETE_SOURCE_MAPS
    def destroy(self, request: Request, app_version: str) -> Response:
        store.check_version(app_version)
        had_frames = resolve.has_frames_of(app_version)  # they outlive pruned maps
        deleted = store.delete(app_version, who=name_of(request), at=clock.now())
        if not deleted and not had_frames:
            raise NotFound("No source maps are stored for this version")
        return Response({"ok": True, "version": app_version, "deleted": deleted})


def _checked_upload(request: Request) -> intake.CheckedMap:
    """Return the valid map in the body of a request."""
    meta = request._request.META
    encoding = meta.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if not media_types.is_source_map(meta.get("CONTENT_TYPE", "")) or encoding not in ("", "identity", "gzip"):
        raise UnsupportedMediaType("")
    if disk.room() is not Room.ENOUGH:
        raise Unavailable("Disk space is low, so no source maps are stored")
    try:
        with intake.spooled(upload_chunks(request._request, settings.SOURCEMAP_MAX_BYTES)) as body:
            return intake.checked(body, is_gzip=encoding == "gzip")
    except intake.CheckFailed as error:
        logger.error("%s", error)
        raise Unavailable("The source map could not be checked. Try again later.") from None


def next_url(request: Request, cursor: Cursor | GroupCursor) -> str:
    """Return the address of the next page of a list: with the same parameters, after the cursor."""
    query = request.query_params.copy()
    query["cursor"] = str(cursor)
    return f"{request.path.rstrip('/')}?{query.urlencode()}"


def invalid(form: Any) -> Response:
    errors: Mapping[str, Any] = form.errors
    fields = {field: [str(message) for message in messages] for field, messages in errors.items()}
    return Response(refusal_body("Invalid parameters", fields), 400)
