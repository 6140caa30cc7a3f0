"""Corrections of the public count, and who may see and make them."""

import django.db.models.deletion
from django.db import migrations, models

STAFF = ["view_correction"]
MAINTAINERS = [*STAFF, "add_correction"]
# Django makes permissions after the last migration, which is too late for this one. These are the same rows.
NAMES = {"view_correction": "Can view correction", "add_correction": "Can add correction"}


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="correction")
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
    dependencies = [
        ("events", "0010_refused_hosts"),
    ]

    operations = [
        migrations.CreateModel(
            name="Correction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since_ms", models.BigIntegerField()),
                ("until_ms", models.BigIntegerField()),
                ("model", models.TextField(null=True)),
                ("app_version", models.TextField(null=True, verbose_name="version")),
                ("source", models.TextField(null=True)),
                ("reason", models.TextField()),
                ("made_by_name", models.TextField(verbose_name="made by")),
                ("made_at", models.DateTimeField(verbose_name="made")),
                ("matched", models.BigIntegerField()),
                ("voided", models.BigIntegerField(default=0)),
                ("finished_at", models.DateTimeField(null=True)),
                ("restored", models.BigIntegerField(default=0)),
                ("undo_reason", models.TextField(default="")),
                ("undone_by_name", models.TextField(default="")),
                ("undone_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("add", "view"),
            },
        ),
        migrations.CreateModel(
            name="CorrectionShare",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour_ms", models.BigIntegerField()),
                ("model", models.TextField()),
                ("app_version", models.TextField()),
                ("write_mode", models.SmallIntegerField()),
                ("connected", models.SmallIntegerField()),
                ("source", models.TextField()),
                ("first_ms", models.BigIntegerField()),
                ("voided", models.BigIntegerField()),
                ("restored", models.BigIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.AddField(
            model_name="event",
            name="correction",
            field=models.BigIntegerField(null=True),
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
                ]
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(
                condition=models.Q(("correction__isnull", False)),
                fields=["correction", "received_at_ms", "id"],
                name="telemetry_events_void",
            ),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(("restored__gte", 0), ("restored__lte", models.F("voided"))),
                name="events_correction_restored",
            ),
        ),
        migrations.AddField(
            model_name="correctionshare",
            name="correction",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="shares",
                to="events.correction",
            ),
        ),
        migrations.AddConstraint(
            model_name="correctionshare",
            constraint=models.UniqueConstraint(
                fields=("correction", "hour_ms", "model", "app_version", "write_mode", "connected", "source"),
                name="events_correctionshare_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="correctionshare",
            constraint=models.CheckConstraint(
                condition=models.Q(("restored__gte", 0), ("restored__lte", models.F("voided"))),
                name="events_correctionshare_restored",
            ),
        ),
        migrations.RunPython(grant, revoke),
    ]
