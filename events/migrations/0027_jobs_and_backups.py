"""The jobs, their runs and the backups."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0026_dismissed_merges"),
    ]

    operations = [
        migrations.CreateModel(
            name="JobState",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("due_ms", models.BigIntegerField(verbose_name="next run")),
                ("holder", models.TextField(default="")),
                ("heartbeat_ms", models.BigIntegerField(null=True)),
                ("started_ms", models.BigIntegerField(null=True, verbose_name="last start")),
                ("ended_ms", models.BigIntegerField(null=True, verbose_name="last end")),
                ("succeeded_ms", models.BigIntegerField(null=True, verbose_name="last success")),
                (
                    "outcome",
                    models.TextField(
                        choices=[
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("timed_out", "exceeded its time limit"),
                            ("abandoned", "its process ended"),
                        ],
                        null=True,
                    ),
                ),
                ("message", models.TextField(default="")),
            ],
            options={
                "ordering": ["name"],
                "default_permissions": ("view", "change"),
            },
        ),
        migrations.CreateModel(
            name="Backup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField()),
                ("folder", models.TextField(default="")),
                ("host", models.TextField(default="")),
                ("made_ms", models.BigIntegerField(verbose_name="made")),
                ("file_bytes", models.BigIntegerField(verbose_name="size")),
                ("sha256", models.TextField()),
                ("is_encrypted", models.BooleanField(verbose_name="encrypted")),
                ("events", models.BigIntegerField()),
                ("proven_ms", models.BigIntegerField(null=True, verbose_name="proven")),
                ("problem", models.TextField(default="")),
            ],
            options={
                "ordering": ["-made_ms"],
                "default_permissions": ("view",),
                "constraints": [
                    models.UniqueConstraint(fields=("folder", "name"), name="events_backup_file"),
                    models.CheckConstraint(condition=models.Q(("file_bytes__gt", 0)), name="events_backup_not_empty"),
                ],
            },
        ),
        migrations.CreateModel(
            name="JobRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("job", models.TextField()),
                ("started_ms", models.BigIntegerField(verbose_name="started")),
                ("ended_ms", models.BigIntegerField(null=True, verbose_name="ended")),
                (
                    "outcome",
                    models.TextField(
                        choices=[
                            ("succeeded", "succeeded"),
                            ("failed", "failed"),
                            ("timed_out", "exceeded its time limit"),
                            ("abandoned", "its process ended"),
                        ],
                        null=True,
                    ),
                ),
                ("message", models.TextField(default="")),
            ],
            options={
                "default_permissions": (),
                "indexes": [models.Index(fields=["job", "-id"], name="events_jobrun_job")],
            },
        ),
    ]
