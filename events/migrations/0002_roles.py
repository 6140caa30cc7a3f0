"""Two roles: Maintainers look, triage, export and set the baseline; Staff look and export."""

from django.db import migrations

STAFF = {"event": ["view_event", "export_event"], "counterbaseline": ["view_counterbaseline"]}
MAINTAINERS = {
    "event": [*STAFF["event"], "triage_event"],
    "counterbaseline": ["view_counterbaseline", "add_counterbaseline"],
    "ingesttoken": ["view_ingesttoken", "change_ingesttoken"],
}
# Django makes permissions after the last migration, which is too late for this one. These are the same rows.
NAMES = {
    "view_event": "Can view event",
    "triage_event": "Can triage failures",
    "export_event": "Can export events as CSV",
    "view_counterbaseline": "Can view counter baseline",
    "add_counterbaseline": "Can add counter baseline",
    "view_ingesttoken": "Can view ingest token",
    "change_ingesttoken": "Can change ingest token",
}


def create_roles(apps, schema_editor):
    database = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(database)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    groups = apps.get_model("auth", "Group").objects.using(database)
    for role, rights in (("Staff", STAFF), ("Maintainers", MAINTAINERS)):
        group, _ = groups.get_or_create(name=role)
        for model, codenames in rights.items():
            content_type, _ = content_types.get_or_create(app_label="events", model=model)
            for codename in codenames:
                permission, _ = permissions.get_or_create(
                    content_type=content_type, codename=codename, defaults={"name": NAMES[codename]}
                )
                group.permissions.add(permission)


def delete_roles(apps, schema_editor):
    groups = apps.get_model("auth", "Group").objects.using(schema_editor.connection.alias)
    groups.filter(name__in=["Staff", "Maintainers"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(create_roles, delete_roles)]
