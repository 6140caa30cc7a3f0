"""`/api/schema/` and `/api/`: the API's description, true to the code, and a page to try it on."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, reverse

from events.api.urls import urlpatterns as staff_urlpatterns
from events.ingest.contract import EventPayload
from events.models import EventType
from telemetry_site.public_urls import urlpatterns as public_urlpatterns
from tests.conftest import payload

RELEASE = "/releases/{version}"
GROUP, DECISION = "/groups/{key}", "/groups/{key}/decision"
STAFF_ROUTES = {
    "/metrics/summary", "/metrics/timeseries", "/failures", "/recent", "/metrics/prometheus", "/releases", RELEASE,
    "/groups", GROUP, DECISION,
    "/exports/{name}",
}  # fmt: skip
MAPS, MAP = "/sourcemaps/{app_version}", "/sourcemaps/{app_version}/{file}"
PARAMETERS = {
    "source-maps": ["{app_version}"], "source-map": ["{app_version}", "{file}"], "release": ["{version}"],
    "group": ["{key}"], "group-decision": ["{key}"],
    "export": ["{name}"],
}  # fmt: skip
METHODS = {
    **{path: {"post"} for path in ("/event", "/event/batch", "/client-log", "/increment")},
    MAPS: {"get", "delete"},
    MAP: {"put"},
    DECISION: {"post"},
}


@pytest.fixture
def schema(client: Client) -> dict[str, Any]:
    answer = client.get("/api/schema/?format=json")
    assert answer.status_code == 200
    return json.loads(answer.content)  # type: ignore[no-any-return]


def path_of(route: URLPattern) -> str:
    """Return the path as the contract names it, without the slash that may follow."""
    return unquote(reverse(str(route.name), args=PARAMETERS.get(str(route.name)))).rstrip("/")


def test_the_schema_is_valid_and_drawing_it_up_warns_of_nothing(tmp_path: Any) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    assert file.stat().st_size > 0


@pytest.mark.parametrize("route", [*public_urlpatterns, *staff_urlpatterns], ids=str)
def test_every_route_is_described(schema: dict[str, Any], route: URLPattern) -> None:
    path = path_of(route)
    assert set(schema["paths"][path]) == METHODS.get(path, {"get"})


def test_nothing_else_is_described(schema: dict[str, Any]) -> None:
    assert set(schema["paths"]) == {path_of(route) for route in (*public_urlpatterns, *staff_urlpatterns)}


def operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in schema["paths"].values() for operation in path.values()]


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(schema)))
    assert "components/schemas/EventPayload" in references
    for reference in references:
        found: Any = schema
        for step in reference.split("/"):
            found = found[step]


def test_each_operation_names_defined_security_schemes(schema: dict[str, Any]) -> None:
    used = {name for operation in operations(schema) for choice in operation["security"] for name in choice}
    assert used == {"ingestToken", "adminToken", "metricsToken", "scopedToken", "staffSession"}
    assert set(schema["components"]["securitySchemes"]) == used


def test_staff_routes_are_for_staff_alone(schema: dict[str, Any]) -> None:
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            open_to_all = {} in operation["security"]
            assert open_to_all is (path not in STAFF_ROUTES | {MAPS, MAP})


def test_failures_are_filtered_by_the_types_of_failures(schema: dict[str, Any]) -> None:
    [kind] = [one for one in schema["paths"]["/failures"]["get"]["parameters"] if one["name"] == "type"]
    assert set(kind["schema"]["enum"]) == set(EventType.values) - {"flash_success"}


def test_only_old_routes_are_deprecated(schema: dict[str, Any]) -> None:
    ends = {path for path in schema["paths"] for one in schema["paths"][path].values() if "410" in one["responses"]}
    assert ends == {"/client-log", "/increment", "/count", "/recent"}


@pytest.mark.parametrize(
    ("path", "field"), [("/failures", "results"), ("/recent", "rows"), ("/releases", "results"), ("/groups", "results")]
)
def test_a_list_is_described_inside_its_object(schema: dict[str, Any], path: str, field: str) -> None:
    """Found by `make fuzz`: they were described as arrays of answers."""
    described = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert described["type"] == "object"
    assert described["properties"][field]["type"] == "array"


def test_every_operation_has_a_name_and_a_summary_of_its_own(schema: dict[str, Any]) -> None:
    for name in ("operationId", "summary"):
        described = [operation[name] for operation in operations(schema)]
        assert len(set(described)) == len(described)


def test_every_operation_has_one_of_six_tags(schema: dict[str, Any]) -> None:
    headings = {path: operation["tags"] for path, of in schema["paths"].items() for operation in of.values()}
    assert headings == {
        "/event": ["events"],
        "/event/batch": ["events"],
        "/badge.json": ["reads"],
        "/badge.svg": ["reads"],
        "/failures": ["reads"],
        "/metrics/flash-count": ["reads"],
        "/metrics/prometheus": ["reads"],
        "/metrics/summary": ["reads"],
        "/metrics/timeseries": ["reads"],
        "/releases": ["reads"],
        "/exports/{name}": ["reads"],
        RELEASE: ["reads"],
        "/groups": ["groups"],
        GROUP: ["groups"],
        DECISION: ["groups"],
        "/stats": ["reads"],
        "/stats.json": ["reads"],
        MAPS: ["source maps"],
        MAP: ["source maps"],
        "/health": ["health"],
        "/health/ready": ["health"],
        "/client-log": ["old routes"],
        "/count": ["old routes"],
        "/increment": ["old routes"],
        "/recent": ["old routes"],
    }


def test_the_payload_is_the_contract_s_own(schema: dict[str, Any]) -> None:
    described = schema["components"]["schemas"]["EventPayload"]
    assert set(described["properties"]) == set(EventPayload.model_fields)
    assert set(described["required"]) == set(payload())
    assert described["properties"]["message"]["maxLength"] == 500
    write_mode = described["properties"]["write_mode"]
    assert (write_mode["minimum"], write_mode["maximum"]) == (0, 1)


@pytest.mark.django_db
def test_the_example_is_a_valid_event(client: Client, schema: dict[str, Any]) -> None:
    described = schema["paths"]["/event"]["post"]
    (example,) = described["requestBody"]["content"]["application/json"]["examples"].values()
    for media_type, status in zip(described["requestBody"]["content"], (201, 200), strict=True):
        answer = client.post("/event", json.dumps(example["value"]), content_type=media_type)
        assert answer.status_code == status
        assert str(status) in described["responses"]


# --- the page -------------------------------------------------------------------------------------------------

SOURCES = re.compile(r'(?:src|href)="([^"]*)"')


def directives(answer: Any) -> dict[str, list[str]]:
    policy = answer.headers["Content-Security-Policy"]
    return {words[0]: words[1:] for words in (part.split() for part in policy.split(";")) if words}


def test_the_page_is_made_of_files_from_here(client: Client) -> None:
    page = client.get("/api/")
    assert page.status_code == 200
    sources = SOURCES.findall(page.content.decode())
    assert not [source for source in sources if not source.startswith("/")]
    files = [source.removeprefix("/static/") for source in sources if source.startswith("/static/")]
    assert [file for file in files if file.endswith("swagger-ui-bundle.js")]
    assert [file for file in files if not finders.find(file)] == []
    (script_url,) = [source for source in sources if "script" in source and not source.startswith("/static/")]
    script = client.get(script_url)
    assert (script.status_code, script.headers["Content-Type"]) == (200, "application/javascript")
    assert reverse("api-schema") in script.content.decode()


def test_a_way_leads_back_to_the_admin(client: Client) -> None:
    assert '<a href="/admin/">‹ Back to the overview</a>' in client.get("/api/").content.decode()


def test_the_page_needs_no_exception_for_scripts_and_styles(client: Client) -> None:
    page = client.get("/api/")
    text = page.content.decode()
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son\w+=|javascript:", text)
    policy = directives(page)
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == (["'none'"], ["'self'"], ["'self'"])
    assert (policy["connect-src"], sorted(policy["img-src"])) == (["'self'"], ["'self'", "data:"])


def test_no_other_page_may_draw_data_images(client: Client) -> None:
    assert directives(client.get("/admin/login/"))["img-src"] == ["'self'"]


def test_the_old_routes_are_last(schema: dict[str, Any]) -> None:
    assert [tag["name"] for tag in schema["tags"]] == [
        "events",
        "reads",
        "groups",
        "source maps",
        "health",
        "old routes",
    ]
