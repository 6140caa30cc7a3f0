"""Failure groups can be assigned to an account, and are marked when they are still failing after their decision."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0037_when_a_backup_was_copied"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="unfixed_at_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="assigned_to",
            field=models.ForeignKey(
                settings.AUTH_USER_MODEL,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                db_index=False,
            ),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="assigned_at_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="assigned_by_name",
            field=models.TextField(null=True),
        ),
        migrations.AddIndex(
            model_name="failuregroup",
            index=models.Index(
                fields=["unfixed_at_ms"], condition=Q(unfixed_at_ms__isnull=False), name="events_group_unfixed"
            ),
        ),
        migrations.AddIndex(
            model_name="failuregroup",
            index=models.Index(
                fields=["assigned_to"], condition=Q(assigned_to__isnull=False), name="events_group_assigned"
            ),
        ),
    ]
