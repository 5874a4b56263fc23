import datetime

import django_mongodb_backend.fields
from django.db import migrations, models

import jobs.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_operations"),
    ]

    operations = [
        migrations.CreateModel(
            name="Steward",
            fields=[
                (
                    "id",
                    django_mongodb_backend.fields.ObjectIdAutoField(
                        primary_key=True, serialize=False
                    ),
                ),
                ("host", models.CharField(max_length=255)),
                ("pid", models.IntegerField()),
                ("leading", models.BooleanField()),
                ("at", models.DateTimeField()),
                ("chores", models.JSONField()),
            ],
            options={
                "db_table": "stewards",
                "ordering": ["-leading", "id"],
                "indexes": [
                    jobs.indexes.TTLIndex(
                        after=datetime.timedelta(days=1), fields=["at"], name="steward_expiry"
                    )
                ],
            },
        ),
    ]
