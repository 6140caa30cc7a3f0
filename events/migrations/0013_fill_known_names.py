"""Fill the known names from the hourly counts, and find the versions that meet the conditions of a release."""

from django.db import migrations
from django.db.models import Count, Max, Min

DAY_MS = 86_400_000
SUCCESS = "flash_success"
ROWS = 500


def fill(apps, schema_editor):
    database = schema_editor.connection.alias
    rollups = apps.get_model("events", "HourlyRollup").objects.using(database).filter(accepted__gt=0)
    known = apps.get_model("events", "KnownName").objects.using(database)
    for facet, column in (("model", "model"), ("version", "app_version")):
        spans = rollups.exclude(**{f"{column}__in": ["unknown", "(other)"]}).order_by().values_list(column)
        known.bulk_create(
            (
                known.model(
                    facet=facet, name=name, first_day_ms=first - first % DAY_MS, last_day_ms=last - last % DAY_MS
                )
                for name, first, last in spans.annotate(Min("hour_ms"), Max("hour_ms"))
            ),
            batch_size=ROWS,
        )
    events = apps.get_model("events", "Event").objects.using(database)
    with_success = rollups.filter(event_type=SUCCESS).values_list("app_version", flat=True)
    from_sessions = (
        events.order_by()
        .values("app_version")
        .annotate(events=Count("*"), sessions=Count("session_id", distinct=True))
        .filter(events__gte=5, sessions__gte=3)
        .values_list("app_version", flat=True)
    )
    versions = sorted({*with_success, *from_sessions})
    releases = apps.get_model("events", "Release").objects.using(database)
    for start in range(0, len(versions), ROWS):
        releases.filter(app_version__in=versions[start : start + ROWS]).update(is_release=True)


def forget(apps, schema_editor):
    database = schema_editor.connection.alias
    apps.get_model("events", "KnownName").objects.using(database).all().delete()
    apps.get_model("events", "Release").objects.using(database).update(is_release=False)


class Migration(migrations.Migration):
    dependencies = [("events", "0012_known_names_and_candidates")]

    operations = [migrations.RunPython(fill, forget)]
