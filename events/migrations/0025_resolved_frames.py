"""The original positions of frames, found with source maps."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0024_source_maps"),
    ]

    operations = [
        migrations.CreateModel(
            name="ResolvedFrame",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.TextField()),
                ("app_version", models.TextField(verbose_name="version")),
                ("file", models.TextField()),
                ("line", models.IntegerField()),
                ("column", models.IntegerField()),
                ("source_map", models.BigIntegerField()),
                ("map_version", models.TextField()),
                ("function", models.TextField(null=True)),
                ("token", models.TextField(null=True)),
                ("source_file", models.TextField(null=True)),
                ("source_line", models.IntegerField(null=True)),
                ("source_column", models.IntegerField(null=True)),
                ("context", models.TextField(null=True)),
                ("in_app", models.BooleanField(default=True)),
                ("unresolved", models.TextField(null=True)),
                ("attempts", models.SmallIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["file", "app_version"], name="events_resolvedframe_file"),
                    models.Index(
                        condition=models.Q(("unresolved", "resolving")),
                        fields=["source_map"],
                        name="events_resolvedframe_waiting",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("key",), name="events_resolvedframe_key"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("unresolved__isnull", False),
                            models.Q(
                                ("source_column__isnull", False),
                                ("source_file__isnull", False),
                                ("source_line__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="events_resolvedframe_resolved",
                    ),
                ],
            },
        ),
    ]
