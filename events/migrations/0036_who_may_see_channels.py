"""Requests for test messages, and who may see alerts and set up their channels."""

from django.db import migrations, models

# Django makes permissions after the last migration, which is too late for this one. These are the same rows.
STAFF = [("alertchannel", "view", "alert channel"), ("alert", "view", "alert")]
MAINTAINERS = [*STAFF, *(("alertchannel", action, "alert channel") for action in ("add", "change", "delete"))]


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(database)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    for role, granted in (("Staff", STAFF), ("Maintainers", MAINTAINERS)):
        group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name=role)
        for model, action, name in granted:
            content_type, _ = content_types.get_or_create(app_label="events", model=model)
            permission, _ = permissions.get_or_create(
                content_type=content_type, codename=f"{action}_{model}", defaults={"name": f"Can {action} {name}"}
            )
            group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    codenames = [f"{action}_{model}" for model, action, _ in MAINTAINERS]
    permissions.filter(content_type__app_label="events", codename__in=codenames).delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0035_alerts")]

    operations = [
        migrations.AddField(
            model_name="alertchannel",
            name="test_requested_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.RunPython(grant, revoke),
    ]
