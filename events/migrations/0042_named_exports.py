"""Exports that are stored under a name, and who may see and change them."""

from django.db import migrations, models
from django.db.models import Q

# Django makes permissions after the last migration, which is too late for this one. These are the same rows.
ACTIONS = {"Staff": ("view",), "Maintainers": ("view", "add", "change", "delete")}


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(database)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    content_type, _ = content_types.get_or_create(app_label="events", model="namedexport")
    for role, actions in ACTIONS.items():
        group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name=role)
        for action in actions:
            permission, _ = permissions.get_or_create(
                content_type=content_type,
                codename=f"{action}_namedexport",
                defaults={"name": f"Can {action} stored export"},
            )
            group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", content_type__model="namedexport").delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0041_tokens_in_the_admin")]

    operations = [
        migrations.CreateModel(
            name="NamedExport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(unique=True)),
                ("list_key", models.TextField()),
                ("filters", models.TextField()),
                ("columns", models.JSONField()),
                ("format", models.TextField()),
                ("created_at_ms", models.BigIntegerField()),
                ("created_by_name", models.TextField()),
            ],
            options={
                "verbose_name": "stored export",
                "ordering": ["name"],
                "default_permissions": ("view", "add", "change", "delete"),
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(("name__length__gte", 1), ("name__length__lte", 64)),
                        name="events_namedexport_name",
                    )
                ],
            },
        ),
        migrations.RunPython(grant, revoke),
    ]
