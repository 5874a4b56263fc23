from typing import Any

from django.db import migrations, models
from django_mongodb_backend.fields import ArrayField

from jobs import roles


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Roles were names only; from here on their groups hold permissions, which decide."""
    roles.make_groups()


def name_tokens(apps: Any, schema_editor: Any) -> None:
    """Tokens of older versions go on working: named by their user and by their digest."""
    nameless = apps.get_model("jobs", "ApiToken").objects.filter(public="")
    for token in nameless.select_related("user"):
        token.name = token.user.username[:100]
        token.public = token.digest[:8]
        token.save()


FIELDS: dict[str, Any] = {
    "name": models.CharField(max_length=100, default=""),
    "public": models.CharField(max_length=8, default=""),
    "role": models.CharField(max_length=8, default=""),
    "queues": ArrayField(models.CharField(max_length=64), default=list),
    "expires_at": models.DateTimeField(null=True),
    "revoked_at": models.DateTimeField(null=True),
    "last_used_at": models.DateTimeField(null=True),
}


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0003_tallies"),
        ("auth", "0001_initial"),
        ("contenttypes", "0001_initial"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="job",
            options={
                "default_permissions": (),
                "ordering": ["-id"],
                "permissions": list(roles.NAMES.items()),
            },
        ),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
        migrations.AlterModelOptions(name="apitoken", options={"ordering": ["-id"]}),
        *(
            migrations.AddField("apitoken", name, field, preserve_default=field.null)
            for name, field in FIELDS.items()
        ),
        migrations.AlterField("apitoken", "created_at", models.DateTimeField()),
        migrations.RunPython(name_tokens, migrations.RunPython.noop),
        migrations.AlterField("apitoken", "public", models.CharField(max_length=8, unique=True)),
    ]
