"""Events are counted by facets of their metadata, and corrections by the facets of what they make void."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

from events.models import EventType


class Migration(migrations.Migration):
    dependencies = [("events", "0020_days_of_shares")]

    operations = [
        migrations.AlterField(model_name="groupshare", name="facet", field=models.TextField()),
        migrations.CreateModel(
            name="FacetRollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day_ms", models.BigIntegerField()),
                ("event_type", models.TextField(choices=EventType.choices)),
                ("facet", models.TextField()),
                ("name", models.TextField()),
                ("accepted", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=["day_ms", "event_type", "facet", "name"], name="events_facetrollup_bucket"
                    ),
                    models.CheckConstraint(condition=Q(accepted__gte=0), name="events_facetrollup_accepted"),
                ],
            },
        ),
        migrations.CreateModel(
            name="CorrectionFacet",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day_ms", models.BigIntegerField()),
                ("facet", models.TextField()),
                ("name", models.TextField()),
                ("voided", models.BigIntegerField()),
                ("restored", models.BigIntegerField(default=0)),
                (
                    "correction",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="facets",
                        to="events.correction",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=["correction", "day_ms", "facet", "name"], name="events_correctionfacet_key"
                    ),
                    models.CheckConstraint(
                        condition=Q(restored__gte=0) & Q(restored__lte=F("voided")),
                        name="events_correctionfacet_restored",
                    ),
                ],
            },
        ),
    ]
