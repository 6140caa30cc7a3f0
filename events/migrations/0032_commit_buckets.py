"""Histograms of the commits of events: their time, their size, and the queue behind them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0031_default_of_retention")]

    operations = [
        migrations.CreateModel(
            name="CommitBucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("measure", models.TextField()),
                ("bound", models.TextField()),
                ("count", models.BigIntegerField()),
                ("total", models.FloatField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("measure", "bound"), name="events_commitbucket_measure_bound"),
                    models.CheckConstraint(
                        condition=models.Q(("count__gte", 0), ("total__gte", 0)),
                        name="events_commitbucket_not_negative",
                    ),
                ],
            },
        ),
    ]
