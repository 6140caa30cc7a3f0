"""`manage.py run_jobs --once`: the jobs that are due, one line for each, and the exit status."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from events import clock
from events.maintenance.jobs import registry
from events.models import JobState, LifetimeTotal
from tests.conftest import make_event
from tests.other_process import manage, shared_site

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
