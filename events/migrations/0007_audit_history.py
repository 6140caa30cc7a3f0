"""What the admin's history told of exports, decisions and tokens, and every baseline, as the audit log's first entries.

And who may read it: Maintainers. The admin's history keeps its own rows, without what may name a session.
"""

import re

from django.db import migrations

NAMES_SOMEONE = re.compile(r"(?<![^?&\s])(session|q)=[^&\s]+")
KINDS = {"failuregroup": "triage", "ingesttoken": "token"}


def ms(at):
    return int(at.timestamp() * 1000)


def copy_history(apps, schema_editor):
    database = schema_editor.connection.alias
    history = apps.get_model("admin", "LogEntry").objects.using(database)
    baselines = apps.get_model("events", "CounterBaseline").objects.using(database)
    entries = apps.get_model("events", "AuditEntry").objects.using(database)
    if entries.exists():  # this migration went back and comes again
        return
    found = []
    ours = history.filter(content_type__app_label__in=("events", "legacy")).select_related("user", "content_type")
    for entry in ours.order_by("pk").iterator(1_000):
        words = NAMES_SOMEONE.sub(r"\1=…", entry.change_message)
        if words != entry.change_message:
            history.filter(pk=entry.pk).update(change_message=words)
        is_export = entry.object_repr == "CSV export"
        kind = "export" if is_export else KINDS.get(entry.content_type.model)
        if kind is None:
            continue
        found.append(
            entries.model(
                at_ms=ms(entry.action_time),
                kind=kind,
                who=entry.user.username,
                what=words,
                why="",
                about="" if is_export else entry.object_repr,
                subject=entry.object_id or "" if kind == "triage" else "",
            )
        )
    for row in baselines.order_by("pk"):
        found.append(
            entries.model(
                at_ms=ms(row.set_at),
                kind="baseline",
                who=row.set_by_name,
                what=f"Set the baseline to {row.value:,}.",
                why=row.note,
                about="",
                subject="",
            )
        )
    entries.bulk_create(sorted(found, key=lambda entry: entry.at_ms), batch_size=500)


def grant(apps, schema_editor):
    database = schema_editor.connection.alias
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(database)
        .get_or_create(app_label="events", model="auditentry")
    )
    permission, _ = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .get_or_create(content_type=content_type, codename="view_auditentry", defaults={"name": "Can view audit entry"})
    )
    group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name="Maintainers")
    group.permissions.add(permission)


def revoke(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.using(schema_editor.connection.alias)
    permissions.filter(content_type__app_label="events", codename="view_auditentry").delete()


def nothing(apps, schema_editor):
    """The table goes with the migration before this one; the admin's history still has its rows."""


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0006_audit_log"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(copy_history, nothing), migrations.RunPython(grant, revoke)]
