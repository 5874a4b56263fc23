from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0010_pauses_and_samples"),
    ]

    operations = [
        migrations.AddField(
            model_name="steward",
            name="samples",
            field=models.JSONField(null=True),
        ),
        migrations.DeleteModel(name="Sample"),
    ]
