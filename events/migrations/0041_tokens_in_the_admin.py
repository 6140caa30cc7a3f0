"""Rate limits of tokens, and who may issue tokens. Tokens that exist keep the limits of the site."""

from django.db import migrations, models
from django.db.models import Q

# Django makes permissions after the last migration, which is too late for this one. This is the same row.
ADD = "add_ingesttoken"


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="ingesttoken")
    )
    permission, _ = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .get_or_create(content_type=content_type, codename=ADD, defaults={"name": "Can add ingest token"})
    )
    group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name="Maintainers")
    group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", codename=ADD).delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0040_sums_of_expected_events")]

    operations = [
        migrations.AlterModelOptions(
            name="ingesttoken",
            options={"default_permissions": ("view", "add", "change"), "ordering": ["name"]},
        ),
        migrations.AddField(
            model_name="ingesttoken",
            name="rate",
            field=models.TextField(db_default=""),
        ),
        migrations.AddConstraint(
            model_name="ingesttoken",
            constraint=models.CheckConstraint(condition=~Q(scopes=""), name="events_ingesttoken_has_scope"),
        ),
        migrations.RunPython(grant, revoke),
    ]
