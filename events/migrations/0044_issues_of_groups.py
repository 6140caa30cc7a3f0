"""Failure groups have the address of their issue in a tracker."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0043_saved_views"),
    ]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="issue_url",
            field=models.TextField(null=True, verbose_name="issue"),
        ),
        migrations.AddField(
            model_name="formergroup",
            name="gave_issue",
            field=models.BooleanField(default=False, db_default=False),
        ),
        migrations.AddConstraint(
            model_name="failuregroup",
            constraint=models.CheckConstraint(
                condition=Q(issue_url__isnull=True) | Q(issue_url__startswith="https://", issue_url__length__lte=500),
                name="events_failuregroup_issue_url",
            ),
        ),
    ]
