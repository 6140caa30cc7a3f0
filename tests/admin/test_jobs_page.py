"""The page of the jobs, the button that requests a run, and the banners about jobs on every page."""

from datetime import timedelta

import pytest
from django.test import Client

from events import clock
from events.maintenance.jobs import registry
from events.models import AuditEntry, JobOutcome, JobRun, JobState
from tests.conftest import sign_in, text_of, turn_clock_to

pytestmark = pytest.mark.django_db
PATH = "/admin/events/jobstate/"
RUN = f"{PATH}run/"
IDLE = "No process runs the jobs, so the site does not maintain itself."


def keep(name: str = "counts", *, minutes: float = 60, **values: object) -> JobState:
    """Keep the row of a job that is due in so many minutes."""
    return JobState.objects.create(name=name, due_ms=clock.now_ms() + int(minutes * 60_000), **values)  # type: ignore[misc]


def page(client: Client, path: str = PATH) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return text_of(answer)


def test_a_new_site_lists_every_job_that_an_app_offers(client: Client) -> None:
    sign_in(client, "Staff")
    text = page(client)
    jobs = registry.registered()
    assert {"expired-sessions", "counts", "source-maps", "expired-tokens", "parity"} <= set(jobs)
    assert [job.title for job in jobs.values() if f">{job.title}<" not in text] == []
    assert text.count("It has not run yet.") == len(jobs)
    assert "daily at 03:40 UTC" in text
    assert "not planned yet" in text
    assert "Run now" not in text
    assert IDLE not in text


def test_the_last_run_and_the_next_one_are_shown_and_rows_of_former_jobs_are_not(client: Client) -> None:
    sign_in(client, "Maintainers")
    now = clock.now_ms()
    keep(minutes=200, started_ms=now - 7_200_000, outcome=JobOutcome.SUCCEEDED, message="All <b>agree</b>.")
    keep("parity", minutes=-1, holder="web-1:7:ab", started_ms=now - 95_000, heartbeat_ms=now)
    keep("former", outcome=JobOutcome.FAILED, message="Nobody repairs this.")
    JobRun.objects.create(job="counts", started_ms=now - 7_200_000, ended_ms=now - 7_137_900, outcome="succeeded")
    JobRun.objects.create(job="former", started_ms=0, ended_ms=1, outcome="failed", message="Nobody repairs this.")
    text = page(client)
    assert "2 h ago" in text
    assert "1 min 2 s" in text
    assert "All &lt;b&gt;agree&lt;/b&gt;." in text
    assert "in 3 h" in text
    assert "running on <bdi>web-1</bdi>" in text
    assert "1 min 35 s so far" in text
    assert "Nobody" not in text
    assert text.count(">Run now<") == len(registry.registered()) - 1


def test_the_last_fifty_runs_are_listed_the_newest_first(client: Client) -> None:
    sign_in(client, "Staff")
    for number in range(52):
        outcome = "failed" if number == 51 else "succeeded"
        JobRun.objects.create(
            job="counts", started_ms=number, ended_ms=number, outcome=outcome, message=f"Run {number}."
        )
    text = page(client)
    assert "The last 50 runs" in text
    assert text.index("Run 51.") < text.index("Run 50.") < text.index("Run 2.")
    assert "Run 1." not in text


def test_a_maintainer_requests_a_run(client: Client) -> None:
    sign_in(client, "Maintainers")
    answer = client.post(RUN, {"job": "counts"}, follow=True)
    assert "“Check the counts” runs within a few seconds." in text_of(answer)
    state = JobState.objects.get()
    assert (state.name, state.due_ms <= clock.now_ms()) == ("counts", True)
    assert AuditEntry.objects.get().who == "someone-Maintainers"
    JobState.objects.update(holder="web-1:7:ab", heartbeat_ms=clock.now_ms(), started_ms=clock.now_ms())
    assert "“Check the counts” is running already." in text_of(client.post(RUN, {"job": "counts"}, follow=True))
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("role", "method", "job", "status"),
    [
        ("Staff", "post", "counts", 403),
        (None, "post", "counts", 403),
        ("Maintainers", "get", "counts", 405),
        ("Maintainers", "post", "former", 404),
        ("Maintainers", "post", "a\0b", 404),
    ],
)
def test_other_requests_are_refused(client: Client, role: str | None, method: str, job: str, status: int) -> None:
    sign_in(client, role)
    assert getattr(client, method)(RUN, {"job": job}).status_code == status
    assert not JobState.objects.exists()


def test_a_post_to_the_list_and_a_stranger_are_refused(client: Client) -> None:
    assert client.get(PATH).status_code == 302
    sign_in(client, "Maintainers")
    assert client.post(PATH).status_code == 403


# --- banners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "minutes", "banner"),
    [
        (JobOutcome.SUCCEEDED, 60, None),
        (JobOutcome.FAILED, 60, "<strong>The job “Check the counts” failed.</strong> Do &lt;this&gt;."),
        (JobOutcome.TIMED_OUT, 60, "<strong>The job “Check the counts” exceeded its time limit.</strong>"),
        (JobOutcome.ABANDONED, 60, "<strong>The job “Check the counts” lost its process.</strong>"),
        (JobOutcome.ABANDONED, 0, None),  # it runs again now
        (None, 60, None),
    ],
)
def test_a_failed_job_shows_a_banner_on_every_page(
    client: Client, outcome: JobOutcome | None, minutes: int, banner: str | None
) -> None:
    keep(minutes=minutes, outcome=outcome, message="Do <this>.")
    sign_in(client, "Staff")
    for path in ("/admin/", "/admin/events/event/", PATH):
        text = page(client, path)
        assert ('class="banners"' in text) is bool(banner), path
        assert banner is None or banner in text, path


def test_the_fourth_failed_job_is_only_named(client: Client) -> None:
    for name in ("counts", "source-maps", "expired-tokens", "parity"):
        keep(name, outcome=JobOutcome.FAILED, message="x" * 400)
    sign_in(client, "Staff")
    text = page(client)
    assert text.count("<li><strong>The job") == 3
    assert f"{'x' * 299}…" in text
    assert "<strong>More jobs failed:</strong> Compare the old routes with /event." in text


@pytest.mark.parametrize(
    ("rows", "is_idle"),
    [
        ([{"minutes": -14}], False),
        ([{"minutes": -16}], True),
        ([{"minutes": -16}, {"minutes": 5, "ended_ms": -14}], False),  # the jobs run one after the other
        ([{"minutes": -16}, {"minutes": 5, "ended_ms": -16}], True),
        ([{"minutes": -60, "started_ms": -60, "heartbeat_ms": -1}], False),
        ([{"minutes": -60, "started_ms": -60, "heartbeat_ms": -16}], True),
    ],
)
def test_overdue_jobs_show_that_no_process_runs_them(
    client: Client, rows: list[dict[str, float]], is_idle: bool
) -> None:
    now_ms = clock.now_ms()
    for name, row in zip(registry.registered(), rows, strict=False):
        times = {key: now_ms + int(minutes * 60_000) for key, minutes in row.items() if key.endswith("_ms")}
        keep(name, minutes=row["minutes"], holder="web-1:7:ab" if "heartbeat_ms" in row else "", **times)
    sign_in(client, "Staff")
    assert (IDLE in page(client)) is is_idle


def test_a_site_whose_loop_never_ran_says_so_after_a_while(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client, "Staff")
    assert IDLE not in page(client, "/admin/")
    turn_clock_to(monkeypatch, int((clock.now() + timedelta(minutes=40)).timestamp()))
    assert IDLE in page(client, "/admin/")


def test_someone_without_a_right_sees_no_banner(client: Client) -> None:
    keep(outcome=JobOutcome.FAILED)
    sign_in(client)
    assert "banners" not in page(client, "/admin/")
    client.logout()
    assert "banners" not in page(client, "/admin/login/")
