"""`manage.py upload_sourcemaps`: stores the maps of a build folder, and says what happened to each."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from events.models import AuditEntry, SourceMap
from tests.fixtures.uploaded_maps import source_map

pytestmark = pytest.mark.django_db


@pytest.fixture
def build(tmp_path: Path) -> Path:
    assets = tmp_path / "dist" / "assets"
    assets.mkdir(parents=True)
    (assets / "index-x.js").write_text("let a;")
    (assets / "index-x.js.map").write_bytes(source_map())
    (assets / "vendor-y.js.map").write_bytes(source_map(sources=["../../node_modules/a/b.js", "c.js"]))
    (assets / "index-z.css.map").write_bytes(source_map())
    return tmp_path / "dist"


def upload(*arguments: str) -> tuple[list[str], list[str], str]:
    """Return the lines of both outputs, and the error that ends the command."""
    out, err = StringIO(), StringIO()
    try:
        call_command("upload_sourcemaps", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return out.getvalue().splitlines(), err.getvalue().splitlines(), str(error)
    return out.getvalue().splitlines(), err.getvalue().splitlines(), ""


def stored() -> list[tuple[str, str]]:
    return list(SourceMap.objects.order_by("file").values_list("app_version", "file"))


def test_each_map_of_the_folder_is_stored(build: Path) -> None:
    size, other = ((build / "assets" / name).stat().st_size for name in ("index-x.js.map", "vendor-y.js.map"))
    assert upload("19afc18", str(build)) == (
        [
            f"assets/index-x.js.map: stored, 1 sources, {size:,} bytes",
            f"assets/vendor-y.js.map: stored, 2 sources, {other:,} bytes",
        ],
        [],
        "",
    )
    assert stored() == [("19afc18", "index-x.js"), ("19afc18", "vendor-y.js")]
    assert AuditEntry.objects.filter(kind="sourcemap").count() == 2


def test_a_second_run_changes_nothing(build: Path) -> None:
    upload("19afc18", str(build))
    lines, refused, error = upload("19afc18", str(build))
    assert [line.split(": ")[1].split(",")[0] for line in lines] == ["unchanged", "unchanged"]
    assert (refused, error) == ([], "")


def test_other_content_is_refused_unless_it_is_to_replace(build: Path) -> None:
    upload("19afc18", str(build))
    (build / "assets" / "index-x.js.map").write_bytes(source_map(names=["a"]))
    _, refused, error = upload("19afc18", str(build))
    assert refused == [
        "assets/index-x.js.map: Other content is stored for index-x.js of 19afc18. Add --replace to replace it."
    ]
    assert error == "1 of 2 source maps were not stored."
    lines, refused, error = upload("19afc18", str(build), "--replace")
    assert (lines[0].split(",")[0], refused, error) == ("assets/index-x.js.map: replaced", [], "")


def test_a_refused_map_does_not_keep_the_others_out(build: Path) -> None:
    (build / "assets" / "index-x.js.map").write_text("let a;")
    _, refused, error = upload("19afc18", str(build))
    assert refused == [
        "assets/index-x.js.map: This is JavaScript, not a source map. Upload the file whose name ends with .js.map."
    ]
    assert error == "1 of 2 source maps were not stored."
    assert stored() == [("19afc18", "vendor-y.js")]


def test_the_limits_of_an_upload_are_in_force(build: Path, settings: Any) -> None:
    settings.SOURCEMAP_MAX_BYTES = 10
    _, refused, error = upload("19afc18", str(build))
    assert "The file is larger than 10 bytes." in refused[0]
    assert error == "2 of 2 source maps were not stored."


@pytest.mark.parametrize(
    ("version", "folder", "words"),
    [
        ("19afc18", "none", "no such folder"),
        ("19afc18", "dist/assets/index-x.js.map", "no such folder"),
        ("19afc18", "empty", "With Vite, set `build.sourcemap` to `hidden`."),
        ("x" * 65, "dist", "2 of 2 source maps were not stored."),
    ],
)
def test_wrong_arguments_are_refused_in_words(build: Path, version: str, folder: str, words: str) -> None:
    (build.parent / "empty").mkdir()
    assert words in upload(version, str(build.parent / folder))[2]
    assert stored() == []
