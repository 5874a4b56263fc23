from typing import Any

from django.db import migrations

from jobs import roles


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Roles were names only; from here on their groups hold permissions, which decide."""
    roles.make_groups()


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
    ]
