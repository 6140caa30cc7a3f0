"""When each backup was copied into the bucket of BACKUP_URL."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0036_who_may_see_channels"),
    ]

    operations = [
        migrations.AddField(
            model_name="backup",
            name="copied_ms",
            field=models.BigIntegerField(null=True, verbose_name="copied"),
        ),
    ]
