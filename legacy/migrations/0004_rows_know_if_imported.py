"""An old row knows whether an import brought it, so that a prune can leave those alone."""

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
