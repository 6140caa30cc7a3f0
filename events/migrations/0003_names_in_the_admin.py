"""Recent failures, a name for the admin over the same table; a plainer name for baselines. No table changes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("events", "0002_roles")]

    operations = [
        migrations.CreateModel(
            name="RecentFailure",
            fields=[],
            options={
                "proxy": True,
                "default_permissions": (),
                "verbose_name": "recent failure",
                "indexes": [],
                "constraints": [],
            },
            bases=("events.event",),
        ),
        migrations.AlterModelOptions(
            name="counterbaseline",
            options={
                "default_permissions": ("add", "view"),
                "ordering": ["-id"],
                "verbose_name": "baseline",
                "verbose_name_plural": "baseline history",
            },
        ),
    ]
