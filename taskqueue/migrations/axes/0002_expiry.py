from typing import Any

from django.db import migrations

DAYS = 90  # for so long an address is known as one from where a person logs in


def expire_logins(apps: Any, schema_editor: Any) -> None:
    """Axes keeps every login for good; MongoDB deletes them after a time."""
    table = apps.get_model("axes", "AccessLog")._meta.db_table
    logins = schema_editor.connection.get_collection(table)
    logins.create_index("attempt_time", name="login_expiry", expireAfterSeconds=DAYS * 86400)


class Migration(migrations.Migration):
    dependencies = [("axes", "0001_initial")]

    operations = [migrations.RunPython(expire_logins, migrations.RunPython.noop)]
