"""*Recent failures* has a view permission of its own. Roles and users that may view events get it."""

from django.db import migrations


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    # Django creates permissions after the last migration, so this one creates the row. It has the same values.
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="recentfailure")
    )
    permission, _ = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .get_or_create(
            content_type=content_type, codename="view_recentfailure", defaults={"name": "Can view recent failure"}
        )
    )
    view_event = {"content_type__app_label": "events", "content_type__model": "event", "codename": "view_event"}
    for model, field in (("Group", "permissions"), ("User", "user_permissions")):
        filters = {f"{field}__{name}": value for name, value in view_event.items()}
        for holder in apps.get_model("auth", model).objects.using(database).filter(**filters).distinct():
            getattr(holder, field).add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", codename="view_recentfailure").delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0014_site_days")]

    operations = [
        migrations.AlterModelOptions(
            name="recentfailure",
            options={"default_permissions": ("view",), "verbose_name": "recent failure"},
        ),
        migrations.RunPython(grant, revoke),
    ]
