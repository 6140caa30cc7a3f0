"""Give the shares of failure groups the days that the stored events prove; the rest keeps the day 0.

Backwards, the days of each share are added up, because the earlier table has one row for all of them.
"""

from collections import Counter

from django.db import migrations
from django.db.models import Count, F, Sum

DAY_MS = 86_400_000
OTHER = "(other)"
COLUMNS = {"model": "model", "version": "app_version", "mode": "write_mode", "connected": "connected"}
KEYS = 50
ROWS = 500


def distribute(apps, schema_editor):
    database = schema_editor.connection.alias
    events = apps.get_model("events", "Event").objects.using(database).order_by()
    shares = apps.get_model("events", "GroupShare").objects.using(database)
    for keys in _batches(apps.get_model("events", "FailureGroup").objects.using(database)):
        counted = shares.filter(fingerprint__in=keys, day_ms=0).values_list("fingerprint", "facet", "name")
        left = Counter({tuple(share): count for *share, count in counted.annotate(Sum("accepted")).order_by()})
        rows = Counter()
        for (key, facet, name, day_ms), count in sorted(_stored(events.filter(fingerprint__in=keys)).items()):
            # On a day with too many names, an event was counted under OTHER.
            for share in ((key, facet, name), (key, facet, OTHER)):
                part = min(count, left[share])
                left[share] -= part
                rows[*share, day_ms] += part
                count -= part
        for share, count in left.items():
            rows[*share, 0] += count
        shares.filter(fingerprint__in=keys, day_ms=0).delete()
        _create(shares, rows)


def _stored(events):
    """Return the number of these events by group, facet, name and day."""
    day = F("received_at_ms") - F("received_at_ms") % DAY_MS
    alike = events.annotate(day=day).values_list("fingerprint", "day", *COLUMNS.values())
    counts = Counter()
    for key, day_ms, *names, count in alike.annotate(count=Count("*")):
        for facet, name in zip(COLUMNS, names, strict=True):
            counts[key, facet, str(name), day_ms] += count
    return counts


def _batches(groups):
    keys = list(groups.order_by("pk").values_list("pk", flat=True))
    return (keys[start : start + KEYS] for start in range(0, len(keys), KEYS))


def _create(shares, rows):
    columns = ("fingerprint", "facet", "name", "day_ms")
    new = [shares.model(**dict(zip(columns, row, strict=True)), accepted=count) for row, count in rows.items() if count]
    shares.bulk_create(new, batch_size=ROWS)


def add_up(apps, schema_editor):
    shares = apps.get_model("events", "GroupShare").objects.using(schema_editor.connection.alias)
    keys = list(shares.filter(day_ms__gt=0).order_by().values_list("fingerprint", flat=True).distinct())
    for start in range(0, len(keys), KEYS):
        batch = shares.filter(fingerprint__in=keys[start : start + KEYS])
        names = batch.order_by().values_list("fingerprint", "facet", "name")
        rows = {(*name, 0): count for *name, count in names.annotate(Sum("accepted"))}
        batch.delete()
        _create(shares, rows)


class Migration(migrations.Migration):
    dependencies = [("events", "0019_shares_by_day")]

    operations = [migrations.RunPython(distribute, add_up)]
