"""Staff see the jobs, and maintainers can also request a run, which the audit log records."""

from django.db import migrations, models

STAFF = ["view_jobstate"]
MAINTAINERS = [*STAFF, "change_jobstate"]
# Django makes permissions after the last migration, which is too late for this one. These are the same rows.
NAMES = {"view_jobstate": "Can view job", "change_jobstate": "Can change job"}


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="jobstate")
    )
    for role, codenames in (("Staff", STAFF), ("Maintainers", MAINTAINERS)):
        group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name=role)
        for codename in codenames:
            permission, _ = permissions.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": NAMES[codename]}
            )
            group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", codename__in=MAINTAINERS).delete()


class Migration(migrations.Migration):
    dependencies = [("events", "0028_daily_rollup")]

    operations = [
        migrations.AlterModelOptions(
            name="jobstate",
            options={"default_permissions": ("view", "change"), "ordering": ["name"], "verbose_name": "job"},
        ),
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
                ]
            ),
        ),
        migrations.RunPython(grant, revoke, elidable=False),
    ]
