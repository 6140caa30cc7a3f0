"""The stack and log lines of a failure are stored once, and every reader of the old log gets them."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client, override_settings

from events import clock, rows
from events.counting.buckets import DAY_MS
from events.ingest import quotas
from events.maintenance import disk, retention
from events.models import Event
from events.rows import EventRow
from legacy import old_tables, translate
from legacy.cutover import archive, modes, switch
from legacy.models import ClientLog, Mode, ModeInForce
from tests.conftest import make_event, payload, sign_in
from tests.fixtures.d1 import export, log_row

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TOKEN = "a token of the tests"
STACK = "Error: x\n at flash (a.js:1:2)"
LINES = ["open", "write 📻", 'no "ACK"']
LINES_JSON = json.dumps(LINES, ensure_ascii=False, separators=(",", ":"))
TEXTS = (STACK, LINES_JSON)
LEAST = 1_000_000


def failure(**changes: Any) -> dict[str, Any]:
    return payload(stack=STACK, log_lines_json=json.dumps(LINES)) | changes


def set_free(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda: number)
    disk.forget()


@pytest.fixture(autouse=True)
def _at_noon_with_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(clock, "now", lambda: NOON)
    set_free(monkeypatch, LEAST)
    with override_settings(MIN_FREE_BYTES=LEAST, ADMIN_TOKEN=TOKEN):
        yield


def switch_to(mode: str) -> None:
    switch.to_mode(Mode(mode), reason="a test", user=None, user_name="someone", at=NOON)


def texts(row: ClientLog | Event) -> tuple[str | None, str]:
    return row.stack, row.log_lines_json


def stored_row() -> tuple[bool, tuple[str | None, str]]:
    """Return `text_in_stream` of the only row, and the texts in its columns."""
    row = ClientLog.objects.get()
    return row.text_in_stream, texts(row)


# --- which rows have no texts of their own -----------------------------------------------------------------------


def arrived(post: Callable[..., Any], **_: Any) -> None:
    assert post("/client-log", failure()).status_code == 200


def arrived_after_its_event(post: Callable[..., Any], **_: Any) -> None:
    assert post("/event", failure()).status_code == 201
    arrived(post)


def arrived_before_its_event(post: Callable[..., Any], **_: Any) -> None:
    arrived(post)
    assert post("/event", failure(metadata_json='{"source": "web-v2"}')).json() == {"ok": True, "deduped": True}


def arrived_three_times(post: Callable[..., Any], **_: Any) -> None:
    for _time in range(3):
        arrived(post)


def arrived_a_day_after_its_event(post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    make_event(received_at_ms=ms(NOON) - DAY_MS, **failure())
    arrived(post)


def arrived_after_an_event_from_the_future(post: Callable[..., Any], **_: Any) -> None:
    make_event(received_at_ms=ms(NOON) + DAY_MS, **failure())
    arrived(post)


def arrived_after_an_event_without_texts(post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    set_free(monkeypatch, LEAST - 1)
    assert post("/event", failure()).status_code == 201
    set_free(monkeypatch, LEAST)
    arrived(post)


def arrived_without_texts_after_its_event(post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, **_: Any) -> None:
    assert post("/event", failure()).status_code == 201
    set_free(monkeypatch, LEAST - 1)
    arrived(post)


def arrived_in_separate(post: Callable[..., Any], **_: Any) -> None:
    ModeInForce.objects.create(id=1, mode=Mode.SEPARATE)
    arrived(post)


def copied_by_a_switch(post: Callable[..., Any], **_: Any) -> None:
    make_event(received_at_ms=ms(NOON), **failure())
    switch_to("alias")


def copied_by_a_switch_with_a_session(post: Callable[..., Any], **_: Any) -> None:
    make_event(received_at_ms=ms(NOON), **failure(session_id="s"))
    switch_to("alias")


def copied_by_the_end(post: Callable[..., Any], **_: Any) -> None:
    make_event(received_at_ms=ms(NOON), **failure())
    switch_to("gone")


def copied_by_a_switch_to_separate(post: Callable[..., Any], **_: Any) -> None:
    make_event(received_at_ms=ms(NOON), **failure())
    switch_to("separate")


def imported(tmp_path: Path, **_: Any) -> None:
    columns = log_row(received_at_ms=ms(NOON), stack=STACK, log_lines_json=LINES_JSON)
    file = tmp_path / "export.sql"
    file.write_text(export(logs=[columns]), encoding="utf-8")
    call_command("import_d1", str(file), stdout=io.StringIO())


def imported_event_copied_by_a_switch(post: Callable[..., Any], tmp_path: Path, **_: Any) -> None:
    imported(tmp_path=tmp_path)
    ClientLog.objects.all().delete()
    switch_to("alias")


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# The ways in which a row is written, and its `text_in_stream` afterwards.
KINDS: dict[str, tuple[Callable[..., None], bool]] = {
    kind.__name__.replace("_", " "): (kind, leaves)
    for kind, leaves in (
        (arrived, True),
        (arrived_after_its_event, True),
        (arrived_before_its_event, True),
        (arrived_three_times, True),
        (arrived_a_day_after_its_event, False),
        (arrived_after_an_event_from_the_future, True),
        (arrived_after_an_event_without_texts, False),
        (arrived_without_texts_after_its_event, True),
        (arrived_in_separate, False),
        (copied_by_a_switch, True),
        (copied_by_a_switch_with_a_session, True),
        (copied_by_the_end, True),
        (copied_by_a_switch_to_separate, False),
        (imported, False),
        (imported_event_copied_by_a_switch, False),
    )
}


@pytest.fixture(params=KINDS)
def row(
    request: pytest.FixtureRequest, post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ClientLog:
    """Write the only row of the old log in one of the ways, and leave enough free disk space."""
    make, leaves = KINDS[request.param]
    make(post=post, monkeypatch=monkeypatch, tmp_path=tmp_path)
    set_free(monkeypatch, LEAST)
    assert stored_row() == ((True, (None, "[]")) if leaves else (False, TEXTS))
    return ClientLog.objects.get()


# --- the readers --------------------------------------------------------------------------------------------------


def by_recent(client: Client, **_: Any) -> tuple[str | None, str]:
    ModeInForce.objects.update_or_create(id=1, defaults={"mode": Mode.SEPARATE})
    modes.forget()
    answer = client.get("/recent", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    return STACK, json.dumps(answer["rows"][0]["logLines"], ensure_ascii=False, separators=(",", ":"))


def by_rows(**_: Any) -> tuple[str | None, str]:
    return texts(old_tables.recent(1)[0])


def by_event_from_row(**_: Any) -> tuple[str | None, str]:
    event = translate.event_from_row(old_tables.recent(1)[0])
    assert event.id == ClientLog.objects.get().event_id
    return event.stack, event.log_lines_json


def by_csv(client: Client, **_: Any) -> tuple[str | None, str]:
    sign_in(client, "Maintainers")
    answer = client.get("/admin/legacy/clientlog/export/")
    (line,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig")))
    return line["stack"], line["log_lines_json"]


def by_archive(tmp_path: Path, **_: Any) -> tuple[str | None, str]:
    archive.write(tmp_path / "archive.gz")
    with gzip.open(tmp_path / "archive.gz", "rt", encoding="utf-8") as lines:
        (line,) = [line for line in map(json.loads, lines) if line["table"] == "client_logs"]
    assert line["text_in_stream"] is False
    return line["stack"], line["log_lines_json"]


def by_a_switch(**_: Any) -> tuple[str | None, str]:
    """In `separate`, the rows contain their texts."""
    switch_to("separate")
    found = ClientLog.objects.get()
    assert not found.text_in_stream
    return texts(found)


READERS = {reader.__name__.removeprefix("by_").replace("_", " "): reader for reader in (
    by_recent, by_rows, by_event_from_row, by_csv, by_archive, by_a_switch,
)}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.usefixtures("row")
def test_every_reader_has_the_texts_of_every_row(reader: str, client: Client, tmp_path: Path) -> None:
    assert READERS[reader](client=client, tmp_path=tmp_path) == TEXTS


def test_a_switch_there_and_back_loses_and_adds_nothing(row: ClientLog) -> None:
    for mode in ("alias", "separate", "gone", "separate"):
        switch_to(mode)
        assert [texts(found) for found in old_tables.recent(9)] == [TEXTS]


def test_texts_that_both_sides_left_out_are_added_once(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, LEAST - 1)
    arrived(post)
    event = Event.objects.get()
    assert rows.is_left_out(event.log_lines_json)
    assert stored_row() == (True, (None, "[]"))
    assert texts(old_tables.recent(1)[0]) == texts(event)


def test_a_row_without_texts_is_an_ordinary_row(post: Callable[..., Any]) -> None:
    post("/client-log", payload())
    assert stored_row() == (False, (None, "[]"))


def test_a_request_that_began_before_the_switch_writes_a_row_with_texts(post: Callable[..., Any]) -> None:
    assert modes.current() == Mode.ALIAS  # cached for a second
    ModeInForce.objects.create(id=1, mode=Mode.SEPARATE)
    arrived(post)
    assert Event.objects.exists()
    assert stored_row() == (False, TEXTS)


def test_many_rows_are_filled_in_by_one_switch(post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legacy.cutover.copying.CHUNK", 3)
    for number in range(10):
        post("/client-log", failure(message=f"fault {number}", stack=f"at {number}"))
    assert ClientLog.objects.filter(text_in_stream=True).count() == 10
    switch_to("separate")
    assert {(found.message, *texts(found)) for found in ClientLog.objects.all()} == {
        (f"fault {number}", f"at {number}", LINES_JSON) for number in range(10)
    }


@pytest.mark.parametrize(
    "change",
    [{"in_stream": False}, {"imported": True}, {"stack": "at x"}, {"log_lines_json": '["x"]'}],
    ids=lambda change: next(iter(change)),
)
def test_the_table_refuses_a_row_that_could_lose_its_texts(post: Callable[..., Any], change: dict[str, Any]) -> None:
    arrived(post)
    with pytest.raises(IntegrityError), transaction.atomic():
        ClientLog.objects.update(**change)


# --- prunes and erasures ------------------------------------------------------------------------------------


def prune(before: datetime, *, imported_too: bool = False) -> Iterator[tuple[str, int]]:
    day_ms = ms(before) // DAY_MS * DAY_MS
    return retention.prune(day_ms, imported_too=imported_too, who="someone", at=NOON, why="a test")


@pytest.mark.parametrize("imported_too", [False, True])
@pytest.mark.parametrize("days_before", [0, 1, 2, 4])
@pytest.mark.parametrize("days_later", [0, 1, 3])
def test_a_prune_does_not_delete_the_texts_of_a_row_that_it_keeps(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, days_later: int, days_before: int, imported_too: bool
) -> None:
    """The twin of a failure may arrive by the old route on a later day."""
    assert post("/event", failure()).status_code == 201
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(days=days_later))
    arrived(post)
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(days=9))
    list(prune(NOON + timedelta(days=days_before), imported_too=imported_too))
    assert Event.objects.count() == (days_before == 0)
    assert [texts(found) for found in old_tables.recent(9)] == ([TEXTS] if days_later >= days_before else [])


@pytest.mark.parametrize("imported_too", [False, True])
def test_a_stopped_prune_leaves_the_texts_of_every_row(
    row: ClientLog, monkeypatch: pytest.MonkeyPatch, imported_too: bool
) -> None:
    """A prune may keep an imported row and delete its event, and vice versa."""
    monkeypatch.setattr(clock, "now", lambda: NOON + timedelta(days=9))
    for _ in prune(NOON + timedelta(days=2), imported_too=imported_too):
        assert [texts(found) for found in old_tables.recent(9)] in ([TEXTS], [])
    assert ClientLog.objects.exists() == (not row.in_stream or (row.imported and not imported_too))


def test_an_erasure_leaves_neither_the_row_nor_its_texts(post: Callable[..., Any]) -> None:
    post("/event", failure(session_id="s"))
    arrived(post)
    call_command("erase_session", "s", stdout=io.StringIO())
    assert not ClientLog.objects.exists()
    assert not Event.objects.exists()


# --- bytes --------------------------------------------------------------------------------------------------------


def brought() -> int:
    return sum(known for known, _ in quotas._brought.values())


def size_of_stored() -> int:
    """Return the stored bytes of events in both tables."""
    events = [EventRow(*event) for event in Event.objects.values_list(*EventRow._fields)]
    by_id = {event.id: event for event in events}
    logged = [
        by_id[found.id]._replace(stack=found.stack, log_lines_json=found.log_lines_json, source="client_log")
        for found in ClientLog.objects.all()
    ]
    return sum(rows.size_of(event) for event in events + logged)


COUNTED = [
    "arrived",
    "arrived after its event",
    "arrived three times",
    "arrived after an event without texts",
    "arrived without texts after its event",
]


@override_settings(DAILY_BYTES_PER_CLIENT=10**9)
@pytest.mark.parametrize("kind", COUNTED)
def test_the_stored_bytes_count_against_the_quota_of_the_client(
    post: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    KINDS[kind][0](post=post, monkeypatch=monkeypatch)
    # An event whose texts were added later was counted twice, first without its texts.
    assert 0 <= brought() - size_of_stored() <= (400 if kind == "arrived after an event without texts" else 0)
