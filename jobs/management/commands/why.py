"""`manage.py why ID`: why a job is not running."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import selectors
from jobs.errors import InvalidRequest, NotFound
from jobs.management.outage import outage
from jobs.templatetags.job_tags import duration
from jobs.why import why


class Command(BaseCommand):
    help = "Say why a job is not running: what blocks it, and when it may start."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", help="the job")

    def handle(self, *args: Any, id: str, **options: Any) -> None:
        try:
            with outage("Nothing can be said of the job."):
                found = why(selectors.job(id))
        except (InvalidRequest, NotFound) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(found.summary)
        for block in found.blocks:
            self.stdout.write(f"  {block.code}: {block.text} {block.remedy}".rstrip())
        if found.waits:
            about = "" if found.estimate_seconds is None else "about "
            said = f"{about}{duration(found.estimate_seconds)} ({found.basis})"
            self.stdout.write(f"Estimate: {said if about else found.basis}")
