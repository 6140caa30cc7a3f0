"""An index with the hourly counts of groups, so that a sum reads no row of the table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0044_issues_of_groups"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="grouphour",
            index=models.Index(fields=["fingerprint", "hour_ms", "accepted"], name="events_grouphour_sums"),
        ),
    ]
