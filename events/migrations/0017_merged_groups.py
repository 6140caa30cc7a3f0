"""Maintainers can merge failure groups: the former groups, and the own fingerprint of each merged failure."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("events", "0016_groups_know_the_canonical_error")]

    operations = [
        migrations.AddField(
            model_name="event",
            name="merged_from",
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name="lifetimetotal",
            name="merges",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.CreateModel(
            name="FormerGroup",
            fields=[
                ("fingerprint", models.TextField(primary_key=True, serialize=False)),
                ("joined", models.TextField()),
                ("is_merged", models.BooleanField()),
                ("gave_decision", models.BooleanField()),
                ("row", models.JSONField()),
                ("moved_at_ms", models.BigIntegerField()),
                ("moved_by_name", models.TextField(null=True)),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["joined"], name="events_formergroup_joined")],
                "constraints": [
                    models.CheckConstraint(
                        condition=~Q(joined=F("fingerprint")), name="events_formergroup_joins_another"
                    )
                ],
            },
        ),
    ]
