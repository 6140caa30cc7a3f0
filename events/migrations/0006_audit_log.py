"""The audit log, which takes no change and no deletion, and since when events are whole."""

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

REFUSAL = "the audit log is append-only"
DO = {
    "sqlite": [
        f"CREATE TRIGGER events_auditentry_no_{verb.lower()} BEFORE {verb} ON events_auditentry"
        f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION events_auditentry_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "CREATE TRIGGER events_auditentry_append_only BEFORE UPDATE OR DELETE ON events_auditentry"
        " FOR EACH ROW EXECUTE FUNCTION events_auditentry_refuse()",
    ],
}
UNDO = {
    "sqlite": [f"DROP TRIGGER events_auditentry_no_{verb}" for verb in ("update", "delete")],
    "postgresql": [
        "DROP TRIGGER events_auditentry_append_only ON events_auditentry",
        "DROP FUNCTION events_auditentry_refuse()",
    ],
}


class AppendOnly(Operation):
    """Let the table refuse changes and deletions. A later migration that has SQLite make it anew must do it again."""

    reduces_to_sql = True

    def state_forwards(self, app_label, state):
        pass

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        for statement in DO[schema_editor.connection.vendor]:
            schema_editor.execute(statement)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        for statement in UNDO[schema_editor.connection.vendor]:
            schema_editor.execute(statement)

    def describe(self):
        return "Let the audit log be append-only"


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0005_count_modes_and_releases"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at_ms", models.BigIntegerField(verbose_name="when")),
                (
                    "kind",
                    models.TextField(
                        choices=[
                            ("export", "Export"),
                            ("triage", "Triage"),
                            ("token", "Token"),
                            ("baseline", "Baseline"),
                            ("mode", "Mode"),
                            ("prune", "Prune"),
                            ("erasure", "Erasure"),
                        ]
                    ),
                ),
                ("who", models.TextField()),
                ("what", models.TextField()),
                ("why", models.TextField()),
                ("about", models.TextField()),
                ("subject", models.TextField()),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit log",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("at_ms"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="events_audit_at",
                    ),
                    models.Index(
                        models.F("kind"),
                        models.OrderBy(models.F("at_ms"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="events_audit_kind",
                    ),
                    models.Index(
                        models.F("who"),
                        models.OrderBy(models.F("at_ms"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="events_audit_who",
                    ),
                    models.Index(
                        models.F("subject"),
                        models.OrderBy(models.F("at_ms"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        condition=models.Q(("subject", ""), _negated=True),
                        name="events_audit_subject",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RetentionMark",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("whole_since_ms", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="events_retentionmark_one_row")
                ],
            },
        ),
        AppendOnly(),
    ]
