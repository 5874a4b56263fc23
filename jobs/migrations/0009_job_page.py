import django_mongodb_backend.fields
from django.db import migrations, models

TEXTS = django_mongodb_backend.fields.ArrayField(base_field=models.TextField(), null=True)
NAMES = django_mongodb_backend.fields.ArrayField(
    base_field=models.CharField(max_length=64), null=True
)
OF_JOBS = {
    "request_id": models.CharField(max_length=64, null=True),
    "idempotency_key": models.CharField(max_length=200, null=True),
    "copied_from": django_mongodb_backend.fields.ObjectIdField(null=True),
    "copied_to": django_mongodb_backend.fields.ObjectIdField(null=True),
}
OF_WORKERS = {
    "supervisor_pid": models.IntegerField(null=True),
    "types": NAMES,
    "quiet": models.BooleanField(null=True),
    "done": models.IntegerField(null=True),
    "failed": models.IntegerField(null=True),
    "rss_bytes": models.BigIntegerField(null=True),
    "cpu_percent": models.FloatField(null=True),
    "asked": models.CharField(max_length=8, null=True),
    "asked_at": models.DateTimeField(null=True),
    "asked_by": models.CharField(max_length=150, null=True),
}


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0008_search_and_groups"),
    ]

    operations = [
        # Without a write to each job: what is missing in a document is null.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(model_name="attempt", name="logs", field=TEXTS),
                *(
                    migrations.AddField(model_name="job", name=name, field=field)
                    for name, field in OF_JOBS.items()
                ),
            ]
        ),
        *(
            migrations.AddField(model_name="worker", name=name, field=field)
            for name, field in OF_WORKERS.items()
        ),
    ]
