"""`manage.py unlock NAME`: let somebody try to log in again."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from jobs import services
from jobs.management.outage import outage


class Command(BaseCommand):
    help = "Forget the failed logins of a name, so that it may try again at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="as it is typed in to log in")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        with outage("Whether the name is locked is unknown."):
            forgotten = services.unlock(name, actor="manage.py")
        found = (
            f"{forgotten} failed logins are forgotten" if forgotten else "there was none to forget"
        )
        self.stdout.write(f"{name} may try to log in: {found}.")
