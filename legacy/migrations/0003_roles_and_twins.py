"""Rows from before this release arrived with their event, under one id. Adds the permissions for the mode."""

from django.db import migrations
from django.db.models import F

STAFF = ["view_clientlog", "view_cutover", "view_parityrun", "view_importrun"]
MAINTAINERS = [*STAFF, "add_cutover"]
NAMES = {
    "view_clientlog": "Can view old log row",
    "view_cutover": "Can view cutover",
    "add_cutover": "Can add cutover",
    "view_parityrun": "Can view parity run",
    "view_importrun": "Can view import run",
}


def fill_event_ids(apps, schema_editor):
    rows = apps.get_model("legacy", "ClientLog").objects.using(schema_editor.connection.alias)
    rows.filter(event_id="").update(event_id=F("id"))


def nothing(apps, schema_editor):
    """The migration before this one removes the columns."""


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(database)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    groups = apps.get_model("auth", "Group").objects.using(database)
    for role, codenames in (("Staff", STAFF), ("Maintainers", MAINTAINERS)):
        group, _ = groups.get_or_create(name=role)
        for codename in codenames:
            content_type, _ = content_types.get_or_create(app_label="legacy", model=codename.partition("_")[2])
            permission, _ = permissions.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": NAMES[codename]}
            )
            group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="legacy", codename__in=MAINTAINERS).delete()


class Migration(migrations.Migration):
    dependencies = [("legacy", "0002_cutover"), ("events", "0002_roles")]

    operations = [
        migrations.RunPython(fill_event_ids, nothing),
        migrations.RunPython(grant, revoke),
    ]
