"""`manage.py void_flashes`: voids, previews with --dry-run, undoes, lists; and says what is wrong in words."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events import clock
from events.maintenance import retention
from events.management.account import login
from events.models import AuditEntry, Correction
from events.reports import metrics
from tests.conftest import make_event, success
from tests.storage import locked_events

pytestmark = pytest.mark.django_db
NOON_MS = 1_770_897_600_000  # 2026-02-12 12:00 UTC
HOUR = ("--since", "2026-02-12T12:00:00Z", "--until", "2026-02-12T13:00:00Z")


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("void_flashes", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def store(sessions: int) -> None:
    for n in range(sessions):
        make_event(**success(session_id=f"forged-{n}", app_version=f"v{n}"), received_at_ms=NOON_MS + n)


def test_it_voids_and_undoes_and_prints_the_count() -> None:
    store(3)
    said = run(*HOUR, "--reason", "forged")
    correction = Correction.objects.get()
    assert said == (
        f"Correction {correction.pk}: 3 successes are void.\n"
        "The public count was 3 and is 0.\n"
        f'To undo it: manage.py void_flashes --undo {correction.pk} --reason "…"\n'
    )
    assert run("--list") == (
        f"{correction.pk}: 3 of 3 voided, 0 restored, received from 2026-02-12T12:00:00.000Z until"
        f" 2026-02-12T13:00:00.000Z. {login()}: forged\n"
    )
    list(retention.prune(NOON_MS + 1, imported_too=True, who="m", at=clock.now(), why=""))
    assert run("--undo", str(correction.pk), "--reason", "they were real") == (
        f"Correction {correction.pk} is undone: 3 successes count again.\n"
        "1 of them are no longer stored. Their counts were restored from the record of the correction.\n"
        "The public count was 0 and is 3.\n"
    )
    assert list(AuditEntry.objects.filter(kind="correction").values_list("who", "why").order_by("id")) == [
        (login(), "forged"),
        (login(), "they were real"),
    ]


def test_the_filters_are_exact() -> None:
    store(3)
    run(*HOUR, "--version", "v1", "--model", "UV-5RM", "--source", "event", "--reason", "forged")
    assert metrics.flash_count().total == 2
    assert Correction.objects.values_list("model", "app_version", "source").get() == ("UV-5RM", "v1", "event")


def test_a_dry_run_shows_figures_and_changes_nothing() -> None:
    store(7)
    said = run(*HOUR, "--dry-run")
    assert said.startswith("7 successes would be void.\n  model UV-5RM: 7\n  version v0: 1\n")
    assert "  and 2 more\n  source event: 7\n  hour 2026-02-12T12:00:00.000Z: 7\n  for example " in said
    assert "session forged-6, received 2026-02-12T12:00:00.006Z" in said
    assert said.endswith("Nothing was changed: --dry-run.\n")
    assert metrics.flash_count().total == 7
    assert not Correction.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--since: This field is required"),
        (["--since", "2026-02-12T12:00:00Z", "--reason", "x"], "--until: This field is required"),
        ([*HOUR], "--reason: This field is required"),
        ([*HOUR, "--reason", " \u200b"], "--reason: This field is required"),
        ([*HOUR, "--reason", "r" * 501], "at most 500 characters"),
        ([*HOUR, "--source", "mars", "--reason", "x"], "--source: Select a valid choice"),
        ([*HOUR, "--model", "none", "--reason", "x"], "Nothing matches: no counted success was received from"),
        ([*HOUR, "--model", "none", "--dry-run"], "Nothing matches: no counted success was received from"),
        (["--undo", "99"], "--reason: This field is required"),
        (["--undo", "99", "--reason", "x"], "Correction 99 does not exist"),
        (["--undo", "99", "--reason", "x", "--model", "a"], "--undo takes --reason alone"),
    ],
)
def test_what_is_wrong_is_said_in_words(arguments: list[str], said: str) -> None:
    store(1)
    with pytest.raises(CommandError, match=said):
        run(*arguments)
    assert metrics.flash_count().total == 1


def test_a_correction_is_undone_once() -> None:
    store(1)
    run(*HOUR, "--reason", "forged")
    key = str(Correction.objects.get().pk)
    run("--undo", key, "--reason", "real")
    with pytest.raises(CommandError, match="undone already"):
        run("--undo", key, "--reason", "real")


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_said_and_nothing_is_lost() -> None:
    store(2)
    with locked_events(), pytest.raises(CommandError, match="Completed batches stay"):
        run(*HOUR, "--reason", "forged")
    assert metrics.flash_count().total == 2
    run(*HOUR, "--reason", "forged")
    assert metrics.flash_count().total == 0
