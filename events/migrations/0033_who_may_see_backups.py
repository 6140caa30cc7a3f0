"""Who may see backups, and the entries of restores in the audit log."""

from django.db import migrations, models

NAMES = {"view_backup": "Can view backup"}


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="backup")
    )
    for role in ("Staff", "Maintainers"):
        group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name=role)
        for codename, name in NAMES.items():
            permission, _ = permissions.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": name}
            )
            group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", codename__in=NAMES).delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0032_commit_buckets")]

    operations = [
        migrations.AlterField(
            model_name="auditentry",
            name="kind",
            field=models.TextField(
                choices=[
                    ("export", "Export"),
                    ("triage", "Triage"),
                    ("token", "Token"),
                    ("baseline", "Baseline"),
                    ("mode", "Mode"),
                    ("prune", "Prune"),
                    ("erasure", "Erasure"),
                    ("correction", "Correction"),
                    ("sourcemap", "Source map"),
                    ("job", "Job"),
                    ("restore", "Restore"),
                ]
            ),
        ),
        migrations.RunPython(grant, revoke),
    ]
