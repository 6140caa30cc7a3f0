"""Exports with any text. Both files contain the stored text, and the audit log records only valid filters."""

import csv
import io
import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from events.models import AuditEntry
from events.reports.exports.text_files import as_csv
from tests.conftest import make_event
from tests.fuzz.judge import case, check, rolled_back, share
from tests.fuzz.strategies import texts_around
from tests.reports.exports.test_spreadsheets import AT_MS, FORM, sheets, written

CELLS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20),
    st.sampled_from(
        ["72225e2", "0005747", "1.10", "MAY-25", "3/4", "007", "=1+1", "+1", "-1", "@A1", "\t1", "_x0041_"]
    ),
    st.from_regex(r"[0-9a-f]{7}|[0-9]{1,20}([.,e][0-9]+)?|[=+@-][A-Z0-9()]*", fullmatch=True),
    texts_around(32_766).filter(lambda text: text[:1] not in ("\ud83d", "\0")),
)
MOST = 32_767  # UTF-16 units of a cell


@pytest.mark.fault("texts that a spreadsheet changes or runs")
@share(0.5, short=10)
@given(st.lists(CELLS, min_size=1, max_size=30))
def test_a_text_in_a_file(texts: list[str]) -> None:
    rows = [(text, AT_MS, "", number) for number, text in enumerate(texts)]
    with case():
        book = written(*rows)
        lines = b"".join(as_csv(iter([rows]), FORM))
    [[_, *rows]] = sheets(book)
    kept = [text for text in texts if len(text.encode("utf-16-le")) <= 2 * MOST]
    in_book = [row[0] for row, text in zip(rows, texts, strict=True) if text in kept]
    check("else", in_book == kept, in_book, kept)
    check("else", all(len((row[0] or "").encode("utf-16-le")) <= 2 * MOST for row in rows), "too long for a cell")
    in_csv = [row[0] for row in csv.reader(io.StringIO(lines.decode("utf-8-sig"), newline=""))][1:]
    as_text = [f"'{text}" if text[:1] in tuple("=+-@\t\r\n") else text for text in texts]
    check("else", in_csv == as_text, in_csv, texts)


SESSION = "somebodys-session-4711"
FILTERS = {
    "type",
    "model",
    "version",
    "mode",
    "connected",
    "window",
    "session",
    "group",
    "released",
    "since",
    "until",
    "q",
}
VALUES = st.sampled_from(
    [SESSION, "flash_error", "1", "0", "7d", "UV-5RM", "x" * 64, "x" * 65, "x" * 9_000, "2026-01-01T00:00:00Z", "", " "]
) | st.text(max_size=8)
QUERIES = st.dictionaries(st.sampled_from([*sorted(FILTERS), "utm_source", "junk", "cursor", ""]), VALUES, max_size=5)


@pytest.mark.fault("filters that write the audit log")
@pytest.mark.django_db
@share(1, short=15)
@given(
    query=QUERIES,
    path=st.sampled_from(["/admin/events/event/export/", "/admin/events/recentfailure/export.xlsx/"]),
    site=st.sampled_from([None, "same-origin", "cross-site", "same-site", "x"]),
)
def test_an_export(query: dict[str, str], path: str, site: str | None) -> None:
    with rolled_back():
        client = Client(raise_request_exception=False, headers={"sec-fetch-site": site} if site else {})
        client.force_login(User.objects.create_superuser("olga"))
        make_event(session_id=SESSION)
        with case():
            answer = client.get(path, query)
            body = answer.getvalue()
        check("5xx", answer.status_code < 500, answer.status_code, query)
        entries = list(AuditEntry.objects.all())
        check("else", len(entries) == (answer.status_code == 200), answer.status_code, entries, body[:100])
        if site in ("cross-site", "same-site"):
            check("stored", not entries, query, site)
        for entry in entries:
            expect_valid_filters(entry, query)


def expect_valid_filters(entry: Any, query: dict[str, str]) -> None:
    what = re.sub("^Exported (Events|Recent failures): ", "", entry.what)
    kept = {} if what == "everything" else dict(parse_qsl(what, keep_blank_values=True, strict_parsing=True))
    check("else", len(entry.what) < 2_500 and SESSION not in entry.what, entry.what)
    check("else", kept.keys() <= {name for name, value in query.items() if value} & FILTERS, kept, query)
    for name, value in kept.items():
        is_same = value in ("…", query[name], query[name].strip()) or name in ("since", "until")
        check("else", is_same and len(value) <= 128, name, value, query)
