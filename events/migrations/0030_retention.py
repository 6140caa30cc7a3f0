"""Retention: the default of this site, the marks by event type, confirmations of the clock, and an index for counts."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0029_who_may_run_jobs"),
    ]

    operations = [
        migrations.CreateModel(
            name="RetentionDefault",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("days", models.SmallIntegerField(null=True)),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="events_retentiondefault_one_row")
                ],
            },
        ),
        migrations.AddField(
            model_name="retentionmark",
            name="of_types",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="siteday",
            name="clock_confirmed_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("source", "import"), ("source", "demo"), _connector="OR"),
                fields=["source", "event_type", "received_at_ms"],
                name="telemetry_events_kept",
            ),
        ),
    ]
