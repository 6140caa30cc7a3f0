"""`manage.py run_jobs --once`: the jobs that are due, one line for each, and the exit status."""

import re
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.utils.module_loading import import_string

from events import clock
from events.maintenance.jobs import registry
from events.models import Alert, AlertChannel, JobOutcome, JobState, LifetimeTotal
from tests.conftest import make_event
from tests.other_process import manage, shared_site
from tests.servers import PROJECT_DIR, inherited

pytestmark = pytest.mark.django_db(transaction=True)


def test_due_jobs_run_once_and_a_failed_one_sets_the_exit_status(tmp_path: Path) -> None:
    site = shared_site(tmp_path / "data")
    make_event()
    LifetimeTotal.objects.update(accepted=5)
    for name in ("counts", "expired-tokens"):
        JobState.objects.create(name=name, due_ms=0)
    first = manage(site, "run_jobs", "--once")
    output, errors = first.communicate(timeout=60)
    assert (first.returncode, errors) == (1, "CommandError: A job failed.\n")
    assert re.sub(r"[0-9.]+ s\.", "1.0 s.", output).splitlines() == [
        "counts: failed in 1.0 s. Counts differ from the stored events: lifetime total of flash_error: 5, but the sum"
        " of its hours is 1. Compare with “manage.py rebuild_rollups --check --from"
        f" {clock.today() - timedelta(days=1)}”, and repair without --check.",
        "expired-tokens: succeeded in 1.0 s. Revoked 0 expired tokens.",
    ]
    assert set(registry.registered()) == set(JobState.objects.values_list("name", flat=True))
    second = manage(site, "run_jobs", "--once")
    assert (second.communicate(timeout=60), second.returncode) == (("", ""), 0)


def test_the_rules_of_alerts_find_their_pages_in_the_process_of_a_job(tmp_path: Path) -> None:
    """The process of the jobs loads no page. An alert has a link to one."""
    site = shared_site(tmp_path / "data")
    now_ms = clock.now_ms()
    JobState.objects.create(name="counts", due_ms=now_ms + 3_600_000, outcome=JobOutcome.FAILED, ended_ms=now_ms)
    for name in ("alert-rules", "alerts"):
        JobState.objects.create(name=name, due_ms=0)
    AlertChannel.objects.create(
        name="ops", service="json", sealed_url="broken", kinds=["job"], added_at_ms=0, added_by_name="kim"
    )
    process = manage(site, "run_jobs", "--once")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, ""), output
    [alert] = Alert.objects.all()
    assert (alert.kind, alert.facts["problem"]) == ("job", "counts")
    assert "/admin/events/jobstate/" in str(alert.facts)


def test_the_process_that_waits_loads_no_code_of_requests_and_jobs(tmp_path: Path) -> None:
    """It waits for as long as the site runs, so its memory is what the jobs cost."""
    script = (
        "import sys, django; sys.argv = ['manage.py', 'run_jobs']; django.setup()\n"
        "from events.maintenance.jobs import registry\n"
        "print(len(registry.registered()), *sorted(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_DIR,
        env=inherited() | {"DJANGO_SETTINGS_MODULE": "telemetry_site.settings", "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert int(loaded[0]) == len(registry.registered())
    heavy = {"pydantic", "rest_framework.views", "events.admin", "events.ingest.writer", "events.reports"}
    assert not heavy & set(loaded)


def test_the_path_of_each_job_exists() -> None:
    paths = [job.work.args[0] for job in registry.registered().values() if isinstance(job.work, partial)]
    assert len(paths) > 5
    for path in paths:
        assert callable(import_string(path)), path
