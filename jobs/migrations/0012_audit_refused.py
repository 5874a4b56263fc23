from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0011_samples_in_reports"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                condition=models.Q(("refused", True)),
                fields=["refused", "-id"],
                name="audit_refused",
            ),
        ),
    ]
