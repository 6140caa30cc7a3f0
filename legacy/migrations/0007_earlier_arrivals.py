"""Mark the earlier rows that certainly arrived by an old route. Parity ignores the other earlier rows.

A row certainly arrived if no event was stored before it: the stream lacks its event, or was filled from the row. It
also arrived if its event arrived by `/event` at another time, because a switch copies the time, too. An import writes
rows with their original times, but none after its end.
"""

from django.db import migrations
from django.db.models import Exists, OuterRef, Q

ERASED = "erased-"  # The prefix of the name of an erased session.


def mark_arrived(apps, schema_editor):
    database = schema_editor.connection.alias
    events = apps.get_model("events", "Event").objects.using(database)
    runs = apps.get_model("legacy", "ImportRun").objects.using(database)
    last_import = runs.order_by("-finished_at").first()
    last_import_ms = int(last_import.finished_at.timestamp() * 1000) if last_import else 0

    logs = apps.get_model("legacy", "ClientLog").objects.using(database).filter(imported=False)
    sessions = apps.get_model("legacy", "LegacyCount").objects.using(database)
    sessions = sessions.exclude(session_id__startswith=ERASED)
    for rows, event, source, moment in (
        (logs, events.filter(id=OuterRef("event_id")), "client_log", "received_at_ms"),
        (
            sessions,
            events.filter(event_type="flash_success", session_id=OuterRef("session_id")),
            "increment",
            "counted_at_ms",
        ),
    ):
        rows.filter(Q(in_stream=False) | Exists(event.filter(source=source))).update(arrived=True)
        at_another_moment = event.filter(source="event").exclude(received_at_ms=OuterRef(moment))
        rows.filter(Exists(at_another_moment), **{f"{moment}__gt": last_import_ms}).update(arrived=True)


def nothing(apps, schema_editor):
    """The migration before this one removes the column."""


class Migration(migrations.Migration):
    dependencies = [("legacy", "0006_arrivals"), ("events", "0009_one_index_over_sessions")]

    operations = [migrations.RunPython(mark_arrived, nothing)]
