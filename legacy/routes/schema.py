"""The OpenAPI description of the old routes."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema

from events.api.schema import COUNT, STRING, TOTAL, just, obj, refusals

OLD: dict[str, Any] = {"deprecated": True, "auth": [{}], "tags": ["old routes"]}
GONE = {410: obj({"ok": just(False), "error": STRING, "successor": STRING})}
SENT_TO_EVENT = {
    "sentToEvent": {
        "type": "boolean",
        "description": "true: the client sends the same to `/event`. Only for parity.",
    }
}
INGEST_REFUSALS = {**refusals(400, 403, 405, 408, 413, 415, 429, 503), **GONE}

CLIENT_LOG = extend_schema(
    operation_id="post_client_log",
    summary="Log a failure, as the old Worker did",
    request={
        "application/json": obj(
            {"event_type": STRING, "message": STRING, "occurred_at": STRING},
            dict.fromkeys(("model", "app_version", "error_name", "stack", "log_lines_json"), STRING)
            | dict.fromkeys(("write_mode", "connected"), COUNT)
            | SENT_TO_EVENT,
        )
    },
    responses={200: obj({"ok": just(True)}), **INGEST_REFUSALS},
    **OLD,
)
COUNTER = extend_schema(
    operation_id="get_count",
    summary="The public count, as the old counter returned it",
    responses={200: TOTAL, **refusals(405, 429), **GONE},
    **OLD,
)
INCREMENT = extend_schema(
    operation_id="post_increment",
    summary="Count a session once",
    request={"application/json": obj({"sessionId": STRING}, SENT_TO_EVENT)},
    responses={200: obj({"ok": just(True), "total": COUNT, "deduped": {"type": "boolean"}}), **INGEST_REFUSALS},
    **OLD,
)
RECENT = extend_schema(
    operation_id="get_recent",
    summary="Recent failures, as the old Worker returned them",
    parameters=[OpenApiParameter("limit", int, description="1 to 200; 50 when left out.")],
    responses={
        200: obj({"ok": just(True), "count": COUNT, "rows": {"type": "array", "items": {"type": "object"}}}),
        **refusals(401, 405, 429, 503),
        **GONE,
    },
    **(OLD | {"auth": [{"adminToken": []}]}),
)
