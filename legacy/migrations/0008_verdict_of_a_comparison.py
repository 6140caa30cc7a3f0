"""A comparison has one of three verdicts. Earlier comparisons have none, because they used another rule."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("legacy", "0007_earlier_arrivals")]

    operations = [
        migrations.AddField(
            model_name="parityrun",
            name="verdict",
            field=models.TextField(
                blank=True,
                choices=[("proven", "Proven"), ("drift", "Drift"), ("no evidence", "No Evidence")],
                db_default="",
                default="",
            ),
        ),
    ]
