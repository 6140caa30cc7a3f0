"""The mode of the old routes, its history, and the columns that link the old tables to the unified stream."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("legacy", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Cutover",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("mode", models.TextField(choices=[("separate", "Separate"), ("alias", "Alias"), ("gone", "Gone")])),
                ("reason", models.TextField()),
                ("switched_by_name", models.TextField(verbose_name="switched by")),
                ("switched_at", models.DateTimeField(verbose_name="switched")),
                ("count_before", models.BigIntegerField()),
                ("count_after", models.BigIntegerField()),
                ("copied_to_stream", models.BigIntegerField()),
                ("copied_to_legacy", models.BigIntegerField()),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("add", "view"),
            },
        ),
        migrations.CreateModel(
            name="ImportRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("finished_at", models.DateTimeField(verbose_name="finished")),
                ("file_name", models.TextField(verbose_name="file")),
                ("successes_added", models.BigIntegerField()),
                ("report", models.JSONField()),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="ModeInForce",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("mode", models.TextField(choices=[("separate", "Separate"), ("alias", "Alias"), ("gone", "Gone")])),
                ("tables_dropped", models.BooleanField(default=False)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="ParityRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("checked_at", models.DateTimeField(verbose_name="checked")),
                ("holds", models.BooleanField()),
                ("days_held", models.IntegerField()),
                ("finding", models.JSONField()),
            ],
            options={
                "ordering": ["-id"],
                "default_permissions": ("view",),
            },
        ),
        migrations.AddField(
            model_name="clientlog",
            name="event_id",
            field=models.TextField(default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="clientlog",
            name="in_stream",
            field=models.BooleanField(default=True),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="legacycount",
            name="in_stream",
            field=models.BooleanField(default=True),
            preserve_default=False,
        ),
        migrations.AddIndex(
            model_name="clientlog",
            index=models.Index(fields=["event_id"], name="client_logs_event_id"),
        ),
        migrations.AddIndex(
            model_name="clientlog",
            index=models.Index(
                condition=models.Q(("in_stream", False)), fields=["id"], name="client_logs_not_in_stream"
            ),
        ),
        migrations.AddIndex(
            model_name="legacycount",
            index=models.Index(fields=["counted_at_ms"], name="legacy_count_counted_at"),
        ),
        migrations.AddIndex(
            model_name="legacycount",
            index=models.Index(
                condition=models.Q(("in_stream", False)), fields=["session_id"], name="legacy_count_not_in_stream"
            ),
        ),
        migrations.AddField(
            model_name="cutover",
            name="switched_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddConstraint(
            model_name="modeinforce",
            constraint=models.CheckConstraint(
                condition=models.Q(("mode__in", ["separate", "alias", "gone"])), name="legacy_modeinforce_mode"
            ),
        ),
        migrations.AddConstraint(
            model_name="modeinforce",
            constraint=models.CheckConstraint(condition=models.Q(("id", 1)), name="legacy_modeinforce_one_row"),
        ),
        migrations.AddConstraint(
            model_name="cutover",
            constraint=models.CheckConstraint(
                condition=models.Q(("mode__in", ["separate", "alias", "gone"])), name="legacy_cutover_mode"
            ),
        ),
    ]
