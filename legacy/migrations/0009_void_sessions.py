"""A correction of the public count can make a session of the old counter void."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("legacy", "0008_verdict_of_a_comparison"),
    ]

    operations = [
        migrations.AddField(
            model_name="legacycount",
            name="added_by_correction",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="legacycount",
            name="correction",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name="legacycount",
            index=models.Index(
                condition=models.Q(("correction__isnull", False)), fields=["correction"], name="legacy_count_void"
            ),
        ),
    ]
