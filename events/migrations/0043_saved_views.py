"""Saved views of the lists of the admin, and who may save them for everybody."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

# Django makes permissions after the last migration, which is too late for this one. This is the same row.
CODENAME, NAME = "share_savedview", "Can save views of lists for everybody"


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="savedview")
    )
    permission, _ = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .get_or_create(content_type=content_type, codename=CODENAME, defaults={"name": NAME})
    )
    group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name="Maintainers")
    group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", codename=CODENAME).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0042_named_exports"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

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
                    ("alert", "Alert"),
                    ("view", "View"),
                ]
            ),
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("list", models.TextField()),
                ("name", models.TextField()),
                ("query", models.TextField()),
                ("created_by_name", models.TextField()),
                ("created_at_ms", models.BigIntegerField()),
                (
                    "owner",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": [(CODENAME, NAME)],
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("owner", "list", "name"), name="events_savedview_owner_list_name"),
                    models.UniqueConstraint(
                        condition=Q(owner__isnull=True),
                        fields=("list", "name"),
                        name="events_savedview_everybody_list_name",
                    ),
                    models.CheckConstraint(
                        condition=Q(name__length__gte=1, name__length__lte=64), name="events_savedview_name"
                    ),
                    models.CheckConstraint(condition=Q(query__length__lte=2_000), name="events_savedview_query"),
                ],
            },
        ),
        migrations.RunPython(grant, revoke),
    ]
