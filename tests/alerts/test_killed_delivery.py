"""A process that is killed around the sending of a message, with a real listener: the message arrives once or twice."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from events import clock
from events.alerts import delivery, outbox, texts
from events.alerts.channels import sealing
from events.alerts.messages import Part
from events.models import AlertChannel, AlertDelivery, AlertKind
from tests.alerts.channels.listeners import hook
from tests.other_process import shared_site
from tests.servers import PROJECT_DIR

# Delivers, and kills itself before or after the message is sent.
PROGRAM = """
import os, signal, sys
import django
django.setup()
from events.alerts import delivery
from events.alerts.channels import sending

def send(channel, message):
    if sys.argv[1] == "after":
        sending.send(channel, message)
    os.kill(os.getpid(), signal.SIGKILL)

delivery.deliver(send)
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("moment", "times"), [("before", 1), ("after", 2)])
def test_a_message_arrives_although_its_process_is_killed(tmp_path: Path, moment: str, times: int) -> None:
    with hook() as listener:
        AlertChannel.objects.create(
            name="ops",
            sealed_url=sealing.seal(f"json://127.0.0.1:{listener.port}/"),
            service="json",
            kinds=[AlertKind.JOB],
            added_at_ms=1,
            added_by_name="olga",
        )
        outbox.write(AlertKind.JOB, "a", happened_at_ms=clock.now_ms(), facts=texts.facts_of(Part("The job failed")))
        environment: dict[str, Any] = shared_site(tmp_path / "data") | {
            "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
            "ALERT_ALLOW_HOSTS": f"127.0.0.1:{listener.port}",
            "SECRET_KEY": settings.SECRET_KEY,
        }
        killed = subprocess.run(
            [sys.executable, "-c", PROGRAM, moment], cwd=PROJECT_DIR, env=environment, capture_output=True, check=False
        )
        assert killed.returncode == -9, killed.stderr.decode()
        row = AlertDelivery.objects.get()
        assert (row.state, row.attempts, row.problem) == ("waiting", 1, delivery.INTERRUPTED)
        with override_settings(ALERT_ALLOW_HOSTS=[("127.0.0.1", listener.port)]):
            assert delivery.deliver().startswith("Sent 0 messages")  # the claim of the dead process still holds
            later = "Sent 1 message, 0 waiting."
            assert delivery.deliver(now_ms=lambda: clock.now_ms() + delivery.CLAIM_MS) == later
        assert [request.path for request in listener.requests] == ["/"] * times
        assert AlertDelivery.objects.get().state == "sent"
