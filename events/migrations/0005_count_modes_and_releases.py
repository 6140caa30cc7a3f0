"""Count what is there already by mode and day, and note when each version came; groups are `regroup_failures`'s."""

from django.db import migrations
from django.db.models import Count, Max, Min

DAY_MS = 86_400_000
NO_RELEASES = ["dev", "unknown", "(other)"]


def count(apps, schema_editor):
    database = schema_editor.connection.alias
    events = apps.get_model("events", "Event").objects.using(database)
    modes = apps.get_model("events", "ModeRollup").objects.using(database)
    span = events.aggregate(first=Min("received_at_ms"), last=Max("received_at_ms"))
    if span["first"] is None:
        return
    for day_ms in range(span["first"] - span["first"] % DAY_MS, span["last"] + 1, DAY_MS):
        rows = (
            events.filter(received_at_ms__gte=day_ms, received_at_ms__lt=day_ms + DAY_MS)
            .values("event_type", "write_mode", "connected")
            .annotate(accepted=Count("*"))
            .order_by()
        )
        modes.bulk_create([modes.model(day_ms=day_ms, **row) for row in rows])
    # The names that have buckets of their own are those that are no flood.
    rollups = apps.get_model("events", "HourlyRollup").objects.using(database)
    releases = apps.get_model("events", "Release").objects.using(database)
    named = rollups.exclude(app_version__in=NO_RELEASES).values("app_version").annotate(first_seen_ms=Min("hour_ms"))
    releases.bulk_create([releases.model(**row) for row in named.order_by()])


def forget(apps, schema_editor):
    for name in ("ModeRollup", "Release"):
        apps.get_model("events", name).objects.using(schema_editor.connection.alias).all().delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0004_failures_have_groups")]

    operations = [migrations.RunPython(count, forget)]
