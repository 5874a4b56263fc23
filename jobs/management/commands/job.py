"""`manage.py job ACTION ID`: do to one job what its page does."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import services
from jobs.errors import IllegalMove, InvalidRequest, NotFound, ReadOnly
from jobs.management.outage import outage

ACTIONS = {
    "requeue": services.requeue,
    "run": services.run_now,
    "cancel": services.cancel,
    "delete": services.delete,
}
DONE = {"requeue": "pending again", "run": "pending", "cancel": "cancelled", "delete": "deleted"}


class Command(BaseCommand):
    help = "Requeue, run now, cancel (or discard) or delete one job."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=list(ACTIONS))
        parser.add_argument("id")

    def handle(self, *args: Any, action: str, id: str, **options: Any) -> None:
        if settings.READ_ONLY:
            raise CommandError(str(ReadOnly()))
        try:
            with outage("Whether the job was changed is unknown: look at it before you retry."):
                ACTIONS[action](id, actor="manage.py")
        except (IllegalMove, InvalidRequest, NotFound) as error:
            raise CommandError(f"Nothing was changed. {error}") from None
        self.stdout.write(f"Job {id} is {DONE[action]}.")
