"""One row a day: the last start of the server, and the size of the database."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0013_fill_known_names")]

    operations = [
        migrations.CreateModel(
            name="SiteDay",
            fields=[
                ("seen_on", models.DateField(primary_key=True, serialize=False)),
                ("started_at_ms", models.BigIntegerField(null=True)),
                ("database_bytes", models.BigIntegerField()),
            ],
            options={"default_permissions": ()},
        ),
    ]
