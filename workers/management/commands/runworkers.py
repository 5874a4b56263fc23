"""`manage.py runworkers`: the supervisor, its workers and its steward, in the foreground."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from jobs.registry import NAME
from workers.supervisor import Supervisor


def _positive(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise ArgumentTypeError(f"{text!r}: use a number from 1 to 1000.")
    return int(text)


class Command(BaseCommand):
    help = "Run jobs: a supervisor, its worker processes and a steward. Ctrl-C stops gracefully."
    requires_system_checks = ["jobs"]  # nothing here may connect before the workers are forked

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--processes", type=_positive, default=3, help="worker processes")
        parser.add_argument("--concurrency", type=_positive, default=1, help="threads in each")
        parser.add_argument("--queues", default="default", help="which to serve, comma-separated")
        parser.add_argument("--burst", action="store_true", help="end when nothing is pending")

    def handle(self, *args: Any, **options: Any) -> None:
        queues = [name.strip() for name in options["queues"].split(",") if name.strip()]
        if not queues or not all(map(NAME.fullmatch, queues)):
            raise CommandError("--queues: use names of letters, digits, dots and dashes.")
        Supervisor(
            processes=options["processes"],
            concurrency=options["concurrency"],
            queues=list(dict.fromkeys(queues)),
            burst=options["burst"],
            grace=settings.WORKER_GRACE_SECONDS,
        ).run()
