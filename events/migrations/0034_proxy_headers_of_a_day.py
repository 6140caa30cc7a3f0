"""The proxy headers of the last page of a day, for commands that have no request."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0033_who_may_see_backups"),
    ]

    operations = [
        migrations.AddField(
            model_name="siteday",
            name="proxy_headers",
            field=models.TextField(null=True),
        ),
    ]
