"""A row of the old log records whether an import wrote it, so that a prune can keep such rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("legacy", "0003_roles_and_twins")]

    operations = [
        migrations.AddField(
            model_name="clientlog",
            name="imported",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
