"""The shares of failure groups are counted by UTC day. Earlier rows have the day 0, which means unknown."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0018_split_by_place")]

    operations = [
        migrations.AddField("groupshare", "day_ms", models.BigIntegerField(default=0), preserve_default=False),
        migrations.RemoveConstraint("groupshare", "events_groupshare_bucket"),
        migrations.AddConstraint(
            "groupshare",
            models.UniqueConstraint(fields=("fingerprint", "facet", "name", "day_ms"), name="events_groupshare_bucket"),
        ),
    ]
