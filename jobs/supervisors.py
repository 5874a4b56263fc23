"""Workers as an operator meets them: by the `runworkers` that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from jobs import selectors, services, versions
from jobs.models import Job, Worker
from jobs.selectors import WorkerView


@dataclass(frozen=True)
class HeldJob:
    """A job that a worker holds. `share`: how much of its timeout has gone, in percent."""

    job: Job
    timeout: float  # seconds
    share: int


@dataclass(frozen=True)
class Supervisor:
    """One `runworkers` that has a worker which has not ended. Sums are of its workers."""

    workers: Sequence[WorkerView]  # those that have not ended, at least one
    jobs: Sequence[HeldJob]  # the first of those that they hold

    @property
    def first(self) -> Worker:
        """The worker whose id names all of them."""
        return self.workers[0].worker

    @property
    def is_live(self) -> bool:
        return any(view.state == "live" for view in self.workers)

    @property
    def is_skewed(self) -> bool:
        """Whether it runs another version than this process."""
        return self.first.version != versions.own()

    @property
    def slots(self) -> int:
        return sum(view.worker.concurrency for view in self.workers)

    @property
    def held(self) -> int:
        """How many jobs they hold."""
        return sum(view.held for view in self.workers)

    @property
    def more(self) -> int:
        """How many of these are not among `jobs`."""
        return max(self.held - len(self.jobs), 0)

    @property
    def busy(self) -> int:
        """How many slots have a job: what is held beyond them waits there for a moment."""
        return sum(view.busy for view in self.workers)

    @property
    def quiet(self) -> bool:
        """Whether it has said that it takes no new job."""
        return any(view.worker.quiet for view in self.workers)

    @property
    def asked(self) -> Worker | None:
        """The worker that says what was asked last, unless it has been heeded."""
        asked = [(view.worker.asked_at, view.worker) for view in self.workers]
        dated = [(at, worker) for at, worker in asked if at]
        if not dated:
            return None
        _, last = max(dated, key=lambda pair: pair[0])
        return None if last.asked == ("quiet" if self.quiet else "resume") else last

    @property
    def beaten_at(self) -> datetime:
        """When the worker that has been silent for longest gave its last sign of life."""
        return min(view.worker.heartbeat_at for view in self.workers)

    @property
    def rss_bytes(self) -> int:
        return sum(view.worker.rss_bytes or 0 for view in self.workers)

    @property
    def cpu_percent(self) -> float:
        return sum(view.worker.cpu_percent or 0.0 for view in self.workers)

    @property
    def done(self) -> int:
        return sum(view.worker.done or 0 for view in self.workers)

    @property
    def failed(self) -> int:
        return sum(view.worker.failed or 0 for view in self.workers)


def supervisors(
    views: Sequence[WorkerView], jobs: Mapping[ObjectId, Sequence[Job]]
) -> list[Supervisor]:
    """Return these workers, but those that have ended, by their `runworkers`: the oldest first.

    `jobs`: what each worker holds, see `selectors.held_jobs`.
    """
    now = selectors.now()
    found: dict[object, list[WorkerView]] = {}
    for view in views:
        if view.state != "ended":
            found.setdefault(view.worker.supervisor, []).append(view)
    return [Supervisor(workers, _first(workers, jobs, now)) for workers in found.values()]


def _first(
    workers: Sequence[WorkerView], jobs: Mapping[ObjectId, Sequence[Job]], now: datetime
) -> list[HeldJob]:
    held = [job for view in workers for job in jobs.get(view.worker.id, ())]
    return [_held(job, now) for job in held[: selectors.HELD_ROWS]]


def _held(job: Job, now: datetime) -> HeldJob:
    timeout = services.timeout_seconds(job.type)
    ran = (now - job.started_at).total_seconds() if job.started_at else 0.0
    return HeldJob(job, timeout, min(max(round(100 * ran / timeout), 0), 100))
