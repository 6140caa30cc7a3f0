"""A row of the old log stores a keyed hash of its session: `/event` stores one failure per type and session."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("legacy", "0011_way_back_for_texts")]

    operations = [
        migrations.AddField(
            model_name="clientlog",
            name="session_key",
            field=models.TextField(db_default="", default=""),
        ),
    ]
