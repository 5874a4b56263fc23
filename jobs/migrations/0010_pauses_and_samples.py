import datetime

from django.db import migrations, models

import jobs.indexes


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0009_job_page"),
    ]

    operations = [
        migrations.AddField(
            model_name="queue",
            name="paused_reason",
            field=models.CharField(max_length=200, null=True),
        ),
        migrations.AddField(
            model_name="queue",
            name="paused_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name="Sample",
            fields=[
                (
                    "minute",
                    models.DateTimeField(db_column="_id", primary_key=True, serialize=False),
                ),
                ("by_status", models.JSONField()),
                ("pending", models.JSONField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "samples",
                "ordering": ["minute"],
                "indexes": [
                    jobs.indexes.TTLIndex(
                        after=datetime.timedelta(days=1), fields=["at"], name="sample_expiry"
                    )
                ],
            },
        ),
    ]
