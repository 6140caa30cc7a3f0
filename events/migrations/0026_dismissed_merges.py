"""Suggested merges that maintainers dismissed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0025_resolved_frames"),
    ]

    operations = [
        migrations.CreateModel(
            name="DismissedMerge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.TextField()),
                ("other", models.TextField()),
                ("dismissed_at_ms", models.BigIntegerField(verbose_name="dismissed")),
                ("dismissed_by_name", models.TextField(verbose_name="dismissed by")),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["other"], name="events_dismissedmerge_other")],
                "constraints": [
                    models.UniqueConstraint(fields=("fingerprint", "other"), name="events_dismissedmerge_pair"),
                    models.CheckConstraint(
                        condition=models.Q(("fingerprint__lt", models.F("other"))), name="events_dismissedmerge_order"
                    ),
                ],
            },
        ),
    ]
