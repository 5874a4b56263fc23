"""`manage.py audit`: whether every accepted job is where it should be, on a live system."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import conservation
from jobs.conservation import Check, Finding, Report
from jobs.management.outage import outage

ROW = "{:<38}  {:>9}  {:>9}  {:>9}  {:>9}"


class Command(BaseCommand):
    help = (
        "Compare all jobs with their states, lanes, workers and counters, while everything runs. "
        "Nothing is changed without --repair. Exit 0: nothing is wrong; 1: something is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--repair",
            action="store_true",
            help="put lost ids back, promote what is due and, where no steward is live, take back "
            "the jobs of lost workers; count all jobs again; then check again",
        )

    def handle(self, *args: Any, repair: bool, **options: Any) -> None:
        with outage("The audit was not finished; no job is lost by that."):
            report = conservation.examine()
            self._show(report)
            if repair:
                moved = conservation.mend(report)
                done = ", ".join(f"{count} {verb}" for verb, count in moved.items())
                self.stdout.write(f"\nRepaired: {done}. Checked again:\n")
                report = conservation.examine()
                self._show(report)
        if report.wrong:
            raise CommandError(f"Wrong: {report.wrong}. What to do is said with each, above.")
        self.stdout.write("Nothing is wrong.")

    def _show(self, report: Report) -> None:
        self.stdout.write(ROW.format("check", "examined", "ok", "waiting", "wrong"))
        for check in report.checks:
            numbers = (check.examined, check.ok, check.waiting, check.wrong)
            self.stdout.write(ROW.format(check.name, *numbers))
        self._lanes(report)
        for check in report.checks:
            self._explain(check)

    def _lanes(self, report: Report) -> None:
        jobs, hints = report.in_line, report.hints
        self.stdout.write(
            f"lanes: {jobs.ok} jobs in line, {jobs.waiting} waiting for repair, "
            f"{hints.misplaced} in the wrong lane; {hints.read} ids read, {hints.stale} stale and "
            f"{hints.doubled} doubled (both harmless: workers drop them)"
        )

    def _explain(self, check: Check) -> None:
        for finding in check.waits:
            self.stdout.write(f"\nwaiting, {_sentence(check, finding)}")
        for finding in check.faults:
            self.stdout.write(f"\nWRONG, {_sentence(check, finding)}")
            self.stdout.write(f"  for example: {', '.join(finding.examples)}")


def _sentence(check: Check, finding: Finding) -> str:
    return f"{check.name.partition(':')[0]}: {finding.count}. {finding.says}"
