"""Maintainers can give a failure group advice, which the responses to its failures deliver."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("events", "0022_expected_groups")]

    operations = [
        migrations.AddField(
            model_name="failuregroup",
            name="advice_text",
            field=models.TextField(db_default="", default=""),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="advice_url",
            field=models.TextField(null=True),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="advised_at_ms",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="failuregroup",
            name="advised_by_name",
            field=models.TextField(null=True),
        ),
        migrations.AddConstraint(
            model_name="failuregroup",
            constraint=models.CheckConstraint(
                condition=Q(advice_text="", advice_url__isnull=True, advised_at_ms__isnull=True)
                | (~Q(advice_text="") & Q(advice_text__length__lte=280, advised_at_ms__isnull=False)),
                name="events_failuregroup_advice_text",
            ),
        ),
        migrations.AddConstraint(
            model_name="failuregroup",
            constraint=models.CheckConstraint(
                condition=Q(advice_url__isnull=True)
                | Q(advice_url__startswith="https://", advice_url__length__lte=2000),
                name="events_failuregroup_advice_url",
            ),
        ),
        migrations.CreateModel(
            name="AdviceDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.TextField()),
                ("day_ms", models.BigIntegerField()),
                ("delivered", models.BigIntegerField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=["fingerprint", "day_ms"], name="events_adviceday_bucket"),
                    models.CheckConstraint(condition=Q(delivered__gte=1), name="events_adviceday_delivered"),
                ],
            },
        ),
    ]
