"""Source maps, who may see and delete them, and the scopes of tokens. Tokens that exist keep the scope `ingest`."""

from django.db import migrations, models
from django.db.models import Q

STAFF = ["view_sourcemap"]
MAINTAINERS = [*STAFF, "delete_sourcemap"]
# Django makes permissions after the last migration, which is too late for this one. These are the same rows.
NAMES = {"view_sourcemap": "Can view source map", "delete_sourcemap": "Can delete source map"}


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="sourcemap")
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
    dependencies = [("events", "0023_advice_to_users")]

    operations = [
        migrations.AddField(
            model_name="ingesttoken",
            name="scopes",
            field=models.TextField(db_default="ingest"),
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
                ]
            ),
        ),
        migrations.CreateModel(
            name="SourceMap",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("app_version", models.TextField(verbose_name="version")),
                ("file", models.TextField()),
                ("digest", models.TextField()),
                ("bytes", models.IntegerField()),
                ("sources", models.IntegerField()),
                ("uploaded_at_ms", models.BigIntegerField(verbose_name="uploaded")),
                ("uploaded_by_name", models.TextField(verbose_name="uploaded by")),
                ("last_used_at_ms", models.BigIntegerField(null=True, verbose_name="last used")),
                ("content", models.BinaryField()),
            ],
            options={
                "default_permissions": ("view", "delete"),
                "indexes": [
                    models.Index(fields=["file", "uploaded_at_ms"], name="events_sourcemap_newest"),
                    models.Index(fields=["app_version", "uploaded_at_ms"], name="events_sourcemap_version"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=["app_version", "file"], name="events_sourcemap_file"),
                    models.CheckConstraint(condition=Q(bytes__gt=0) & Q(sources__gte=0), name="events_sourcemap_sizes"),
                ],
            },
        ),
        migrations.RunPython(grant, revoke),
    ]
