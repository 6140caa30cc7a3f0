"""Which rows of the old log were imported, and every switch so far in the audit log."""

from django.db import migrations
from django.db.models.functions import Length

OUR_IDS = 32  # The ids of the old Worker are longer.


def mark_imported(apps, schema_editor):
    rows = apps.get_model("legacy", "ClientLog").objects.using(schema_editor.connection.alias)
    rows.alias(characters=Length("id")).exclude(characters=OUR_IDS).update(imported=True)


def copy_switches(apps, schema_editor):
    database = schema_editor.connection.alias
    entries = apps.get_model("events", "AuditEntry").objects.using(database)
    # This migration may run again after it was reversed, and its entries stay.
    known = set(entries.filter(kind="mode").values_list("at_ms", flat=True))
    cutovers = apps.get_model("legacy", "Cutover").objects.using(database)
    entries.bulk_create(
        [
            entries.model(
                at_ms=int(row.switched_at.timestamp() * 1000),
                kind="mode",
                who=row.switched_by_name,
                what=f"Switched the old routes to {row.mode}.",
                why=row.reason,
                about="",
                subject="",
            )
            for row in cutovers.order_by("pk")
            if int(row.switched_at.timestamp() * 1000) not in known
        ],
        batch_size=500,
    )


def nothing(apps, schema_editor):
    """The migration before this one removes the column. The audit log is append-only, so its entries stay."""


class Migration(migrations.Migration):
    dependencies = [("legacy", "0004_rows_know_if_imported"), ("events", "0007_audit_history")]

    operations = [
        migrations.RunPython(mark_imported, nothing),
        migrations.RunPython(copy_switches, nothing),
    ]
