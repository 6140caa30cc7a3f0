"""On reversal, copy the texts of the events into the rows of the old log that leave them out."""

from django.db import migrations
from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce

CHUNK = 500


def nothing(apps, schema_editor):
    """Existing rows contain their texts, and may keep them."""


def fill_in(apps, schema_editor):
    database = schema_editor.connection.alias
    events = apps.get_model("events", "Event").objects.using(database).filter(pk=OuterRef("pk"))
    rows = apps.get_model("legacy", "ClientLog").objects.using(database)
    waiting = rows.filter(text_in_stream=True).order_by("pk").values_list("pk", flat=True)
    after = ""
    while keys := list(waiting.filter(pk__gt=after)[:CHUNK]):
        rows.filter(pk__in=keys).update(
            stack=Subquery(events.values("stack")),
            log_lines_json=Coalesce(Subquery(events.values("log_lines_json")), F("log_lines_json")),
            text_in_stream=False,
        )
        after = keys[-1]


class Migration(migrations.Migration):
    dependencies = [("legacy", "0010_text_in_stream")]

    operations = [migrations.RunPython(nothing, fill_in)]
