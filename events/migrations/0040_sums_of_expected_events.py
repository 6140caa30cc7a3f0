"""The sums of the hourly counts of expected events by past day."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0039_visits_of_staff"),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyExpected",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day_ms", models.BigIntegerField()),
                (
                    "event_type",
                    models.TextField(
                        choices=[
                            ("flash_success", "flash_success"),
                            ("flash_error", "flash_error"),
                            ("connect_error", "connect_error"),
                            ("window_error", "window_error"),
                            ("unhandled_rejection", "unhandled_rejection"),
                        ]
                    ),
                ),
                ("model", models.TextField()),
                ("app_version", models.TextField()),
                ("accepted", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("day_ms", "event_type", "model", "app_version"), name="events_dailyexpected_bucket"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("accepted__gt", 0)), name="events_dailyexpected_accepted"
                    ),
                ],
            },
        ),
    ]
