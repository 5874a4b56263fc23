from typing import Any

from django.db import migrations, models

from jobs import audit


def begin_chain(apps: Any, schema_editor: Any) -> None:
    """What is written so far stays as it is; its hash goes into the genesis record."""
    audit.begin()


FIELDS = {
    "seq": models.IntegerField(null=True),
    "hash": models.CharField(max_length=64, null=True),
    "token": models.CharField(max_length=150, null=True),
    "address": models.CharField(max_length=64, null=True),
    "via": models.CharField(max_length=8, null=True),
    "request_id": models.CharField(max_length=64, null=True),
    "before": models.JSONField(null=True),
    "after": models.JSONField(null=True),
    "refused": models.BooleanField(null=True),
}


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0004_identity"),
    ]

    operations = [
        # A field that is missing reads as null: no entry needs to be written, or may be.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(model_name="auditentry", name=name, field=field)
                for name, field in FIELDS.items()
            ]
        ),
        migrations.AddConstraint(
            model_name="auditentry",
            constraint=models.UniqueConstraint(
                fields=["seq"], name="audit_seq", condition=models.Q(seq__gt=0)
            ),
        ),
        *(
            migrations.AddIndex(
                model_name="auditentry",
                index=models.Index(fields=[field, "-id"], name=f"audit_by_{field}"),
            )
            for field in ("actor", "action", "target")
        ),
        migrations.RunPython(begin_chain, migrations.RunPython.noop),
    ]
