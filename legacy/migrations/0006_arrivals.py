"""A row of the old tables records whether it arrived by an old route, and what parity may expect of it."""

from django.db import migrations, models


def boolean() -> models.BooleanField:
    return models.BooleanField(db_default=False, default=False)


class Migration(migrations.Migration):
    dependencies = [("legacy", "0005_imported_rows_and_switches")]

    operations = [
        migrations.AddField(model_name="clientlog", name="arrived", field=boolean()),
        migrations.AddField(model_name="clientlog", name="sent_to_event", field=boolean()),
        migrations.AddField(
            model_name="clientlog",
            name="refused_fields",
            field=models.TextField(db_default="", default=""),
        ),
        migrations.AddField(model_name="legacycount", name="arrived", field=boolean()),
        migrations.AddField(model_name="legacycount", name="sent_to_event", field=boolean()),
    ]
