"""Maintainers can mark failure groups as expected: the status, and the counts of the events of such groups."""

from django.db import migrations, models
from django.db.models import Q

_STATUSES = ["open", "resolved", "muted", "expected"]
_TYPES = ["flash_success", "flash_error", "connect_error", "window_error", "unhandled_rejection"]


class Migration(migrations.Migration):
    dependencies = [("events", "0021_facets")]

    operations = [
        migrations.RemoveConstraint(model_name="failuregroup", name="events_failuregroup_status"),
        migrations.AlterField(
            model_name="failuregroup",
            name="status",
            field=models.TextField(choices=[(status, status) for status in _STATUSES]),
        ),
        migrations.AddConstraint(
            model_name="failuregroup",
            constraint=models.CheckConstraint(
                condition=Q(("status__in", _STATUSES)), name="events_failuregroup_status"
            ),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="uncounted_before_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.CreateModel(
            name="ExpectedRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.TextField()),
                ("hour_ms", models.BigIntegerField()),
                ("event_type", models.TextField(choices=[(name, name) for name in _TYPES])),
                ("model", models.TextField()),
                ("app_version", models.TextField()),
                ("write_mode", models.SmallIntegerField()),
                ("connected", models.SmallIntegerField()),
                ("accepted", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["fingerprint", "hour_ms"], name="events_expectedrollup_group")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour_ms", "fingerprint", "model", "app_version", "write_mode", "connected"),
                        name="events_expectedrollup_bucket",
                    ),
                    models.CheckConstraint(condition=Q(("accepted__gte", 0)), name="events_expectedrollup_accepted"),
                ],
            },
        ),
    ]
