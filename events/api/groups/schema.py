"""OpenAPI descriptions of the routes of failure groups."""

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema

from events.api.groups.decisions import DecisionPayload
from events.api.schema import (
    ADVICE,
    COUNT,
    FAILURE,
    RATE,
    SHARE,
    STAFF,
    STRING,
    TEXT_OR_NULL,
    array,
    just,
    obj,
    refusals,
)
from events.models import EventType, GroupStatus, Noise
from events.querysets import SUCCESS
from events.reports.forms import GROUP_SORTS, GROUP_STATUSES, WINDOWS
from events.reports.groups.breakdowns import DEFAULT_SPAN, SPANS
from events.reports.groups.items import MAX_PARTS
from events.reports.groups.ranking import NAMES_SHOWN

FAILURE_TYPES = [value for value in EventType.values if value != SUCCESS]
BOOLEAN = {"type": "boolean"}
OBJECT_OR_NULL = {"type": ["object", "null"]}
NAMES = array(STRING, maxItems=NAMES_SHOWN)
ITEM = {
    "key": STRING,
    "title": STRING,
    "event_type": {"type": "string", "enum": FAILURE_TYPES},
    "error_name": TEXT_OR_NULL,
    "frame": TEXT_OR_NULL,
    "noise": {"type": ["string", "null"], "enum": [*(value for value in Noise.values if value), None]},
    "status": {"type": "string", "enum": [*GroupStatus.values, "regression"]},
    "fixed_in": TEXT_OR_NULL,
    "fixed_in_seen": {"type": ["boolean", "null"]},
    "still_failing": BOOLEAN,
    "muted_until": TEXT_OR_NULL,
    "decided_at": TEXT_OR_NULL,
    "decided_by": TEXT_OR_NULL,
    "assigned_to": TEXT_OR_NULL,
    "issue_url": TEXT_OR_NULL,
    "events": COUNT,
    "last_24_hours": COUNT,
    "first_seen": STRING,
    "last_seen": STRING,
    "models": COUNT,
    "versions": COUNT,
    "common_models": NAMES,
    "common_versions": NAMES,
    "regressed_at": TEXT_OR_NULL,
    "note": STRING,
    "advice": ADVICE | OBJECT_OR_NULL,
    "url": STRING,
}
PARTS = array(obj({"name": STRING, "events": COUNT, "of_group": SHARE, "of_flashes": RATE}), maxItems=MAX_PARTS)
KEY = OpenApiParameter(
    "key",
    str,
    OpenApiParameter.PATH,
    description="The key of the group, or its first characters: at least eight, if no other key begins with them. The"
    " key of a merged group leads to the group that has its failures now.",
)
GROUPS = extend_schema(
    operation_id="get_groups",
    tags=["groups"],
    summary="The failure groups, with the filters and orders of the admin",
    description="The filters and the order of a further page are as of the time of the first page. So a group without"
    " new failures is neither skipped nor repeated.",
    parameters=[
        OpenApiParameter("limit", int, description="1 to 200; default 50."),
        OpenApiParameter(
            "cursor", str, description="The position after which a page starts; take it from `next`, with its filters."
        ),
        OpenApiParameter(
            "status",
            str,
            enum=[value for value, _ in GROUP_STATUSES],
            description="Default: `open`, which includes regressions. `mine` is for signed-in staff.",
        ),
        OpenApiParameter("sort", str, enum=GROUP_SORTS, description="A minus sign means descending. Default: `-last`."),
        OpenApiParameter("type", str, enum=FAILURE_TYPES),
        OpenApiParameter("model", str),
        OpenApiParameter("version", str),
        OpenApiParameter("mode", str, enum=["0", "1"], description="Groups with such a failure; 1 means write."),
        OpenApiParameter("connected", str, enum=["0", "1"], description="Groups with such a failure."),
        OpenApiParameter("fixed", str, description="The version with the fix."),
        OpenApiParameter(
            "since", str, description="Groups that failed since then, by the hour: ISO 8601, UTC; or such as `36h`."
        ),
        OpenApiParameter("until", str, description="Groups that failed before, by the hour: ISO 8601, UTC; exclusive."),
        OpenApiParameter("assigned", str, description="The name of an account; `(nobody)` for unassigned groups."),
        OpenApiParameter("new", str, enum=list(WINDOWS), description="First seen within this time."),
        OpenApiParameter(
            "noise", str, enum=["hidden", "only"], description="Extensions and browser noise; included by default."
        ),
        OpenApiParameter(
            "q",
            str,
            description="Text in the title, error or frame. It can contain filters, such as"
            ' `is:all -expected model:UV-17R "No ACK" since:7d`. A minus sign excludes a value. Each filter sets the'
            " parameter of the same name, `is:` sets `status`; a contradiction is refused.",
        ),
        *(
            OpenApiParameter(f"f.{name}", str, description=f"The value of `{name}` in the metadata of a failure.")
            for name in settings.FACETS
        ),
    ],
    responses={
        200: obj({"ok": just(True), "results": array(obj(ITEM)), "next": TEXT_OR_NULL}),
        **refusals(400, 401, 405, 429),
    },
    auth=STAFF,
)
GROUP = extend_schema(
    operation_id="get_group",
    tags=["groups"],
    summary="One failure group, its shares and its newest failure",
    description="`shares` compares the failures of the group with the other flashes of the same UTC days: by `model`,"
    " `version`, `mode`, `connected`, and by `f.NAME` for each facet. 409 for an abbreviated key of several groups.",
    parameters=[
        KEY,
        OpenApiParameter(
            "span", str, enum=list(SPANS), description=f"The days that `shares` covers. Default: {DEFAULT_SPAN}."
        ),
    ],
    responses={
        200: obj(
            {
                "ok": just(True),
                **ITEM,
                "span": {"type": "string", "enum": list(SPANS)},
                "events_of_span": COUNT,
                "shares": {"type": "object", "additionalProperties": PARTS},
                "newest_event": FAILURE | OBJECT_OR_NULL,
            }
        ),
        **refusals(400, 401, 404, 405, 409, 429),
    },
    auth=STAFF,
)
DECISION = extend_schema(
    operation_id="post_group_decision",
    tags=["groups"],
    summary="Decide about a failure group",
    description="Requires ADMIN_TOKEN, a token of scope `triage`, or staff with permission to triage failures. Sending"
    " the current decision again changes nothing. `fixed_in` may be a version that no event has reported yet:"
    " `fixed_in_seen` is false then.",
    parameters=[KEY],
    request={"application/json": DecisionPayload},
    responses={
        200: obj({"ok": just(True), "changed": BOOLEAN, **ITEM}),
        **refusals(400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 503),
    },
    examples=[
        OpenApiExample("Resolved in a version", {"status": "resolved", "fixed_in": "19afc18"}, request_only=True),
        OpenApiExample("Muted until a day", {"status": "muted", "until": "2026-12-31"}, request_only=True),
    ],
    auth=STAFF,
)
