"""`manage.py demo`: submit a believable mix of jobs, watch it run, report what MongoDB says."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from jobs import registry, selectors, services
from jobs.models import Job
from jobs.registry import PRIORITIES
from jobs.requests import Request
from jobs.states import State

FINAL = {State.COMPLETED.value, State.DEAD.value, State.CANCELLED.value}
FAILED = {"failed", "timed_out"}  # outcomes that use up an attempt
PICKUP_SECONDS = 30
POLL_SECONDS = 0.5

# Of every hundred jobs: 80 real ones, 13 fail once, 2 twice and 5 until their cause is removed.
REAL, ONCE, TWICE = 80, 93, 95
NOTE = "The two shares follow from the mix (see --help); the counts and times are MongoDB's."
SCATTER = 37  # shares no factor with a hundred: spreads the kinds evenly over the line


class Command(BaseCommand):
    help = (
        "Submit a mix of jobs (the four real types, and some made to fail: 13 % once, 2 % twice, "
        "5 % until a person removes the cause), wait for their end, and print what MongoDB says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--jobs", type=int, default=300, help="how many (default 300)")
        parser.add_argument(
            "--timeout", type=float, default=300, help="seconds to wait for the end (default 300)"
        )

    def handle(self, *args: Any, jobs: int, timeout: float, **options: Any) -> None:
        if registry.get("flaky") is None:
            raise CommandError(
                "The demo's job types are not registered: set DEMO_JOBS=1 here and for the workers."
            )
        if not 1 <= jobs <= 10_000:
            raise CommandError("--jobs: use a number from 1 to 10000.")
        tag = f"demo-{secrets.token_hex(4)}"
        cause = _make_cause(tag)
        services.enqueue_many(mix(jobs, tag))
        ended = self._watch(tag, jobs, timeout)
        figures = measure(list(selectors.jobs_with_tag(tag)))
        for label, value in figures.lines():
            self.stdout.write(f"{label:<44}{value}")
        self.stdout.write(f"\n{NOTE}")
        if figures.dead:
            self.stdout.write(
                f"To see the dead letters succeed: delete {cause} and requeue them at /dead/."
            )
        elif ended:
            default_storage.delete(cause)
        if not ended:
            raise CommandError(f"Not all jobs tagged {tag} ended within {timeout:g} s; see above.")

    def _watch(self, tag: str, jobs: int, timeout: float) -> bool:
        """Show a bar until all jobs have ended; return whether they did within `timeout` seconds.

        Raises `CommandError` if none has left the line after `PICKUP_SECONDS`.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(file=self.stdout)  # type: ignore[arg-type]
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            bar = progress.add_task(f"{jobs} jobs, tag {tag}", total=jobs)
            started = time.monotonic()
            while (waited := time.monotonic() - started) < timeout:
                counts = Counter(selectors.jobs_with_tag(tag).values_list("status", flat=True))
                ended = sum(counts[status] for status in FINAL)
                progress.update(bar, completed=ended)
                if ended == jobs:
                    return True
                if counts[State.PENDING.value] == jobs and waited > PICKUP_SECONDS:
                    raise CommandError(
                        f"No worker took a job within {PICKUP_SECONDS} s: start `manage.py "
                        f"runworkers`. The jobs wait; their tag is {tag}."
                    )
                time.sleep(POLL_SECONDS)
        return False


@dataclass(frozen=True)
class Figures:
    """What became of a set of jobs. A share is a fraction, `None` where it would be of nothing."""

    jobs: int
    completed: int
    dead: int
    failed: int  # jobs with at least one failed attempt
    first_retry: int  # of those, how many completed on their second attempt
    seconds: float | None  # from the first job's creation to the last one's end

    def lines(self) -> list[tuple[str, str]]:
        """Return label and value of each figure, as people read them."""
        ended = self.completed + self.dead
        per_minute = f"{ended / self.seconds * 60:,.0f}" if self.seconds else "none ended"
        return [
            ("Jobs", f"{self.jobs}"),
            ("Completed", f"{self.completed}"),
            ("Ended per minute, backoff included", per_minute),
            ("Failed jobs that succeeded on first retry", _share(self.first_retry, self.failed)),
            ("In the dead-letter queue", _share(self.dead, self.jobs)),
        ]


def measure(jobs: Sequence[Job]) -> Figures:
    """Return the figures of these jobs, from what is recorded of them and nothing else."""
    outcomes = [[attempt.outcome for attempt in job.attempts] for job in jobs]
    ends = [job.finished_at for job in jobs if job.finished_at]
    statuses = Counter(job.status for job in jobs)
    return Figures(
        jobs=len(jobs),
        completed=statuses[State.COMPLETED.value],
        dead=statuses[State.DEAD.value],
        failed=sum(not FAILED.isdisjoint(outcome) for outcome in outcomes),
        first_retry=sum(_recovered_at_once(outcome) for outcome in outcomes),
        seconds=(max(ends) - min(job.created_at for job in jobs)).total_seconds() if ends else None,
    )


def _recovered_at_once(outcomes: Sequence[str]) -> bool:
    counted = [outcome for outcome in outcomes if outcome in FAILED or outcome == "completed"]
    return len(counted) == 2 and counted[0] in FAILED and counted[1] == "completed"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}, {100 * part / whole:.1f} %" if whole else "none"


def mix(jobs: int, tag: str) -> list[Request]:
    """Return the requests of a demo: every kind of job, at every priority, evenly spread."""
    kinds = [(n, *_kind(n, tag)) for n in range(jobs)]
    return [
        Request(type=name, payload=payload, priority=PRIORITIES[n % len(PRIORITIES)], tags=(tag,))
        for n, name, payload in kinds
    ]


def _kind(n: int, tag: str) -> tuple[str, dict[str, Any]]:
    place = n * SCATTER % 100
    if place < REAL:
        name, payload = REAL_TYPES[place % len(REAL_TYPES)]
        return name, payload(n)
    if place < TWICE:
        return "flaky", {"fail_times": 1 if place < ONCE else 2}
    return "flaky", {"fail_times": 1_000_000, "cause": tag}


def _make_cause(tag: str) -> str:
    """Store the file that makes jobs fail while it is there; return its name."""
    from jobs.demo import CAUSES  # importing it registers the types: only where they are wanted

    return default_storage.save(f"{CAUSES}/{tag}", ContentFile(b""))


def _email(n: int) -> dict[str, Any]:
    return {"to": f"user{n}@example.com", "subject": f"Your order {1000 + n} has shipped"}


def _image(n: int) -> dict[str, Any]:
    width, height = ((320, 320), (640, 360), (800, 1200))[n % 3]
    return {"width": width, "height": height}


def _report(n: int) -> dict[str, Any]:
    types = ("summary", "by_type", "failures")
    return {"title": f"Report {n}", "report_type": types[n % 3], "hours": 1}


def _data(n: int) -> dict[str, Any]:
    records = [{"city": "ABC"[k % 3], "sales": n + k} for k in range(60)]
    choice = {"field": "sales", "group_by": "city", "function": "mean"}
    return {"action": "aggregate", "records": records, **choice}


REAL_TYPES: list[tuple[str, Callable[[int], dict[str, Any]]]] = [
    ("send_email", _email),
    ("resize_image", _image),
    ("generate_report", _report),
    ("process_data", _data),
]
