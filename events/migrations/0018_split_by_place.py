"""Maintainers can split a failure group by the places in the code at which its failures occurred."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("events", "0017_merged_groups")]

    operations = [
        migrations.CreateModel(
            name="PlaceRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.TextField()),
                ("position", models.TextField()),
                ("joined", models.TextField()),
                ("frame", models.TextField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("fingerprint", "position"), name="events_placerule_position"),
                    models.CheckConstraint(
                        condition=~Q(joined=F("fingerprint")), name="events_placerule_joins_another"
                    ),
                ],
            },
        ),
    ]
