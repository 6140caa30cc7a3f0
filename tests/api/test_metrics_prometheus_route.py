"""`GET /metrics/prometheus`: who may scrape, and the figures from the rows."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from events import clock
from events.api.access import WRONG_TOKENS
from events.counting import corrections
from events.counting.buckets import HOUR_MS
from events.ingest import tokens, writer
from events.ingest.refusals import RefusalReason
from events.ingest.tokens import Scope
from events.models import Backup, FailureGroup, GroupStatus, JobOutcome, JobState
from events.monitoring import commits
from tests.conftest import make_event, payload, sign_in, success
from tests.refusals import counted, expect_refusal

pytestmark = pytest.mark.django_db
PATH = "/metrics/prometheus"
METRICS, ADMIN = "the-metrics-token-of-tests", "the-admin-token-of-these-tests"
DAY_MS = 24 * HOUR_MS
NOW_MS = 1_770_919_200_000  # 2026-02-12 18:00 UTC


@pytest.fixture(autouse=True)
def _tokens(settings: Any) -> None:
    settings.METRICS_TOKEN, settings.ADMIN_TOKEN = METRICS, ADMIN


def scrape(token: str = METRICS, **headers: str) -> Any:
    return Client().get(PATH, headers={"authorization": f"Bearer {token}"} | headers)


def samples(answer: Any = None) -> dict[str, float]:
    """Return every sample of a scrape under its name with its labels."""
    families = text_string_to_metric_families((answer or scrape()).content.decode())
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


# --- who may -------------------------------------------------------------------------------------------------------


def test_without_both_tokens_the_route_does_not_exist(settings: Any) -> None:
    settings.METRICS_TOKEN = settings.ADMIN_TOKEN = ""
    expect_refusal(scrape(), 404, "Not found", None)


@pytest.mark.parametrize(
    ("metrics", "admin", "sent", "status"),
    [
        (METRICS, "", METRICS, 200),
        (METRICS, ADMIN, METRICS, 200),
        (METRICS, ADMIN, ADMIN, 200),
        ("", ADMIN, ADMIN, 200),
        ("", ADMIN, METRICS, 401),
        (METRICS, "", ADMIN, 401),
        (METRICS, ADMIN, METRICS[:-1], 401),
        (METRICS, ADMIN, METRICS + "ä", 401),
    ],
)
def test_each_of_two_tokens_opens_it(settings: Any, metrics: str, admin: str, sent: str, status: int) -> None:
    settings.METRICS_TOKEN, settings.ADMIN_TOKEN = metrics, admin
    assert scrape(sent).status_code == status


def test_a_wrong_token_is_refused_and_counted() -> None:
    answer = scrape("a wrong one")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    expect_refusal(answer, 401, "Unauthorized", RefusalReason.ADMIN_TOKEN)


def test_nobody_may_guess_for_ever() -> None:
    for _ in range(WRONG_TOKENS.attempts):
        assert scrape("a wrong one").status_code == 401
    assert scrape().status_code == 429
    assert Client().get("/failures", headers={"authorization": f"Bearer {ADMIN}"}).status_code == 429


def test_a_session_and_a_signed_token_do_not_open_it(client: Client) -> None:
    sign_in(client, "Maintainers")
    assert client.get(PATH).status_code == 401
    signed = tokens.issue("ci", who="someone", now=clock.now(), expires_at=None, scopes=[Scope.READ])
    assert scrape(signed).status_code == 401


def test_the_token_of_the_metrics_opens_nothing_else() -> None:
    for path in ("/failures", "/metrics/summary", "/recent"):
        assert Client().get(path, headers={"authorization": f"Bearer {METRICS}"}).status_code == 401


def test_the_answer_is_the_plain_text_format_also_for_who_prefers_openmetrics() -> None:
    answer = scrape(accept="application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert not answer.content.rstrip().endswith(b"# EOF")


# --- the figures ---------------------------------------------------------------------------------------------------


def test_events_and_refusals_are_counted_by_type_and_reason() -> None:
    for _ in range(3):
        make_event(received_at_ms=NOW_MS, **success())
    make_event(received_at_ms=NOW_MS + 1_500)
    writer.note_refusal(RefusalReason.ORIGIN)
    writer.note_refusal(RefusalReason.LEFT_OUT)
    writer.note_refusal("of another app")
    counted()
    found = samples()
    assert {name: value for name, value in found.items() if "event" in name and "commit" not in name} == {
        "telemetry_events_total type=flash_success": 3,
        "telemetry_events_total type=flash_error": 1,
        "telemetry_events_total type=connect_error": 0,
        "telemetry_events_total type=window_error": 0,
        "telemetry_events_total type=unhandled_rejection": 0,
        "telemetry_last_event_timestamp_seconds type=flash_success": NOW_MS / 1000,
        "telemetry_last_event_timestamp_seconds type=flash_error": NOW_MS / 1000 + 1.5,
        "telemetry_shortened_events_total": 1,
    }
    reasons = {name: value for name, value in found.items() if name.startswith("telemetry_refusals_total")}
    of_ingest = {reason.value for reason in RefusalReason} - {"duplicate", "left_out"}
    assert reasons == {f"telemetry_refusals_total reason={reason}": 0 for reason in of_ingest} | {
        "telemetry_refusals_total reason=origin": 1,
        "telemetry_refusals_total reason=of another app": 1,
    }


def test_no_correction_and_no_second_copy_lowers_a_counter(client: Client, post: Any) -> None:
    for _ in range(3):
        make_event(received_at_ms=NOW_MS, **success())
    body = payload()
    assert [post("/event", body).status_code for _ in range(2)] == [201, 200]
    before = samples()
    assert (before["telemetry_public_flashes"], before["telemetry_duplicates_total"]) == (3, 1)
    selection = corrections.Selection(NOW_MS, NOW_MS + 1)
    correction = corrections.begin(selection, who="someone", at=clock.now(), why="made up")
    assert sum(corrections.carry_out(correction)) == 3
    after = samples()
    assert after["telemetry_public_flashes"] == 0
    name = "telemetry_events_total type=flash_success"
    assert (before[name], after[name]) == (3, 3)


def test_commits_are_a_histogram_of_their_time_size_and_queue() -> None:
    writer.record_many([])  # not a commit of events
    commits.write({("seconds", 0): (3, 0.002), ("seconds", 13): (1, 12.5), ("events", 1): (4, 8.0)})
    commits.write({("seconds", 0): (1, 0.001), ("queued", 0): (4, 0.0)})
    found = {name.removeprefix("telemetry_"): value for name, value in samples().items()}
    assert {name: value for name, value in found.items() if name.startswith("commit_duration")} == {
        f"commit_duration_seconds_bucket le={bound}": 4
        for bound in (*commits.BOUNDS["seconds"][:9], 1.0, 2.5, 5.0, 10.0)
    } | {
        "commit_duration_seconds_bucket le=+Inf": 5,
        "commit_duration_seconds_count": 5,
        "commit_duration_seconds_sum": 12.503,
    }
    assert (found["commit_size_events_bucket le=1.0"], found["commit_size_events_bucket le=2.0"]) == (0, 4)
    assert (found["commit_size_events_count"], found["commit_size_events_sum"]) == (4, 8)
    assert (found["ingest_queue_requests_bucket le=0.0"], found["ingest_queue_requests_count"]) == (4, 4)


def test_groups_are_counted_by_their_status_now() -> None:
    keys = [make_event(message=f"Error of a kind {letter * 9}").fingerprint for letter in "abcde"]
    now = clock.now()
    for key, status, until_ms in (
        (keys[0], GroupStatus.MUTED, None),
        (keys[1], GroupStatus.MUTED, 1),  # the time is over
        (keys[2], GroupStatus.EXPECTED, None),
    ):
        FailureGroup.objects.filter(pk=key).update(status=status, muted_until_ms=until_ms)
    FailureGroup.objects.filter(pk=keys[3]).update(regressed_at_ms=int(now.timestamp() * 1000))
    assert {name: value for name, value in samples().items() if "group" in name} == {
        "telemetry_failure_groups status=open": 3,
        "telemetry_failure_groups status=resolved": 0,
        "telemetry_failure_groups status=muted": 1,
        "telemetry_failure_groups status=expected": 1,
        "telemetry_regressed_failure_groups": 1,
    }


def test_jobs_show_their_last_outcome_and_their_times() -> None:
    JobState.objects.create(name="backup", due_ms=9_000)
    JobState.objects.create(
        name="retention", due_ms=8_000, started_ms=5_000, ended_ms=6_500, succeeded_ms=4_000,
        outcome=JobOutcome.FAILED, holder="a", heartbeat_ms=6_000,
    )  # fmt: skip
    outcomes = {f"telemetry_job_last_outcome job_name={job} outcome={outcome}": 0.0
                for job in ("backup", "retention") for outcome in JobOutcome.values}  # fmt: skip
    assert {name: value for name, value in samples().items() if "_job_" in name} == outcomes | {
        "telemetry_job_last_outcome job_name=retention outcome=failed": 1,
        "telemetry_job_running job_name=backup": 0,
        "telemetry_job_running job_name=retention": 1,
        "telemetry_job_last_start_timestamp_seconds job_name=retention": 5,
        "telemetry_job_last_end_timestamp_seconds job_name=retention": 6.5,
        "telemetry_job_last_success_timestamp_seconds job_name=retention": 4,
        "telemetry_job_last_heartbeat_timestamp_seconds job_name=retention": 6,
        "telemetry_job_next_run_timestamp_seconds job_name=backup": 9,
        "telemetry_job_next_run_timestamp_seconds job_name=retention": 8,
    }


def test_backups_show_their_state_and_the_newest_of_them() -> None:
    for made_ms, proven_ms, problem in ((1_000, 1_500, ""), (2_000, None, ""), (3_000, 3_500, "one byte differs")):
        Backup.objects.create(
            name=f"{made_ms}.backup", made_ms=made_ms, file_bytes=10, sha256="", is_encrypted=False, events=0,
            proven_ms=proven_ms, problem=problem,
        )  # fmt: skip
    assert {name: value for name, value in samples().items() if "backup" in name} == {
        "telemetry_backups state=proven": 1,
        "telemetry_backups state=unproven": 1,
        "telemetry_backups state=damaged": 1,
        "telemetry_backups_size_bytes": 30,
        "telemetry_newest_backup_timestamp_seconds": 2,
        "telemetry_newest_proven_backup_timestamp_seconds": 1,
    }


def test_the_disk_and_the_database_have_their_sizes(settings: Any) -> None:
    settings.MIN_FREE_BYTES = 1_073_741_824
    found = samples()
    assert found["telemetry_database_size_bytes"] > 100_000
    assert 0 < found["telemetry_disk_free_bytes"] < found["telemetry_disk_size_bytes"]
    assert found["telemetry_disk_free_limit_bytes"] == 1_073_741_824


def test_no_name_that_a_client_chooses_is_in_the_answer() -> None:
    make_event(model="A-MODEL", app_version="a-version", message="a message", metadata_json='{"browser":"a browser"}')
    make_event(**success(model="A-MODEL", app_version="a-version"))
    text = scrape().content.decode().lower()
    assert [word for word in ("a-model", "a-version", "a message", "a browser") if word in text] == []


def test_a_scrape_asks_few_questions_and_never_for_events() -> None:
    make_event()
    with CaptureQueriesContext(connection) as queries:
        scrape()
    statements = [query["sql"] for query in queries.captured_queries]
    assert len(statements) == 7
    assert [sql for sql in statements if "telemetry_events" in sql] == []
