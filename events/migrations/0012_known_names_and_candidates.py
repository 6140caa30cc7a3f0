"""Tables for known names and arrivals; the progress of a version towards a release."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0011_corrections")]

    operations = [
        migrations.CreateModel(
            name="Arrival",
            fields=[
                ("slot", models.IntegerField(primary_key=True, serialize=False)),
                ("key", models.TextField()),
                ("count", models.IntegerField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.CreateModel(
            name="KnownName",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("facet", models.TextField()),
                ("name", models.TextField()),
                ("first_day_ms", models.BigIntegerField()),
                ("last_day_ms", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("facet", "name"), name="events_knownname_name")],
            },
        ),
        migrations.AddField("release", "is_release", models.BooleanField(db_default=False)),
        migrations.AddField("release", "events", models.IntegerField(db_default=0)),
        migrations.AddField("release", "session_marks", models.TextField(db_default="")),
    ]
