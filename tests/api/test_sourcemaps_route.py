"""`PUT /sourcemaps/VERSION/FILE`, and the list and the deletion of the maps of a version."""

import gzip
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from events import clock
from events.api.access import WRONG_TOKENS
from events.ingest import tokens
from events.ingest.tokens import Scope
from events.models import AuditEntry, SourceMap
from events.sourcemaps import intake
from tests.conftest import sign_in, turn_clock_to
from tests.fixtures.uploaded_maps import REFUSED, source_map
from tests.threads import in_threads

pytestmark = pytest.mark.django_db
PATH = "/sourcemaps/19afc18/index-DSJGr6wX.js.map"
LIST = "/sourcemaps/19afc18"
ADMIN_TOKEN = "the-token-of-these-tests-alone"
MAP = source_map(sources=["../../src/a.ts", "../../src/b.ts"])
# Of all that is refused, what could do most harm; each check starts a process.
HOSTILE = [
    "JavaScript", "HTML", "a cut map", "gzip without its header", "cut gzip", "deep JSON", "a bomb",
    "a million sources", "a section within a section", "sections that expand", "an active address",
    "out of its folders",
]  # fmt: skip


@pytest.fixture
def token() -> str:
    return issue(Scope.SOURCE_MAPS)


def issue(*scopes: Scope) -> str:
    name = "ci-" + "-".join(scopes)
    return tokens.issue(name, who="someone", now=clock.now(), expires_at=None, scopes=scopes)


def put(token: str, body: bytes = MAP, path: str = PATH, *, content_type: str = "", **headers: str) -> Any:
    authorization = {"authorization": f"Bearer {token}"} if token else {}
    return Client().put(path, body, content_type=content_type, headers=authorization | headers)


def call(method: str, token: str, path: str = LIST) -> Any:
    return getattr(Client(), method)(path, headers={"authorization": f"Bearer {token}"})


# --- uploads -------------------------------------------------------------------------------------------------------


def test_a_map_is_stored_and_the_same_map_again_changes_nothing(token: str) -> None:
    answer = put(token)
    expected = {"ok": True, "version": "19afc18", "file": "index-DSJGr6wX.js", "sources": 2}
    assert (answer.status_code, answer.json()) == (201, expected)
    assert answer.headers["Cache-Control"] == "no-store"
    again = put(token, path="/sourcemaps/19afc18/index-DSJGr6wX.js")
    assert (again.status_code, again.json()) == (200, expected | {"unchanged": True})
    stored = SourceMap.objects.get()
    assert zlib.decompress(stored.content) == MAP
    assert stored.uploaded_by_name == "token ci-sourcemaps"
    assert AuditEntry.objects.filter(kind="sourcemap", who="token ci-sourcemaps").count() == 1


@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
def test_a_packed_map_is_the_same_map(token: str, encoding: str) -> None:
    assert put(token).status_code == 201
    answer = put(token, gzip.compress(MAP), **{"content-encoding": encoding})
    assert answer.json()["unchanged"] is True


def test_other_content_is_a_conflict_unless_it_is_to_replace(token: str) -> None:
    put(token)
    other = source_map()
    answer = put(token, other)
    words = "Other content is stored for index-DSJGr6wX.js of 19afc18. Add ?replace=1 to replace it."
    assert (answer.status_code, answer.json()) == (409, {"ok": False, "error": words})
    assert put(token, other, f"{PATH}?replace=0").status_code == 409
    assert put(token, other, f"{PATH}?replace=1").status_code == 201
    assert zlib.decompress(SourceMap.objects.get().content) == other
    assert put(token, other, f"{PATH}?replace=1").json()["unchanged"] is True


def test_a_wrong_parameter_is_named(token: str) -> None:
    answer = put(token, path=f"{PATH}?replace=yes")
    expected = {"ok": False, "error": "Invalid parameters", "fields": {"replace": ["Must be 0 or 1."]}}
    assert (answer.status_code, answer.json()) == (400, expected)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_map_gets_400_and_has_no_other_effect(token: str, name: str, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    body, is_gzip, words = REFUSED[name]
    answer = put(token, body, **({"content-encoding": "gzip"} if is_gzip else {}))
    assert answer.status_code == 400
    assert answer.json().keys() == {"ok", "error"}
    assert words in answer.json()["error"]
    assert not SourceMap.objects.exists()
    assert not AuditEntry.objects.filter(kind="sourcemap").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", 201),
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("application/octet-stream", 201),
        ("application/x-www-form-urlencoded", 201),
        ("text/plain", 201),
        ("text/html", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json; charset=utf-16", 415),
        ("application/gzip", 415),
    ],
)
def test_curl_needs_no_content_type(token: str, content_type: str, status: int) -> None:
    assert put(token, content_type=content_type).status_code == status


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_other_encodings_are_refused(token: str, encoding: str) -> None:
    answer = put(token, **{"content-encoding": encoding})
    assert (answer.status_code, answer.json()["error"]) == (415, "Unsupported media type")


@override_settings(SOURCEMAP_MAX_BYTES=1_024)
def test_the_limit_applies_to_received_bytes(token: str) -> None:
    large = source_map(sourcesContent=["x" * 5_000, None])
    assert put(token, b" " * 1_025).status_code == 413
    assert put(token, large).json() == {"ok": False, "error": "The body is larger than 1,024 bytes"}
    assert put(token, gzip.compress(large), **{"content-encoding": "gzip"}).status_code == 201


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sourcemaps/19afc18/index.css", 400),
        ("/sourcemaps/19afc18/..", 400),
        ("/sourcemaps/19afc18/%2e%2e", 400),
        ("/sourcemaps/19afc18/..%5cindex.js", 400),
        ("/sourcemaps/19afc18/index%00.js", 400),
        ("/sourcemaps/19afc18/index%0A.js", 400),
        ("/sourcemaps/19afc18/%FF.js", 201),  # replaced by U+FFFD, as in every path
        (f"/sourcemaps/19afc18/{'x' * 300}.js", 400),
        (f"/sourcemaps/{'x' * 65}/index.js", 400),
        ("/sourcemaps/%20/index.js", 400),
        ("/sourcemaps/a/b/index.js", 404),
        ("/sourcemaps/a%2Fb/index.js", 404),
        ("/sourcemaps//index.js", 404),
        ("/sourcemaps/19afc18", 405),
        ("/sourcemaps/19afc18/", 405),
        ("/sourcemaps/", 404),
        ("/sourcemaps/v1%20beta/%5Bslug%5D.js", 201),
    ],
)
def test_impossible_names_are_refused(token: str, path: str, status: int) -> None:
    answer = put(token, path=path)
    assert (answer.status_code, answer.json()["ok"]) == (status, status == 201)


@pytest.mark.django_db(transaction=True)
def test_of_two_uploads_at_once_one_is_stored() -> None:
    token = issue(Scope.SOURCE_MAPS)
    same = in_threads([partial(put, token), partial(put, token)])
    assert sorted(answer.status_code for answer in same) == [200, 201]
    bodies = [source_map(), source_map(names=["a"])]
    other = in_threads([partial(put, token, body, "/sourcemaps/19afc18/other.js") for body in bodies])
    assert sorted(answer.status_code for answer in other) == [201, 409]


def test_a_map_that_cannot_be_checked_is_tried_again_later(token: str, settings: Any) -> None:
    settings.DATA_DIR = Path("/dev/null/none")
    answer = put(token)
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert int(answer.headers["Retry-After"]) > 0


def test_a_body_that_breaks_off_is_refused(token: str) -> None:
    request = {"CONTENT_LENGTH": str(len(MAP) + 1), "HTTP_AUTHORIZATION": f"Bearer {token}"}

    answer = Client().put(PATH, b"", **request, **{"wsgi.input": BytesIO(MAP)})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]) == (400, "Request not received whole")
    assert not SourceMap.objects.exists()


# --- the list and the deletion -------------------------------------------------------------------------------------


def test_the_list_names_the_maps_of_a_version(token: str) -> None:
    for file in ("b.js", "a.js.map"):
        put(token, path=f"/sourcemaps/19afc18/{file}")
    put(token, path="/sourcemaps/other/c.js")
    answer = call("get", token)
    assert (answer.status_code, answer.json().keys()) == (200, {"ok", "version", "files"})
    assert [(file["file"], file["bytes"], file["sources"]) for file in answer.json()["files"]] == [
        ("a.js", len(MAP), 2),
        ("b.js", len(MAP), 2),
    ]
    assert answer.json()["files"][0]["uploaded_at"].endswith("Z")
    assert call("get", token, "/sourcemaps/none").json() == {"ok": True, "version": "none", "files": []}


def test_the_maps_of_a_version_are_deleted_and_then_not_found(token: str) -> None:
    for file in ("a.js", "b.js"):
        put(token, path=f"/sourcemaps/19afc18/{file}")
    put(token, path="/sourcemaps/other/c.js")
    assert call("delete", token).json() == {"ok": True, "version": "19afc18", "deleted": 2}
    answer = call("delete", token)
    words = "No source maps are stored for this version"
    assert (answer.status_code, answer.json()) == (404, {"ok": False, "error": words})
    assert SourceMap.objects.get().app_version == "other"
    assert AuditEntry.objects.order_by("-id")[0].who == "token ci-sourcemaps"


# --- who may ---------------------------------------------------------------------------------------------------


METHODS: dict[str, Callable[[str], Any]] = {
    "put": put,
    "get": partial(call, "get"),
    "head": partial(call, "head"),
    "delete": partial(call, "delete"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("scopes", "admitted"),
    [
        ((), set()),
        ((Scope.INGEST,), set()),
        ((Scope.TRIAGE,), set()),
        ((Scope.READ,), {"get", "head"}),
        ((Scope.SOURCE_MAPS,), {"put", "get", "head", "delete"}),
        ((Scope.INGEST, Scope.SOURCE_MAPS), {"put", "get", "head", "delete"}),
    ],
)
def test_a_token_needs_the_scope(method: str, scopes: tuple[Scope, ...], admitted: set[str]) -> None:
    put(issue(Scope.TRIAGE, Scope.SOURCE_MAPS), source_map())
    answer = METHODS[method](issue(*scopes) if scopes else "")
    assert (answer.status_code != 401) is (method in admitted)
    if method not in admitted:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    if method not in (*admitted, "head"):
        assert answer.json()["error"] == ("This token lacks the scope sourcemaps" if scopes else "Unauthorized")


@override_settings(ADMIN_TOKEN=ADMIN_TOKEN)
def test_the_admin_token_may_do_all() -> None:
    assert put(ADMIN_TOKEN).status_code == 201
    assert SourceMap.objects.get().uploaded_by_name == "ADMIN_TOKEN"
    assert call("get", ADMIN_TOKEN).status_code == 200
    assert call("delete", ADMIN_TOKEN).status_code == 200


@pytest.mark.parametrize("role", ["Staff", "Maintainers"])
def test_a_session_lists_maps_and_changes_none(client: Client, role: str, token: str) -> None:
    put(token)
    sign_in(client, role)
    assert client.get(LIST).status_code == 200
    assert client.put(PATH, MAP).status_code == 401
    assert client.delete(LIST).status_code == 401
    assert SourceMap.objects.count() == 1


@pytest.mark.parametrize("how", ["expired", "revoked", "forged"])
def test_an_invalid_token_is_refused_before_the_body_is_read(how: str, token: str) -> None:
    if how == "forged":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    elif how == "revoked":
        tokens.revoke(tokens.IngestToken.objects.get(), who="someone", now=clock.now())
    else:
        tokens.IngestToken.objects.update(expires_at=clock.now())

    class Unread(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("The body was read")

    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}", "wsgi.input": Unread(), "CONTENT_LENGTH": "9"}
    assert Client().put(PATH, b"", **headers).status_code == 401  # type: ignore[arg-type]


def test_wrong_tokens_are_counted(token: str, memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_clock_to(monkeypatch, 1_800_000_000)
    for _ in range(WRONG_TOKENS.attempts):
        assert put("wrong").status_code == 401
    assert (put("wrong").status_code, put(token).status_code) == (429, 429)
    assert not SourceMap.objects.exists()


def test_a_page_of_another_site_may_not_even_ask() -> None:
    origin = {"origin": "http://localhost:5173", "access-control-request-method": "PUT"}
    answer = Client().options(PATH, headers=origin)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("get", PATH, "PUT, OPTIONS"), ("post", PATH, "PUT, OPTIONS"), ("put", LIST, "GET, DELETE, HEAD, OPTIONS")],
)
def test_other_methods_are_refused(method: str, path: str, allowed: str, token: str) -> None:
    answer = call(method, token, path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == set(allowed.split(", "))


def test_no_map_is_stored_while_the_disk_is_nearly_full(token: str, settings: Any) -> None:
    settings.MIN_FREE_BYTES = 1 << 62
    answer = put(token)
    assert (answer.status_code, answer.json()["error"]) == (503, "Disk space is low, so no source maps are stored")


def test_a_check_that_fails_is_logged_without_the_token(
    token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(intake, "WAIT_SECONDS", 0.0)
    assert put(token).status_code == 503
    assert "The check of a source map did not end" in caplog.text
    assert token not in caplog.text
