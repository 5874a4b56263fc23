"""`manage.py repair`: put pending jobs that Redis forgot back into their lanes, now."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import services
from jobs.management.outage import outage
from jobs.registry import Lane


class Command(BaseCommand):
    help = (
        "Compare Redis with MongoDB and put back what is missing. The steward of every running "
        "`runworkers` does the same by itself; this is for looking, and for impatience."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit 1 if something is missing"
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        missing: dict[Lane, int] = {}
        with outage("Nothing was compared; no job is lost by that."):
            for queue in services.known_queues():
                missing |= services.repair(queue, dry_run=check)
        self._table(missing, "missing" if check else "put back")
        if check and any(missing.values()):
            raise CommandError(
                f"{_many(missing)} pending jobs are in no lane, so no worker would find them. They "
                "are safe in MongoDB: run `manage.py repair`, or have `manage.py runworkers` run."
            )
        self.stdout.write(_verdict(missing))

    def _table(self, missing: dict[Lane, int], column: str) -> None:
        width = max((len(lane.queue) for lane in missing), default=5)
        self.stdout.write(f"{'queue':<{width}}  priority  {column:>8}")
        for lane, count in sorted(missing.items(), key=lambda row: row[0].queue):
            self.stdout.write(f"{lane.queue:<{width}}  {lane.priority:<8}  {count:>8}")


def _many(missing: dict[Lane, int]) -> str:
    """How many there are; a full batch means that there may be more."""
    more = any(count >= services.REPAIR_BATCH for count in missing.values())
    return f"{sum(missing.values())}{' or more' if more else ''}"


def _verdict(missing: dict[Lane, int]) -> str:
    if not missing:
        return "No queue is known yet: nothing was ever submitted here."
    if not any(missing.values()):
        return "Nothing is missing."
    return f"{_many(missing)} jobs are back in line; those beyond a batch follow by themselves."
