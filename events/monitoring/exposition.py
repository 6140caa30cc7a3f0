"""The figures of `GET /metrics/prometheus`, in the text format of Prometheus.

Every value comes from a row at the time of the scrape, so all processes answer the same, and a restart resets nothing.
No label has a value that a client can choose: there is no model, version or host. The number of queries is fixed, and
none of them counts events. The label of a job is `job_name`, because Prometheus adds a label `job` of its own.

A counter never goes down. So the events of a type include the successes that a correction made void: the total of
their type does not contain them.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from django.conf import settings
from django.db.models import Case, Count, F, Q, Subquery, Sum, TextField, Value, When
from django.db.models.functions import Coalesce
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from events.counting import site_days
from events.models import (
    Backup,
    CommitBucket,
    Correction,
    EventType,
    FailureGroup,
    GroupStatus,
    IngestTally,
    JobOutcome,
    JobState,
    LifetimeTotal,
)
from events.monitoring import commits
from events.querysets import SUCCESS

# The text format 0.0.4, which every Prometheus reads. OpenMetrics is not offered.
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Outcomes(NamedTuple):
    """How requests can end without a new event: the refusals, and the two outcomes that are no refusal.

    The caller passes them, because ingest defines them above this package. Tallies can have further outcomes, which
    other apps define; these count as refusals.
    """

    refusals: Sequence[str]
    duplicate: str
    shortened: str


def text(now_ms: int, outcomes: Outcomes) -> bytes:
    """Return the answer to one scrape. Raises DatabaseError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Rows(list(_metrics(now_ms, outcomes))))
    return generate_latest(registry)


class _Rows:
    """A collector of metrics that were read before: so an error of the database is raised here, not in the library."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _metrics(now_ms: int, outcomes: Outcomes) -> Iterator[Metric]:
    yield from _events()
    yield from _outcomes(outcomes)
    yield from _commits()
    yield from _storage()
    yield from _groups(now_ms)
    yield from _jobs()
    yield from _backups()


def _events() -> Iterator[Metric]:
    # One statement is one snapshot. With two, a correction in between would look like a restart of the counter.
    corrections = Correction.objects.order_by().annotate(all=Value(1)).values("all")
    voided = Subquery(corrections.annotate(sum=Sum(F("voided") - F("restored"))).values("sum"))
    totals = {total.event_type: total for total in LifetimeTotal.objects.annotate(voided=Coalesce(voided, 0))}
    events = CounterMetricFamily(
        "telemetry_events", "Stored events by type, including pruned and void ones.", labels=["type"]
    )
    last = GaugeMetricFamily(
        "telemetry_last_event_timestamp_seconds", "The time of the newest event by type.", labels=["type"]
    )
    for event_type in EventType.values:
        total = totals.get(event_type)
        void = total.voided if total and event_type == SUCCESS else 0
        events.add_metric([event_type], total.accepted + void if total else 0)
        if total and total.last_received_at_ms:
            last.add_metric([event_type], total.last_received_at_ms / 1000)
    yield events
    yield last
    success = totals.get(SUCCESS, LifetimeTotal())
    flashes = GaugeMetricFamily("telemetry_public_flashes", "The public count, without void successes.")
    flashes.add_metric([], success.baseline + success.accepted)
    yield flashes


def _outcomes(outcomes: Outcomes) -> Iterator[Metric]:
    rows = IngestTally.objects.values_list("outcome").annotate(total=Sum("count")).order_by("outcome")
    counts = dict.fromkeys([*outcomes.refusals, outcomes.duplicate, outcomes.shortened], 0) | dict(rows)
    yield _counter("telemetry_duplicates", "Events that were already stored.", counts.pop(outcomes.duplicate))
    yield _counter(
        "telemetry_shortened_events",
        "Failures stored without stack and log lines, because disk space was low.",
        counts.pop(outcomes.shortened),
    )
    refusals = CounterMetricFamily(
        "telemetry_refusals", "Requests and batch items that were refused, by reason.", labels=["reason"]
    )
    for reason, count in sorted(counts.items()):
        refusals.add_metric([reason], count)
    yield refusals


_HISTOGRAMS = {
    commits.SECONDS: ("telemetry_commit_duration_seconds", "The time of a commit of events, with its retries."),
    commits.EVENTS: ("telemetry_commit_size_events", "The number of events that were sent for one commit."),
    commits.QUEUED: (
        "telemetry_ingest_queue_requests",
        "The number of requests that waited behind a commit: for the next one, or for a thread.",
    ),
}


def _commits() -> Iterator[Metric]:
    rows = list(CommitBucket.objects.values_list("measure", "bound", "count", "total"))
    for measure, (name, help_text) in _HISTOGRAMS.items():
        stored = [(float(bound), count, total) for of, bound, count, total in rows if of == measure]
        bounds = [*commits.BOUNDS[measure], float(commits.INFINITE)]
        # A bound of another release is counted under the next higher one.
        buckets = [(_bound(bound), float(sum(count for at, count, _ in stored if at <= bound))) for bound in bounds]
        yield HistogramMetricFamily(name, help_text, buckets=buckets, sum_value=sum(total for *_, total in stored))


def _bound(bound: float) -> str:
    return commits.INFINITE if bound == float("inf") else str(float(bound))


def _storage() -> Iterator[Metric]:
    yield _gauge("telemetry_database_size_bytes", "The size of the database.", site_days.database_bytes())
    disk = shutil.disk_usage(settings.DATA_DIR)
    yield _gauge("telemetry_disk_free_bytes", "Free disk space under DATA_DIR.", disk.free)
    yield _gauge("telemetry_disk_size_bytes", "The size of the disk under DATA_DIR.", disk.total)
    least = settings.MIN_FREE_BYTES or 0
    yield _gauge("telemetry_disk_free_limit_bytes", "MIN_FREE_BYTES; 0 when it is off.", least)


def _groups(now_ms: int) -> Iterator[Metric]:
    expired = Q(status=GroupStatus.MUTED, muted_until_ms__lte=now_ms)
    status = Case(When(expired, then=Value(GroupStatus.OPEN.value)), default=F("status"), output_field=TextField())
    rows = FailureGroup.objects.order_by().annotate(now=status).values_list("now")
    counts: dict[str, int] = dict.fromkeys(GroupStatus.values, 0)
    regressed = 0
    for name, count, reopened in rows.annotate(count=Count("*"), reopened=Count("regressed_at_ms")):
        counts[name] = count
        if name == GroupStatus.OPEN:
            regressed = reopened
    groups = GaugeMetricFamily("telemetry_failure_groups", "Failure groups by status.", labels=["status"])
    for name, count in counts.items():
        groups.add_metric([name], count)
    yield groups
    yield _gauge("telemetry_regressed_failure_groups", "Open failure groups that were resolved before.", regressed)


def _jobs() -> Iterator[Metric]:
    jobs = list(JobState.objects.order_by("name"))
    outcomes = GaugeMetricFamily(
        "telemetry_job_last_outcome", "1 for the outcome of the last run of a job.", labels=["job_name", "outcome"]
    )
    for job in jobs:
        for outcome in JobOutcome.values:
            outcomes.add_metric([job.name, outcome], float(job.outcome == outcome))
    yield outcomes
    running = GaugeMetricFamily("telemetry_job_running", "1 while a process runs the job.", labels=["job_name"])
    for job in jobs:
        running.add_metric([job.name], float(bool(job.holder)))
    yield running
    for name, help_text, column in (
        ("start", "The last start of a job.", "started_ms"),
        ("end", "The last end of a job.", "ended_ms"),
        ("success", "The last end of a job with success.", "succeeded_ms"),
        ("heartbeat", "The last sign of life of a running job.", "heartbeat_ms"),
    ):
        times = GaugeMetricFamily(f"telemetry_job_last_{name}_timestamp_seconds", help_text, labels=["job_name"])
        for job in jobs:
            if (moment_ms := getattr(job, column)) is not None:
                times.add_metric([job.name], moment_ms / 1000)
        yield times
    due = GaugeMetricFamily("telemetry_job_next_run_timestamp_seconds", "The next run of a job.", labels=["job_name"])
    for job in jobs:
        due.add_metric([job.name], job.due_ms / 1000)
    yield due


def _backups() -> Iterator[Metric]:
    backups = list(Backup.objects.order_by("made_ms").values_list("made_ms", "proven_ms", "problem", "file_bytes"))
    states = {
        "proven": sum(bool(proven_ms and not problem) for _, proven_ms, problem, _ in backups),
        "unproven": sum(not proven_ms and not problem for _, proven_ms, problem, _ in backups),
        "damaged": sum(bool(problem) for *_, problem, _ in backups),
    }
    counts = GaugeMetricFamily("telemetry_backups", "Backups under BACKUP_DIR by state.", labels=["state"])
    for state, count in states.items():
        counts.add_metric([state], count)
    yield counts
    yield _gauge("telemetry_backups_size_bytes", "The size of all backups.", sum(size for *_, size in backups))
    usable = [(made_ms, proven_ms) for made_ms, proven_ms, problem, _ in backups if not problem]
    for name, help_text, moments in (
        ("backup", "The time of the newest backup that is not damaged.", [made_ms for made_ms, _ in usable]),
        (
            "proven_backup",
            "The time of the newest backup that a restore drill restored.",
            [made_ms for made_ms, proven_ms in usable if proven_ms],
        ),
    ):
        newest = GaugeMetricFamily(f"telemetry_newest_{name}_timestamp_seconds", help_text)
        if moments:
            newest.add_metric([], moments[-1] / 1000)
        yield newest


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_text, value=value)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=value)
