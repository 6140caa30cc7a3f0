"""A bounded list of the hosts that were refused."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0009_one_index_over_sessions")]

    operations = [
        migrations.CreateModel(
            name="RefusedHost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seen_on", models.DateField()),
                ("host", models.TextField()),
                ("count", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("seen_on", "host"), name="events_refusedhost_day_host")
                ],
            },
        ),
    ]
