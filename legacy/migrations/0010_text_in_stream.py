"""A row of the old log may leave its stack and log lines to its event, so that they are stored once."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("legacy", "0009_void_sessions")]

    operations = [
        migrations.AddField(
            model_name="clientlog",
            name="text_in_stream",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name="clientlog",
            constraint=models.CheckConstraint(
                condition=Q(text_in_stream=False)
                | Q(in_stream=True, imported=False, stack__isnull=True, log_lines_json="[]"),
                name="client_logs_text_in_stream",
            ),
        ),
    ]
