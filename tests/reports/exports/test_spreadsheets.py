"""Lists as XLSX: what a spreadsheet shows is what is stored."""

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client

from events.reports.exports import spreadsheets
from events.reports.exports.columns import Column, Kind
from tests.conftest import make_event, success
from tests.reports.exports.workbooks import sheets

FORM = (
    Column("name", key_heading="format_v1_name"),
    Column("at", Kind.MOMENT),
    Column("told", Kind.TIME),
    Column("count", Kind.NUMBER),
)
AT_MS = 1_770_919_200_500  # 2026-02-12 18:00:00.5 UTC
DAYS_TO_IT = 46_065.75 + 0.5 / 86_400


def written(*rows: tuple[Any, ...], form: Sequence[Column] = FORM, **options: int) -> bytes:
    return b"".join(spreadsheets.as_xlsx(iter([list(rows)]), form, **options))


TEXTS = [
    *("72225e2", "296e115", "6063e25", "0005747", "1.10", "00012345", "007", "MAY-25", "3/4", "true", "12:30", "1e3"),
    *(
        "0886579512572114",
        "73991254577561e0",
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "'quoted",
        "\ttab",
        "line\nbreak",
        "\r\n",
    ),
    *(
        "https://example.org/a",
        "mailto:a@example.org",
        "internal:Sheet1!A1",
        "<b>&amp;</b>",
        "_x0041_",
        "\x01\x1f",
        "📻",
    ),
    *("📻", "\r\n", " blank ", "{=1}", "a" * 32_767, "\ufffe", "\uffff", ""),
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
def test_a_text_stays_that_text(text: str) -> None:
    [[header, row]] = sheets(written((text, AT_MS, "", 0)))
    assert header == [column.heading for column in FORM]
    assert row[0] == text


def test_texts_of_many_rows_stay_in_their_rows() -> None:
    texts = [TEXTS[number % len(TEXTS)] if number % 7 else None for number in range(1_000)]
    [[_, *rows]] = sheets(written(*((text, number, "", number) for number, text in enumerate(texts))))
    assert [(row[0], row[3]) for row in rows] == [(text, number) for number, text in enumerate(texts)]


@pytest.mark.parametrize(("text", "kept"), [("a" * 32_768, "a"), ("📻" * 16_384, "📻"), ("a" + "📻" * 40_000, "a📻")])
def test_a_text_too_long_for_a_cell_is_truncated_with_a_note(text: str, kept: str) -> None:
    [[_, row]] = sheets(written((text, AT_MS, "", 0)))
    assert row[0].startswith(kept)
    assert row[0].endswith(spreadsheets.CUT)
    assert 32_765 <= len(row[0].encode("utf-16-le")) // 2 <= 32_767


@pytest.mark.parametrize(
    ("told", "cell"),
    [
        ("2026-02-12T18:00:00.500Z", DAYS_TO_IT),
        ("2026-02-12T19:00:00.500+01:00", DAYS_TO_IT),
        ("2026-02-12T18:00:00.500", DAYS_TO_IT),
        ("0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00.000Z"),
        ("1900-01-01T00:00:00.000Z", "1900-01-01T00:00:00.000Z"),
        ("Thu, 12 Feb 2026 18:00:00 GMT", "Thu, 12 Feb 2026 18:00:00 GMT"),
        ("", ""),
    ],
)
def test_a_time_is_a_date_where_spreadsheets_have_it(told: str, cell: Any) -> None:
    [[_, row]] = sheets(written(("name", AT_MS, told, 3)))
    assert row[1] == pytest.approx(DAYS_TO_IT, abs=1e-9)
    assert row[2] == (pytest.approx(cell, abs=1e-9) if isinstance(cell, float) else cell)
    assert row[3] == 3


def test_rows_over_a_sheet_go_to_the_next_with_a_header_of_its_own() -> None:
    assert spreadsheets.ROWS_A_SHEET + 1 == 1_048_576
    written_sheets = sheets(written(*((f"row {n}", AT_MS, "", n) for n in range(7)), rows_a_sheet=3))
    assert [[row[0] for row in sheet] for sheet in written_sheets] == [
        ["format_v1_name", "row 0", "row 1", "row 2"],
        ["format_v1_name", "row 3", "row 4", "row 5"],
        ["format_v1_name", "row 6"],
    ]


def test_each_header_is_frozen() -> None:
    with zipfile.ZipFile(io.BytesIO(written(("a", AT_MS, "", 0)))) as book:
        assert b'<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>' in book.read(
            "xl/worksheets/sheet1.xml"
        )


def test_of_a_file_that_cannot_be_completed_nothing_is_sent() -> None:
    def chunks() -> Iterator[list[tuple[Any, ...]]]:
        yield [("a", AT_MS, "", 0)]
        raise DatabaseError("away")

    file = io.BytesIO()
    with pytest.raises(DatabaseError, match="away"):
        file.writelines(spreadsheets.as_xlsx(chunks(), FORM))
    assert file.getvalue() == b""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("page", "first"),
    [
        ("events/event", "telemetry_export_v3_id"),
        ("events/recentfailure", "telemetry_export_v3_id"),
        ("events/failuregroup", "telemetry_groups_v2_fingerprint"),
        ("legacy/clientlog", "telemetry_old_log_v1_id"),
    ],
)
def test_every_list_has_both_formats(page: str, first: str, admin_user: User, client: Client) -> None:
    client.force_login(admin_user)
    make_event(app_version="72225e2", message="=cmd()")
    make_event(**success(app_version="0005747"))
    client.post("/client-log", {"event_type": "flash_error", "message": "m", "occurred_at": "x"}, "application/json")
    as_xlsx, as_csv = client.get(f"/admin/{page}/export.xlsx/"), client.get(f"/admin/{page}/export/")
    assert as_xlsx.headers["Content-Type"].endswith("spreadsheetml.sheet")
    assert re.fullmatch(r'attachment; filename="[a-z-]+-\d{4}-\d\d-\d\d\.xlsx"', as_xlsx.headers["Content-Disposition"])
    assert "no-store" in as_xlsx.headers["Cache-Control"]
    [[header, *rows]] = sheets(b"".join(as_xlsx.streaming_content))  # type: ignore[attr-defined]
    lines = b"".join(as_csv.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    assert header[0] == first
    assert lines[0] == ",".join(f'"{name}"' for name in header)
    assert len(rows) == len(lines) - 1


@pytest.mark.django_db
def test_ticked_rows_are_a_spreadsheet_too(admin_user: User, client: Client) -> None:
    client.force_login(admin_user)
    ticked, _ = make_event(app_version="72225e2"), make_event()
    answer = client.post("/admin/events/event/export.xlsx/", {"id": ticked.pk})
    [[header, row]] = sheets(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
    assert row[0] == ticked.pk
    assert row[header.index("app_version")] == "72225e2"
