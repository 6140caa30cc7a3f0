"""Record whether this site is new. A new site deletes events after 90 days; an older one keeps them until told."""

from django.db import migrations

NEW_SITE_DAYS = 90
# Each start of a site leaves a row in one of these tables, and each event in another, also after it was deleted. On a
# new site this migration runs before the first start, so all of them are empty.
TRACES = (
    ("auth", "User"),
    ("events", "SiteDay"),
    ("events", "LifetimeTotal"),
    ("events", "Event"),
)


def record_default(apps, schema_editor):
    database = schema_editor.connection.alias
    is_new = not any(apps.get_model(*model).objects.using(database).exists() for model in TRACES)
    days = NEW_SITE_DAYS if is_new else None
    apps.get_model("events", "RetentionDefault").objects.using(database).create(id=1, days=days)


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0030_retention"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    # No work on the way back: the migration before this one drops the table.
    operations = [migrations.RunPython(record_default, migrations.RunPython.noop)]
