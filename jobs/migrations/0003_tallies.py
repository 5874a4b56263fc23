import datetime
from typing import Any

import django_mongodb_backend.fields
from django.db import migrations, models

import jobs.indexes
from jobs import counting


def count_all(apps: Any, schema_editor: Any) -> None:
    """The jobs of an older version are in no total yet."""
    counting.correct()


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0002_accepted_requests"),
    ]

    operations = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                (
                    "id",
                    django_mongodb_backend.fields.ObjectIdAutoField(
                        primary_key=True, serialize=False
                    ),
                ),
                ("worker", django_mongodb_backend.fields.ObjectIdField()),
                (
                    "jobs",
                    django_mongodb_backend.fields.ArrayField(
                        base_field=django_mongodb_backend.fields.ObjectIdField()
                    ),
                ),
                (
                    "claims",
                    django_mongodb_backend.fields.ArrayField(base_field=models.IntegerField()),
                ),
                (
                    "statuses",
                    django_mongodb_backend.fields.ArrayField(
                        base_field=models.CharField(max_length=9)
                    ),
                ),
                (
                    "new",
                    django_mongodb_backend.fields.ArrayField(
                        base_field=django_mongodb_backend.fields.ObjectIdField()
                    ),
                ),
                ("opened_at", models.DateTimeField()),
                ("counted_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "receipts",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Tally",
            fields=[
                (
                    "id",
                    models.CharField(
                        db_column="_id", max_length=255, primary_key=True, serialize=False
                    ),
                ),
                ("queue", models.CharField(max_length=64)),
                ("priority", models.CharField(max_length=6, null=True)),
                ("type", models.CharField(max_length=64, null=True)),
                ("minute", models.DateTimeField(null=True)),
                ("stripe", models.IntegerField()),
            ],
            options={
                "verbose_name_plural": "tallies",
                "db_table": "tallies",
                "ordering": ["id"],
            },
        ),
        migrations.RemoveIndex(
            model_name="job",
            name="expiry",
        ),
        # A field that is missing reads as null: no document needs to be written.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name="attempt",
                    name="receipt",
                    field=django_mongodb_backend.fields.ObjectIdField(null=True),
                ),
                migrations.AddField(
                    model_name="job",
                    name="uncounted",
                    field=models.BooleanField(null=True),
                ),
            ]
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(("uncounted", True)),
                fields=["uncounted", "created_at"],
                name="uncounted",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    ("expire_at__gt", datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.UTC))
                ),
                fields=["expire_at"],
                name="expired",
            ),
        ),
        migrations.AddIndex(
            model_name="receipt",
            index=jobs.indexes.TTLIndex(
                after=datetime.timedelta(days=1), fields=["counted_at"], name="counted"
            ),
        ),
        migrations.AddIndex(
            model_name="tally",
            index=models.Index(fields=["type", "queue", "minute"], name="by_minute"),
        ),
        migrations.AddIndex(
            model_name="tally",
            index=jobs.indexes.TTLIndex(
                after=datetime.timedelta(days=14), fields=["minute"], name="minute_expiry"
            ),
        ),
        migrations.RunPython(count_all, migrations.RunPython.noop),
    ]
