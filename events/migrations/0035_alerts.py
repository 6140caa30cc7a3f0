"""The tables of alerts: what happened, the channels, and the deliveries; the audit log gets a kind for them."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0034_proxy_headers_of_a_day"),
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
                ]
            ),
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("new", "new failure"),
                            ("regression", "regression"),
                            ("release", "worse release"),
                            ("rate", "failure rate"),
                            ("silence", "silence"),
                            ("job", "jobs and backups"),
                            ("disk", "disk space"),
                            ("parity", "parity with the old system"),
                            ("summary", "Monday's digest"),
                        ]
                    ),
                ),
                ("key", models.TextField()),
                ("subject", models.TextField(default="")),
                ("facts", models.JSONField(default=dict)),
                ("happened_at_ms", models.BigIntegerField(verbose_name="happened")),
                ("planned_at_ms", models.BigIntegerField(null=True)),
            ],
            options={
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("planned_at_ms__isnull", True)),
                        fields=["id"],
                        name="events_alert_unplanned",
                    ),
                    models.Index(fields=["happened_at_ms", "id"], name="events_alert_happened"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                ["new", "regression", "release", "rate", "silence", "job", "disk", "parity", "summary"],
                            )
                        ),
                        name="events_alert_kind",
                    ),
                    models.UniqueConstraint(fields=("kind", "key"), name="events_alert_once"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AlertChannel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(unique=True)),
                ("sealed_url", models.TextField(default="")),
                ("service", models.TextField()),
                ("kinds", models.JSONField(default=list)),
                ("is_on", models.BooleanField(default=True, verbose_name="on")),
                ("added_at_ms", models.BigIntegerField(verbose_name="added")),
                ("added_by_name", models.TextField(verbose_name="added by")),
                ("delivered_at_ms", models.BigIntegerField(null=True, verbose_name="last message")),
                ("problem", models.TextField(default="")),
                (
                    "person",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "verbose_name": "alert channel",
                "ordering": ["name"],
                "default_permissions": ("view", "add", "change", "delete"),
            },
        ),
        migrations.CreateModel(
            name="AlertDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.TextField(
                        choices=[("waiting", "waiting"), ("sent", "sent"), ("given_up", "given up")], default="waiting"
                    ),
                ),
                ("due_ms", models.BigIntegerField(verbose_name="next attempt")),
                ("attempts", models.IntegerField(default=0)),
                ("ended_at_ms", models.BigIntegerField(null=True, verbose_name="ended")),
                ("problem", models.TextField(default="")),
                (
                    "alert",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="events.alert"
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="deliveries", to="events.alertchannel"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.AddConstraint(
            model_name="alertchannel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("person__isnull", True), models.Q(("sealed_url", ""), _negated=True)),
                    models.Q(("person__isnull", False), ("sealed_url", "")),
                    _connector="OR",
                ),
                name="events_alertchannel_destination",
            ),
        ),
        migrations.AddIndex(
            model_name="alertdelivery",
            index=models.Index(fields=["state", "channel", "due_ms"], name="events_alertdelivery_due"),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "sent", "given_up"])), name="events_alertdelivery_state"
            ),
        ),
        migrations.AddConstraint(
            model_name="alertdelivery",
            constraint=models.UniqueConstraint(fields=("alert", "channel"), name="events_alertdelivery_once"),
        ),
    ]
