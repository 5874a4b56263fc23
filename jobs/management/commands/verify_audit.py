"""`manage.py verify_audit`: whether the audit is as it was written."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import audit
from jobs.management.outage import outage


class Command(BaseCommand):
    help = (
        "Read the whole audit and check its chain. Exit 0: every row is as it was written; 1: one "
        "was altered, deleted, inserted or moved, and the first such row is named."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            default="",
            metavar="SEQ:HASH",
            help="what a line `audit.head` of the log said: that row must still have that hash",
        )

    def handle(self, *args: Any, head: str, **options: Any) -> None:
        seq, _, said = head.partition(":")
        if head and not (seq.isdecimal() and said):
            raise CommandError("--head: give the seq and the hash of a log line, as 300:9f86d0….")
        with outage("The audit was not checked."):
            verdict = audit.verify(seq=int(seq or 0), said=said)
        if verdict.fault:
            raise CommandError(
                f"The audit is not as it was written. {verdict.fault}\n{verdict.rows} rows before "
                "that are in order. Somebody wrote to MongoDB past the program: restore the "
                "collections `audit` and `audit_head` from a backup beside it, and compare. No job "
                "is concerned."
            )
        self.stdout.write(f"{verdict.rows} rows are as they were written. Head: {verdict.head}")
