"""OpenAPI descriptions of the routes. The schema of an event comes from the contract's Pydantic model."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema

from events.grouping import advice
from events.ingest.contract import MAX_BATCH_EVENTS, EventPayload
from events.models import EventType
from events.reports import badges, public
from events.reports.forms import WINDOWS
from events.reports.releases.changes import MAX_GROUPS
from events.reports.releases.verdicts import VerdictName
from events.sourcemaps.resolve import MOST_FRAMES

EXAMPLE = {
    "event_type": "flash_success",
    "occurred_at": "2026-02-12T18:00:00.000Z",
    "session_id": "5f0c2f1e-6d0b-4a39-9d0e-0d6c1c1f7a11",
    "message": "Flash complete",
    "model": "UV-5RM",
    "write_mode": 1,
    "connected": 1,
    "app_version": "19afc18",
    "log_lines_json": "[]",
    "metadata_json": "{}",
}


def without_last_slash(endpoints: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """List each path without a trailing slash, as the contract does. Both forms work."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


def with_every_tag(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Declare the tags of operations that other apps add, behind the declared ones."""
    declared = [tag["name"] for tag in result["tags"]]
    used = [tag for path in result["paths"].values() for operation in path.values() for tag in operation["tags"]]
    result["tags"] = [{"name": name} for name in dict.fromkeys(declared + used)]
    return result


def obj(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object from the schemas of its fields."""
    return {"type": "object", "properties": required | (optional or {}), "required": list(required)}


def just(value: bool) -> dict[str, Any]:
    return {"type": "boolean", "enum": [value]}


def array(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": items, **limits}


STRING = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
RATE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
FIELDS = {"type": "object", "additionalProperties": array(STRING)}
REFUSAL = obj({"ok": just(False), "error": STRING})
WRONG_FIELDS = obj({"ok": just(False), "error": STRING}, {"fields": FIELDS})
ADVICE = {
    **obj(
        {
            "text": {"type": "string", "minLength": 1, "maxLength": advice.MAX_TEXT},
            "url": {"type": ["string", "null"], "pattern": "^https://", "maxLength": advice.MAX_URL},
        }
    ),
    "description": "What the user can do about this failure: plain text, never HTML, and a link.",
}
STORED = obj({"ok": just(True), "deduped": just(False), "id": STRING}, {"advice": ADVICE})
KNOWN = obj({"ok": just(True), "deduped": just(True)}, {"advice": ADVICE})
INVALID_ITEM = obj({"ok": just(False), "fields": FIELDS})
EVENT_REFERENCE = {"$ref": "#/components/schemas/EventPayload"}
TOTAL = obj({"ok": just(True), "total": COUNT})
BY_TYPE = obj(dict.fromkeys(EventType.values, COUNT))


def refusals(*statuses: int) -> dict[int, Any]:
    return {status: WRONG_FIELDS if status == 400 else REFUSAL for status in statuses}


INGEST_REFUSALS = refusals(400, 401, 403, 405, 408, 413, 415, 429, 503)
# OpenAPI security requirements: any one of a list suffices; the empty one admits everybody.
STAFF: list[Any] = [{"adminToken": []}, {"scopedToken": []}, {"staffSession": []}]
SCRIPTS: list[Any] = [{"adminToken": []}, {"scopedToken": []}]
SCRAPERS: list[Any] = [{"metricsToken": []}, {"adminToken": []}]
SENDERS: list[Any] = [{"ingestToken": []}, {}]
ANYONE: list[Any] = [{}]

EVENT = extend_schema(
    operation_id="post_event",
    tags=["events"],
    summary="Store one event",
    description="Idempotent: sending the same event again stores nothing. The response to a failure contains the advice"
    " that a maintainer gave its group.",
    request={"application/json": EventPayload, "text/plain": EventPayload},
    responses={201: STORED, 200: KNOWN, **INGEST_REFUSALS},
    examples=[OpenApiExample("A successful flash", EXAMPLE, request_only=True)],
    auth=SENDERS,
)
BATCH = extend_schema(
    operation_id="post_event_batch",
    tags=["events"],
    summary="Store up to 100 events",
    description="For a client's offline queue. Invalid events do not affect valid ones. The results are in order.",
    request={"application/json": obj({"events": array(EVENT_REFERENCE, minItems=1, maxItems=MAX_BATCH_EVENTS)})},
    responses={
        200: obj({"ok": just(True), "results": array({"oneOf": [STORED, KNOWN, INVALID_ITEM]})}),
        **INGEST_REFUSALS,
    },
    auth=SENDERS,
)
FLASH_COUNT = extend_schema(
    operation_id="get_flash_count",
    tags=["reads"],
    summary="The public count",
    description="The baseline plus every success ever accepted that was not voided. Retention never lowers it.",
    responses={200: TOTAL, **refusals(405, 429)},
    auth=ANYONE,
)
BADGE = [
    OpenApiParameter(
        "label",
        {"type": "string", "minLength": 1, "maxLength": badges.MAX_LABEL},
        description=f"The left text: 1 to {badges.MAX_LABEL} characters; default `{badges.DEFAULT_LABEL}`.",
    ),
    OpenApiParameter(
        "color",
        {"type": "string", "pattern": "^([0-9a-fA-F]{3}){1,2}$"},
        description=f"The colour of the count: 3 or 6 hex digits; default `{badges.DEFAULT_COLOR}`.",
    ),
]
KEPT = {304: OpenApiResponse(description="The client has this content: `If-None-Match` contains its `ETag`.")}
BADGE_SVG = extend_schema(
    operation_id="get_badge_svg",
    tags=["reads"],
    summary="The public count as a badge",
    parameters=BADGE,
    responses={(200, "image/svg+xml"): STRING, **KEPT, **refusals(400, 405, 429, 503)},
    auth=ANYONE,
)
BADGE_JSON = extend_schema(
    operation_id="get_badge_json",
    tags=["reads"],
    summary="The public count in the form of an endpoint of shields.io",
    description="It has exactly these four keys, because shields.io refuses others.",
    parameters=BADGE,
    responses={
        200: obj(
            {"schemaVersion": {"type": "integer", "enum": [1]}, "label": STRING, "message": STRING, "color": STRING}
        ),
        **KEPT,
        **refusals(400, 405, 429, 503),
    },
    auth=ANYONE,
)
STATS = extend_schema(
    operation_id="get_stats_json",
    tags=["reads"],
    summary="The public statistics",
    description="Successful flashes only: the public count, and those of the last 90 days by day, oldest first, and by"
    f" model, most first. At most {public.MAX_MODELS} models are named; the rest is `(other)`. 404 without"
    " `PUBLIC_STATS=1`.",
    responses={
        200: obj(
            {
                "ok": just(True),
                "total": COUNT,
                "days": COUNT,
                "by_day": array(obj({"day": {"type": "string", "format": "date"}, "flashes": COUNT})),
                "by_model": array(obj({"model": STRING, "flashes": COUNT}), maxItems=public.MAX_MODELS + 1),
            }
        ),
        **KEPT,
        **refusals(404, 405, 429, 503),
    },
    auth=ANYONE,
)
STATS_PAGE = extend_schema(
    operation_id="get_stats",
    tags=["reads"],
    summary="The public statistics as a page",
    description="404 without `PUBLIC_STATS=1`.",
    responses={(200, "text/html"): STRING, **KEPT, **refusals(404, 405, 429, 503)},
    auth=ANYONE,
)
HEALTH = extend_schema(
    operation_id="get_health",
    tags=["health"],
    summary="Liveness check",
    responses={200: obj({"ok": just(True), "service": STRING})},
    auth=ANYONE,
)
READY = extend_schema(
    operation_id="get_health_ready",
    tags=["health"],
    summary="Readiness check: the database can be written",
    responses={200: obj({"ok": just(True), "service": STRING}), **refusals(503)},
    auth=ANYONE,
)

DAYS = OpenApiParameter("days", int, description="UTC days up to today: 1 to 400 (at most 31 with `bucket=hour`).")
SLICE = {"successes": COUNT, "failures": COUNT, "expected": COUNT, "failure_rate": RATE}
SUMMARY = extend_schema(
    operation_id="get_metrics_summary",
    tags=["reads"],
    summary="Totals, failure rate, by type, model and version",
    parameters=[DAYS],
    responses={
        200: obj(
            {
                "ok": just(True),
                "days": COUNT,
                "from": STRING,
                "to": STRING,
                "totals": obj({"events": COUNT, "successes": COUNT, "failures": COUNT, "expected": COUNT}),
                "failure_rate": RATE,
                "flash_failure_rate": RATE,
                "connect_failure_rate": RATE,
                "by_type": BY_TYPE,
                "expected_by_type": BY_TYPE,
                "by_model": array(obj({"model": STRING, **SLICE})),
                "by_version": array(obj({"app_version": STRING, **SLICE})),
            }
        ),
        **refusals(400, 401, 405, 429),
    },
    auth=STAFF,
)
TIMESERIES = extend_schema(
    operation_id="get_metrics_timeseries",
    tags=["reads"],
    summary="Gap-filled buckets by type",
    parameters=[DAYS, OpenApiParameter("bucket", str, enum=["day", "hour"])],
    responses={
        200: obj(
            {
                "ok": just(True),
                "days": COUNT,
                "bucket": STRING,
                "buckets": array(obj({"start": STRING, "counts": BY_TYPE, "failures": COUNT, "expected": COUNT})),
            }
        ),
        **refusals(400, 401, 405, 429),
    },
    auth=STAFF,
)
PROMETHEUS = extend_schema(
    operation_id="get_metrics_prometheus",
    tags=["reads"],
    summary="Figures for a monitoring system",
    description="The text format of Prometheus. Requires METRICS_TOKEN or ADMIN_TOKEN; 404 if neither is configured.",
    responses={(200, "text/plain"): STRING, **refusals(401, 404, 405, 429, 503)},
    auth=SCRAPERS,
)
ANY_JSON = {"oneOf": [array({}), {"type": "object"}]}
BIT = {"type": "integer", "enum": [0, 1]}
COUNT_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
TEXT_OR_NULL = {"type": ["string", "null"]}
FRAME = obj(
    {
        "function": TEXT_OR_NULL,
        "file": TEXT_OR_NULL,
        "line": COUNT_OR_NULL,
        "column": COUNT_OR_NULL,
        "context": {"type": ["array", "null"], "items": array({"oneOf": [COUNT, STRING]}, minItems=2, maxItems=2)},
        "in_app": {"type": "boolean"},
        "raw": STRING,
        "unresolved": TEXT_OR_NULL,
    }
)
FAILURE = obj(
    {
        "id": STRING,
        "received_at_ms": COUNT,
        "occurred_at": STRING,
        "event_type": {"type": "string", "enum": EventType.values},
        "session_id": TEXT_OR_NULL,
        "model": STRING,
        "write_mode": BIT,
        "connected": BIT,
        "app_version": STRING,
        "message": STRING,
        "error_name": TEXT_OR_NULL,
        "stack": TEXT_OR_NULL,
        "log_lines_json": ANY_JSON,
        "metadata_json": ANY_JSON,
    },
    {"frames": array(FRAME, maxItems=MOST_FRAMES)},
)
FAILURES = extend_schema(
    operation_id="get_failures",
    tags=["reads"],
    summary="Recent failures, newest first",
    description="A page with fewer than `limit` results may still have a `next`: it continues a wide search.",
    parameters=[
        OpenApiParameter("limit", int, description="1 to 200; default 50."),
        OpenApiParameter("cursor", str, description="The position after which a page starts; take it from `next`."),
        OpenApiParameter("type", str, enum=[value for value in EventType.values if value != EventType.FLASH_SUCCESS]),
        OpenApiParameter("model", str),
        OpenApiParameter("version", str),
        OpenApiParameter("mode", str, enum=["0", "1"]),
        OpenApiParameter("connected", str, enum=["0", "1"]),
        OpenApiParameter("window", str, enum=list(WINDOWS)),
        OpenApiParameter("since", str, description="ISO 8601, UTC; or a duration up to now, such as `36h`."),
        OpenApiParameter("until", str, description="ISO 8601, UTC; exclusive."),
        OpenApiParameter("session", str),
        OpenApiParameter("group", str, description="The fingerprint of a failure group."),
        OpenApiParameter(
            "expected",
            str,
            enum=["0", "1", "any"],
            description="Events of expected groups: `1` lists only them, `any` both, `0` none. Without this parameter:"
            " none, or both with `group`.",
        ),
        OpenApiParameter("released", str, enum=["1"], description="Exclude the versions `dev` and `unknown`."),
        OpenApiParameter(
            "q",
            str,
            description="Text in the message, error, stack, session, model or version; or a session or event id. It can"
            ' contain filters, such as `model:UV-17R "No ACK" -version:dev -expected since:7d`. A minus sign excludes a'
            " value. Each filter sets the parameter of the same name; a contradiction is refused.",
        ),
        *(
            OpenApiParameter(f"f.{name}", str, description=f"The value of `{name}` in the metadata.")
            for name in settings.FACETS
        ),
    ],
    responses={
        200: obj({"ok": just(True), "results": array(FAILURE), "next": TEXT_OR_NULL}),
        **refusals(400, 401, 405, 429),
    },
    auth=STAFF,
)
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
DIFFERENCE = {"type": ["number", "null"], "minimum": -1, "maximum": 1}
INTERVAL = {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
RELEASE_ITEM = {
    "version": STRING,
    "first_seen": STRING,
    "last_seen": TEXT_OR_NULL,
    "flashes": COUNT,
    "successes": COUNT,
    "failures": COUNT,
    "expected": COUNT,
    "failure_rate": RATE,
    "interval": INTERVAL,
    "verdict": {"type": "string", "enum": [name.value for name in VerdictName]},
    "flashes_needed": COUNT_OR_NULL,
}
CHANGED_GROUPS = array(
    obj({"key": STRING, "title": STRING, "event_type": STRING, "events": COUNT, "url": STRING}), maxItems=MAX_GROUPS
)
RELEASES = extend_schema(
    operation_id="get_releases",
    tags=["reads"],
    summary="The releases with their figures and verdicts, newest first",
    description="Each is compared with the release before it. A flash is a `flash_success` or a `flash_error` that is"
    " not expected; `interval` is the 95 % interval of `failure_rate`.",
    parameters=[OpenApiParameter("limit", int, description="1 to 200; default 20.")],
    responses={
        200: obj({"ok": just(True), "results": array(obj(RELEASE_ITEM))}),
        **refusals(400, 401, 405, 429),
    },
    auth=STAFF,
)
RELEASE = extend_schema(
    operation_id="get_release",
    tags=["reads"],
    summary="One release, compared with another one",
    description="404 for a version that is no release, such as `dev`, `unknown` or `(other)`, or that no event has"
    " reported yet. `alarming` is true if also the 99 % interval is above zero, with at least 30 flashes and 5"
    " failures. `adjusted` contains both rates with the same mix of models, and the share of flashes that it covers.",
    parameters=[
        OpenApiParameter("version", str, OpenApiParameter.PATH, description="The version of the front end."),
        OpenApiParameter("against", str, description="The version to compare with; default: the release before it."),
    ],
    responses={
        200: obj(
            {
                "ok": just(True),
                **RELEASE_ITEM,
                "compared_with": TEXT_OR_NULL,
                "difference": DIFFERENCE,
                "difference_interval": INTERVAL,
                "alarming": {"type": "boolean"},
                "mix_differs": {"type": "boolean"},
                "adjusted": {
                    **obj({"failure_rate": SHARE, "failure_rate_of_other": SHARE, "covered": SHARE}),
                    "type": ["object", "null"],
                },
                "new_groups": CHANGED_GROUPS,
                "regressed_groups": CHANGED_GROUPS,
                "gone_groups": CHANGED_GROUPS,
            }
        ),
        **refusals(400, 401, 404, 405, 429),
    },
    auth=STAFF,
)
BINARY = {"type": "string", "format": "binary"}
EXPORT = extend_schema(
    operation_id="get_export",
    tags=["reads"],
    summary="Download a stored export",
    description="The rows of a list as the file that the export's format says. A maintainer stores exports on the page"
    " *Exports* of the admin. A token gets no export of the audit log (403). 409 if a stored filter is no longer valid."
    " A download that fails is cut off: the connection closes before the end of the body.",
    parameters=[OpenApiParameter("name", str, OpenApiParameter.PATH, description="The name of the export.")],
    responses={
        (200, "text/csv"): STRING,
        (200, "application/x-ndjson"): STRING,
        (200, "application/gzip"): BINARY,
        (200, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"): BINARY,
        **refusals(400, 401, 403, 404, 405, 409, 429),
    },
    auth=STAFF,
)
VERSION = OpenApiParameter("app_version", str, OpenApiParameter.PATH, description="The version of the front end.")
SOURCE_MAP = {"type": "object", "required": ["version", "sources", "mappings"]}
PUT_SOURCE_MAP = extend_schema(
    operation_id="put_source_map",
    tags=["source maps"],
    summary="Upload the source map of one JavaScript file",
    description=(
        "Version 3, or an index map: plain JSON, or with `Content-Encoding: gzip`. Requires ADMIN_TOKEN or a token of"
        " scope `sourcemaps`. Sending the same map again changes nothing."
    ),
    parameters=[
        VERSION,
        OpenApiParameter("file", str, OpenApiParameter.PATH, description="`NAME.js.map` or `NAME.js`."),
        OpenApiParameter("replace", str, enum=["0", "1"], description="1 replaces other content."),
    ],
    request={"application/json": SOURCE_MAP, "application/octet-stream": {"type": "string", "format": "binary"}},
    responses={
        201: obj({"ok": just(True), "version": STRING, "file": STRING, "sources": COUNT}),
        200: obj({"ok": just(True), "version": STRING, "file": STRING, "sources": COUNT, "unchanged": just(True)}),
        **refusals(400, 401, 404, 405, 408, 409, 413, 415, 429, 503),
    },
    auth=SCRIPTS,
)
SOURCE_MAPS = extend_schema(
    operation_id="get_source_maps",
    tags=["source maps"],
    summary="The source maps of a version",
    description="Their names, sizes and times, by name. The list is empty for a version without maps.",
    parameters=[VERSION],
    responses={
        200: obj(
            {
                "ok": just(True),
                "version": STRING,
                "files": array(obj({"file": STRING, "bytes": COUNT, "sources": COUNT, "uploaded_at": STRING})),
            }
        ),
        **refusals(400, 401, 404, 405, 429, 503),
    },
    auth=STAFF,
)
DELETE_SOURCE_MAPS = extend_schema(
    operation_id="delete_source_maps",
    tags=["source maps"],
    summary="Delete the source maps of a version",
    description="404 if the version has none.",
    parameters=[VERSION],
    responses={
        200: obj({"ok": just(True), "version": STRING, "deleted": COUNT}),
        **refusals(400, 401, 404, 405, 429, 503),
    },
    auth=SCRIPTS,
)
