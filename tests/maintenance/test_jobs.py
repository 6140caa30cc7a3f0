"""The leases of jobs, and the loop that runs them: in several processes, killed midway, with jobs that fail or hang."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection

from events.maintenance.jobs import leases, runs
from events.maintenance.jobs.registry import Job
from events.maintenance.jobs.schedules import Daily, Every
from events.models import AuditEntry, JobOutcome, JobRun, JobState
from tests.other_process import shared_site
from tests.servers import PROJECT_DIR, is_alive, wait_until

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
JOB = Job("made-up", "Made up", Daily(3, 15), lambda: "")
OK = JobOutcome.SUCCEEDED


def keep_state(**values: object) -> JobState:
    return JobState.objects.create(**{"name": JOB.name, "due_ms": NOON_MS} | values)  # type: ignore[arg-type]


def claim(now: datetime = NOON, job: Job = JOB) -> leases.Lease | None:
    return leases.claim(job, JobState.objects.get(name=job.name), now)


def due() -> datetime:
    return datetime.fromtimestamp(JobState.objects.get().due_ms / 1000, UTC)


@pytest.mark.django_db
def test_a_new_job_gets_a_row_with_its_next_time() -> None:
    keep_state(name="gone")
    for _ in range(2):
        leases.add_missing({JOB.name: JOB}, NOON)
    states = leases.states({JOB.name: JOB})
    assert list(states) == [JOB.name]
    assert states[JOB.name].due_ms == NOON_MS + 15.25 * 3_600_000


@pytest.mark.django_db
def test_one_process_claims_a_job_that_is_due() -> None:
    keep_state()
    assert claim(NOON - timedelta(seconds=1)) is None
    lease = claim()
    assert lease
    assert claim() is None
    assert leases.end(JOB, lease, OK, "Done.", NOON + timedelta(minutes=2))
    state, run = JobState.objects.get(), JobRun.objects.get()
    assert (state.holder, state.heartbeat_ms, state.started_ms, state.ended_ms, state.succeeded_ms) == (
        "", None, NOON_MS, NOON_MS + 120_000, NOON_MS + 120_000,
    )  # fmt: skip
    assert (run.outcome, run.message, run.started_ms, run.ended_ms) == (
        "succeeded",
        "Done.",
        NOON_MS,
        NOON_MS + 120_000,
    )
    assert due() == datetime(2026, 11, 29, 3, 15, tzinfo=UTC)


@pytest.mark.django_db
def test_a_process_that_lost_its_lease_records_nothing() -> None:
    """It was stopped for a long time; another process took over and has finished since."""
    keep_state()
    slow = claim()
    assert slow
    stale = JobState.objects.get()
    assert leases.abandon(stale, NOON)
    assert not leases.abandon(stale, NOON)
    fast = claim()
    assert fast
    assert not leases.beat(slow, NOON)
    assert leases.beat(fast, NOON)
    assert leases.end(JOB, fast, OK, "Fast.", NOON)
    assert not leases.end(JOB, slow, JobOutcome.FAILED, "Slow.", NOON)
    assert not leases.give_back(slow, "Slow.", NOON)
    assert (JobState.objects.get().outcome, JobState.objects.get().message) == ("succeeded", "Fast.")
    assert list(JobRun.objects.order_by("id").values_list("outcome", flat=True)) == ["abandoned", "succeeded"]


@pytest.mark.django_db
def test_a_lease_with_a_sign_of_life_is_not_abandoned() -> None:
    keep_state()
    lease = claim()
    assert lease
    seen = JobState.objects.get()
    leases.beat(lease, NOON - timedelta(hours=3))  # also when the clock went back
    assert not leases.abandon(seen, NOON)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("schedule", "outcome", "minutes", "expected"),
    [
        (Daily(3, 15), JobOutcome.SUCCEEDED, 5, "2026-11-29T03:15"),
        (Daily(3, 15), JobOutcome.FAILED, 5, "2026-11-28T13:05"),
        (Daily(3, 15), JobOutcome.TIMED_OUT, 60, "2026-11-28T14:00"),
        (Daily(3, 15), JobOutcome.ABANDONED, 5, "2026-11-28T12:06"),
        (Every(10), JobOutcome.SUCCEEDED, 5, "2026-11-28T12:10"),
        (Every(10), JobOutcome.FAILED, 5, "2026-11-28T12:10"),
        (Every(10), JobOutcome.SUCCEEDED, 25, "2026-11-28T12:35"),
        # The clock was put forward by a year during the run: one run, not one for each missed day.
        (Daily(3, 15), JobOutcome.SUCCEEDED, 525_600, "2027-11-29T03:15"),
    ],
)
def test_the_next_run_depends_on_the_outcome(
    schedule: Daily | Every, outcome: JobOutcome, minutes: int, expected: str
) -> None:
    job = JOB._replace(schedule=schedule)
    keep_state()
    lease = claim(job=job)
    assert lease
    leases.end(job, lease, outcome, "", NOON + timedelta(minutes=minutes))
    assert due() == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.django_db
def test_a_job_that_loses_its_process_again_and_again_waits_an_hour() -> None:
    keep_state(outcome=JobOutcome.ABANDONED)
    lease = claim()
    assert lease
    leases.end(JOB, lease, JobOutcome.ABANDONED, "", NOON)
    assert due() == NOON + timedelta(hours=1)
    assert claim(NOON + timedelta(hours=1))
    leases.abandon(JobState.objects.get(), NOON + timedelta(hours=2))
    assert due() == NOON + timedelta(hours=3)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("hours_ahead", "corrected"),
    [(365 * 24, "2026-11-29T03:15"), (39.5, "2026-11-29T03:15"), (15.25, None), (-24, None)],
)
def test_a_time_from_a_clock_that_was_ahead_is_corrected(hours_ahead: float, corrected: str | None) -> None:
    state = keep_state(due_ms=NOON_MS + int(hours_ahead * 3_600_000))
    assert leases.correct_due(JOB, state, NOON) is bool(corrected)
    if corrected:
        assert due() == datetime.fromisoformat(corrected).replace(tzinfo=UTC)


@pytest.mark.django_db
def test_a_requested_run_is_due_at_once_and_audited() -> None:
    assert leases.run_now(JOB, who="ada", now=NOON)
    assert due() == NOON
    assert claim()
    assert not leases.run_now(JOB, who="ada", now=NOON)
    entry = AuditEntry.objects.get()
    assert (entry.kind, entry.who, entry.what, entry.about) == ("job", "ada", "Requested a run.", "Made up")


@pytest.mark.django_db
def test_the_newest_fifty_runs_of_a_job_are_kept() -> None:
    other = runs.begin("other", 0)
    ids = [runs.begin(JOB.name, number) for number in range(runs.KEPT + 2)]
    newest = runs.newest([JOB.name, "other", "third"])
    assert [run.pk for run in newest[JOB.name]] == ids[:1:-1]
    assert [run.pk for run in newest["other"]] == [other]
    assert JobRun.objects.count() == runs.KEPT + 1


# --- processes -------------------------------------------------------------------------------------------------------


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes on the database of the test. They end with it."""
    with processes(tmp_path) as start:
        yield start


@contextmanager
def processes(folder: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(jobs: str, *options: str) -> subprocess.Popen[str]:
        environment = shared_site(folder / "data") | {
            "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
            "JOBS": jobs,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.maintenance.looping", str(folder), *options],
            cwd=PROJECT_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            with process:  # closes the pipes and waits
                process.kill()


def make_due(*names: str) -> None:
    for name in names:
        JobState.objects.create(name=name, due_ms=0)


def outcomes() -> list[tuple[str, str | None]]:
    return sorted(JobRun.objects.values_list("job", "outcome"))


def started_by(folder: Path, name: str) -> list[int]:
    """Return the process of each run of a job."""
    file = folder / name
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.django_db(transaction=True)
def test_two_processes_run_each_job_once_and_a_job_that_hangs_stops_no_other(start: Start, tmp_path: Path) -> None:
    names = ["hang", "crash", "die", "fail", "succeed"]
    make_due(*names)
    both = [start(" ".join(names), "--once") for _ in range(2)]
    for process in both:
        process.wait(60)
    assert outcomes() == [
        ("crash", "failed"),
        ("die", "abandoned"),
        ("fail", "failed"),
        ("hang", "timed_out"),
        ("succeed", "succeeded"),
    ]
    ended = {run.job: run for run in JobRun.objects.all()}
    assert ended["fail"].message == "It is broken. Repair it."
    assert ended["crash"].message.startswith("ValueError: not\ufffdstored?xxx")
    assert len(ended["crash"].message) == 2_000
    assert ended["die"].message == "Its process was killed by SIGKILL."
    assert (ended["succeed"].ended_ms or 0) < (ended["hang"].ended_ms or 0)
    assert not any(is_alive(pid) for name in names for pid in started_by(tmp_path, name))


@pytest.mark.django_db(transaction=True)
def test_a_killed_process_ends_its_job_and_another_one_runs_it_again(start: Start, tmp_path: Path) -> None:
    make_due("wait")
    first = start("wait")
    wait_until(lambda: started_by(tmp_path, "wait"), "the job never started")
    [child] = started_by(tmp_path, "wait")
    first.kill()
    wait_until(lambda: not is_alive(child), "the child outlives its parent")
    second = start("wait", "--once")
    assert second.wait(60) == 0
    assert outcomes() == [("wait", "abandoned"), ("wait", "succeeded")]
    state = JobState.objects.get()
    assert (state.outcome, state.message, state.holder) == ("succeeded", "Run again.", "")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["SIGTERM", "the parent ends"])
def test_a_stop_ends_the_job_at_once_and_gives_it_back(start: Start, tmp_path: Path, how: str) -> None:
    make_due("wait")
    process = start("wait")
    wait_until(lambda: started_by(tmp_path, "wait"), "the job never started")
    if how == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:
        assert process.stdin
        process.stdin.close()
    assert process.wait(60) == 0
    assert not is_alive(started_by(tmp_path, "wait")[0])
    assert outcomes() == [("wait", "abandoned")]
    state = JobState.objects.get()
    assert (state.holder, state.outcome) == ("", "abandoned")
    assert state.ended_ms == state.due_ms


@pytest.mark.django_db(transaction=True)
def test_a_stopped_process_loses_its_lease_and_ends_its_job(start: Start, tmp_path: Path) -> None:
    """As on a laptop that slept: the process goes on with a job that another one has taken over meanwhile."""
    make_due("wait")
    first = start("wait")
    wait_until(lambda: started_by(tmp_path, "wait"), "the job never started")
    os.kill(first.pid, signal.SIGSTOP)
    second = start("wait", "--once")
    assert second.wait(60) == 0
    os.kill(first.pid, signal.SIGCONT)
    assert first.stdout
    assert first.stdout.readline() == "wait abandoned False\n"
    assert not is_alive(started_by(tmp_path, "wait")[0])
    assert outcomes() == [("wait", "abandoned"), ("wait", "succeeded")]


@pytest.mark.django_db(transaction=True)
def test_the_loop_outlives_a_database_that_fails(start: Start, tmp_path: Path) -> None:
    make_due("succeed")
    table, moved = "events_jobrun", "moved_away"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {moved}")
    process = start("succeed")
    assert process.stderr
    line = process.stderr.readline()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {moved} RENAME TO {table}")
    assert "The jobs wait, because the database fails:" in line
    wait_until(lambda: outcomes() == [("succeed", "succeeded")], "the loop did not recover")
