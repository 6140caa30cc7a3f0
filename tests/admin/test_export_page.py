"""The page that exports a list: the size, the preview, the columns, the formats, and exports stored under a name."""

import csv
import gzip
import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client

from events import clock
from events.models import AuditEntry, NamedExport
from events.reports import failures
from events.reports.exports import lists, making
from tests.conftest import make_event, sign_in, success, text_of
from tests.reports.exports.test_spreadsheets import sheets

pytestmark = pytest.mark.django_db
PAGE = "/admin/events/namedexport/of/"
STORED = "/admin/events/namedexport/"
LISTS = ["failures", "events", "groups", "releases", "days", "audit"]


@pytest.fixture
def maintainer(client: Client) -> Client:
    sign_in(client, "Maintainers")
    return client


def download(client: Client, key: str, **fields: Any) -> Any:
    columns = fields.pop("columns", None) or [column.name for column in lists.LISTS[key].columns()]
    values = {name.replace("x_", "x."): value for name, value in fields.items()}
    return client.post(f"{PAGE}{key}/", {"x.action": "download", "x.column": columns, **values})


def rows_of(answer: Any, file_format: str) -> list[list[str]]:
    """Return the texts of a file by row, without the header. An empty cell is ""."""
    assert answer.status_code == 200, answer.content
    body = answer.getvalue()
    if file_format == "xlsx":
        [[_, *rows]] = sheets(body)
        return [["" if cell is None else str(cell) for cell in row] for row in rows]
    text = gzip.decompress(body).decode("utf-8-sig") if file_format.endswith("gz") else body.decode("utf-8-sig")
    if file_format.startswith("csv"):
        return list(csv.reader(io.StringIO(text, newline="")))[1:]
    return [["" if value is None else str(value) for value in json.loads(line).values()] for line in text.splitlines()]


def fill() -> None:
    make_event(message="first", app_version="72225e2", model="UV-17R")
    make_event(message="second", app_version="0005747", error_name="=cmd()")
    for session in ("a", "b"):
        make_event(**success(session_id=session, app_version="72225e2"))


@pytest.mark.parametrize("key", LISTS)
def test_each_list_has_the_same_rows_in_each_format(maintainer: Client, key: str) -> None:
    fill()
    download(maintainer, "releases", x_format="csv").getvalue()  # a row for the audit log
    times = {column.name for column in lists.LISTS[key].columns() if column.kind.name in ("MOMENT", "TIME", "DAY")}
    columns = [column.name for column in lists.LISTS[key].columns() if column.name not in times | {"log_lines_json"}]
    columns = [name for name in columns if "json" not in name and "rate" not in name and name != "_"]
    last = AuditEntry.objects.count()
    found = {}
    for file_format in ("csv", "csv.gz", "ndjson", "ndjson.gz", "xlsx"):
        name, _, is_gzip = file_format.partition(".")
        answer = download(maintainer, key, columns=columns, x_format=name, **({"x_gzip": "1"} if is_gzip else {}))
        assert answer["Content-Disposition"].endswith(f'-{clock.today()}.{file_format}"')
        rows = [[cell.removeprefix("'").removesuffix(".0") for cell in row] for row in rows_of(answer, file_format)]
        rows = [row + [""] * (len(columns) - len(row)) for row in rows]
        found[file_format] = rows[-last:] if key == "audit" else rows  # each export adds an entry, newest first
    assert found["csv"]
    assert list(found.values()) == [found["csv"]] * 5


@pytest.mark.parametrize("key", LISTS)
@pytest.mark.parametrize("is_empty", [True, False])
def test_the_page_shows_the_number_of_rows_and_ten_of_them(maintainer: Client, key: str, is_empty: bool) -> None:
    if not is_empty:
        fill()
        for number in range(11):
            make_event(message=f"message {number}")
    answer = maintainer.get(f"{PAGE}{key}/")
    assert answer.status_code == 200
    assert len(answer.context["preview"]) <= 10
    assert answer.context["estimate"].count.is_exact
    if key in ("failures", "events"):
        rows = rows_of(download(maintainer, key, x_format="csv"), "csv")
        assert answer.context["estimate"].count.rows == len(rows) == (0 if is_empty else 13 + 2 * (key == "events"))
        as_csv = maintainer.get(f"{PAGE}{key}/", {"x.format": "csv"})
        assert as_csv.context["estimate"].size == len(download(maintainer, key, x_format="csv").getvalue())


@pytest.mark.parametrize(
    ("query", "rows", "is_exact"),
    [({}, 60, False), ({"model": "UV-17R"}, 20, False), ({"mode": "1", "model": "UV-17R"}, 20, False),
     ({"session": "s-1"}, 1, True)],
)  # fmt: skip
def test_a_long_list_is_estimated(
    maintainer: Client, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], rows: int, is_exact: bool
) -> None:
    monkeypatch.setattr(failures, "SEARCH_ROWS", 15)
    for number in range(60):
        make_event(model="UV-17R" if number % 3 else "UV-5RM", session_id=f"s-{number}") if number % 3 == 0 else (
            make_event(model="UV-17R" if number % 3 == 1 else "K5", session_id=f"s-{number}")
        )
    count = maintainer.get(f"{PAGE}failures/", query).context["estimate"].count
    assert (count.rows, count.is_exact) == (rows, is_exact)


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ({"typ": "flash_error"}, "This list has no such filter."),
        ({"type": "nope"}, "nope is not one of the available choices"),
        ({"limit": "5"}, "An export has every row of the list."),
        ({"f.nothing": "x"}, "FACETS has no such name."),
        ({"x.column": "nothing"}, "This list has no column nothing."),
        ({"x.column": ["id", "id"]}, "A column is chosen twice."),
        ({"x.format": "pdf"}, "pdf is not one of the available choices"),
        ({"x.format": "xlsx", "x.gzip": "1"}, "An XLSX file is compressed already."),
        ({"x.other": "1"}, "This list has no such filter."),
    ],
)
def test_what_is_wrong_with_a_choice_is_said(maintainer: Client, query: dict[str, Any], fault: str) -> None:
    answer = maintainer.get(f"{PAGE}failures/", query)
    assert answer.status_code == 400
    assert fault in text_of(answer)
    assert not AuditEntry.objects.exists()
    posted = maintainer.post(f"{PAGE}failures/", {"x.column": "id", "x.action": "download"} | query)
    assert posted.status_code == 400


def test_no_column_is_no_export(maintainer: Client) -> None:
    answer = maintainer.post(f"{PAGE}failures/", {"x.action": "download"})
    assert (answer.status_code, "Choose at least one column." in text_of(answer)) == (400, True)


def test_columns_come_in_the_chosen_order(maintainer: Client) -> None:
    fill()
    answer = download(maintainer, "events", columns=["message", "facet_browser", "id"], x_format="csv", model="UV-17R")
    lines = answer.getvalue().decode("utf-8-sig").splitlines()
    assert lines[0] == '"message","facet_browser","telemetry_export_v3_id"'
    assert lines[1].startswith('"first","",')
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("action", "order"),
    [("up message", ["message", "id", "model"]), ("down id", ["message", "id", "model"]),
     ("up id", ["id", "message", "model"]), ("down model", ["id", "message", "model"]),
     ("up nothing", ["id", "message", "model"]), ("update", ["id", "message", "model"])],
)  # fmt: skip
def test_a_column_moves_without_javascript(maintainer: Client, action: str, order: list[str]) -> None:
    form = {"x.column": ["id", "message", "model"], "x.action": action, "x.format": "csv", "model": "UV-17R", "q": ""}
    answer = maintainer.post(f"{PAGE}events/", form, follow=True)
    choice = answer.context["choice"]
    assert (choice.names, choice.format.value, choice.filters) == (order, "csv", "model=UV-17R")
    assert not AuditEntry.objects.exists()
    assert ("autofocus" in text_of(answer)) is (action not in ("up nothing", "update"))


def test_log_lines_and_metadata_are_parsed_in_ndjson(maintainer: Client) -> None:
    make_event(log_lines_json='["a","b\\n"]', metadata_json='{"usb":"x","step":3}', received_at_ms=1_770_000_000_123)
    columns = ["id", "received_at", "occurred_at", "log_lines_json", "metadata_json", "facet_step"]
    (line,) = download(maintainer, "failures", columns=columns, x_format="ndjson").getvalue().decode().splitlines()
    row = json.loads(line)
    del row["id"]
    assert row == {
        "received_at": "2026-02-02T02:40:00.123Z",
        "occurred_at": "2026-02-12T18:00:00.000Z",
        "log_lines_json": ["a", "b\n"],
        "metadata_json": {"usb": "x", "step": 3},
        "facet_step": "3",
    }


@pytest.mark.parametrize(
    ("key", "query", "file_name"),
    [
        ("failures", {"window": "30d"}, "failures-last-30d"),
        ("events", {"since": "2026-01-01", "until": "2026-02-01"}, "events-2026-01-01-to-2026-02-01"),
        ("groups", {"status": "still_failing"}, "failure-groups-still-failing"),
        ("days", {"days": "last_month"}, "daily-figures-last-month"),
        ("days", {"first": "2026-01-01"}, "daily-figures-from-2026-01-01"),
        ("audit", {"who": '"; filename=x\r\n'}, "audit-log-all"),
    ],
)
def test_the_name_of_a_file_says_list_range_and_day(
    maintainer: Client, key: str, query: dict[str, str], file_name: str
) -> None:
    answer = download(maintainer, key, x_format="ndjson", **query)
    assert answer["Content-Disposition"] == f'attachment; filename="{file_name}-{clock.today()}.ndjson"'


def test_daily_figures_are_those_of_the_overview(maintainer: Client) -> None:
    fill()
    make_event(event_type="connect_error")
    columns = ["day", "model", "events", "flash_error", "flashes", "successes", "failures", "failure_rate"]
    answer = download(maintainer, "days", columns=columns, x_format="csv", days="7")
    rows = rows_of(answer, "csv")
    assert len(rows) == 7
    assert rows[-1] == [str(clock.today()), "", "5", "2", "4", "2", "3", "0.6"]
    assert rows[0][2:] == ["0", "0", "0", "0", "0", ""]
    by_model = rows_of(download(maintainer, "days", columns=columns, x_format="csv", by="model"), "csv")
    assert {(row[1], row[2]) for row in by_model} == {("UV-17R", "1"), ("UV-5RM", "4")}


@pytest.mark.parametrize("key", LISTS)
def test_each_list_needs_its_own_permission(client: Client, key: str) -> None:
    user = sign_in(client)
    for codename in ("export_event", "view_namedexport"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    assert client.get(f"{PAGE}{key}/").status_code == 403
    assert download(client, key).status_code == 403


def test_the_progress_of_a_download_is_that_of_its_account(maintainer: Client, client: Client) -> None:
    fill()
    progress_id = "0123456789abcdef"
    answer = download(maintainer, "events", x_format="ndjson", x_id=progress_id)
    size = len(answer.getvalue())
    url = f"{STORED}progress/{progress_id}/"
    assert maintainer.get(url).json() == {"state": "done", "rows": 4, "bytes": size}
    other = Client()
    sign_in(other, "Staff")
    assert other.get(url).status_code == 404
    cache.clear()
    assert maintainer.get(f"{STORED}progress/{'x' * 300}/").status_code == 404


def test_the_progress_of_a_download_that_was_cut_is_a_failure() -> None:
    progress = making.progress_of(1, "0123456789abcdef")
    pieces = progress.watching(iter([b"first", b"second"]))
    next(pieces)
    pieces.close()
    assert making.shown(1, "0123456789abcdef") == {"state": "failed", "rows": 0, "bytes": 5}


# --- stored exports --------------------------------------------------------------------------------------------------


def store(client: Client, name: str, key: str = "failures", **fields: Any) -> Any:
    form = {"x.column": ["message", "id"], "x.format": "csv", "x.action": "store", "x.name": name} | fields
    return client.post(f"{PAGE}{key}/", form)


def test_an_export_is_stored_renamed_and_deleted(maintainer: Client) -> None:
    fill()
    assert store(maintainer, "Weekly: ü", window="30d", model="UV-17R").status_code == 302
    export = NamedExport.objects.get()
    assert (export.name, export.list_key, export.filters) == ("Weekly: ü", "failures", "model=UV-17R&window=30d")
    assert (export.columns, export.format) == (["message", "id"], "csv")
    assert "Weekly: ü" in text_of(maintainer.get(STORED))
    answer = maintainer.get(f"{STORED}{export.pk}/download/")
    assert answer["Content-Disposition"] == f'attachment; filename="failures-last-30d-{clock.today()}.csv"'
    assert [row[0] for row in rows_of(answer, "csv")] == ["first"]
    assert maintainer.post(f"{STORED}{export.pk}/change/", {"name": "monthly"}).status_code == 302
    assert maintainer.get(f"{STORED}{export.pk}/history/").status_code == 200
    assert maintainer.post(f"{STORED}{export.pk}/delete/").status_code == 302
    assert not NamedExport.objects.exists()
    assert [(entry.what, entry.about) for entry in AuditEntry.objects.order_by("id")] == [
        ("Stored the export of Recent failures: window=30d&model=UV-17R", "Weekly: ü"),
        ("Exported Recent failures: model=UV-17R&window=30d (stored export Weekly: ü)", ""),
        ("Renamed the stored export Weekly: ü", "monthly"),
        ("Deleted the stored export", "monthly"),
    ]


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\u200bb", " a", "a ", ".", "..", "a/", "a\0b", "taken"])
def test_a_name_that_cannot_be_given(maintainer: Client, name: str) -> None:
    store(maintainer, "taken")
    answer = store(maintainer, name)
    assert (answer.status_code, answer.context["name"]) == (400, name)
    assert answer.context["choice"].names == ["message", "id"]
    export = NamedExport.objects.get()
    other = NamedExport.objects.create(
        name="other", list_key="events", filters="", columns=["id"], format="csv", created_at_ms=1, created_by_name="x"
    )
    assert maintainer.post(f"{STORED}{other.pk}/change/", {"name": name}).status_code == 400
    assert sorted(NamedExport.objects.values_list("name", flat=True)) == ["other", export.name]


def test_a_column_that_no_longer_exists_is_empty_and_said(maintainer: Client, settings: Any) -> None:
    fill()
    store(maintainer, "with a facet", **{"x.column": ["facet_browser", "message"]})
    settings.FACETS = ()
    export = NamedExport.objects.get()
    words = "The column facet_browser no longer exists, so its cells are empty. Add the name to FACETS to get it back."
    assert words in text_of(maintainer.get(STORED))
    rows = rows_of(maintainer.get(f"{STORED}{export.pk}/download/"), "csv")
    assert sorted(rows) == [["", "first"], ["", "second"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"filters": "f.nothing=1"}, "The filter f.nothing is no longer valid: FACETS has no such name."),
        ({"list_key": "nothing"}, "This site has no list nothing."),
        ({"format": "pdf"}, "This site has no format pdf."),
    ],
)
def test_an_export_that_can_no_longer_be_made_says_why(maintainer: Client, change: dict[str, str], words: str) -> None:
    store(maintainer, "old")
    NamedExport.objects.update(**change)
    assert words in text_of(maintainer.get(STORED))
    answer = maintainer.get(f"{STORED}{NamedExport.objects.get().pk}/download/", follow=True)
    assert "Nothing was exported." in text_of(answer)
    assert AuditEntry.objects.count() == 1
