"""One worker process: fetch, claim, execute, record. The core loop is `work`."""

import os
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from bson import ObjectId
from redis.exceptions import RedisError

from jobs import services
from jobs.claims import ClaimedJob
from jobs.clients import BLOCK_SECONDS, blocking_redis
from jobs.errors import StoreDown
from jobs.states import State
from workers import capture, forks
from workers.board import Board, Running
from workers.execution import execute
from workers.prefetch import STUCK_SECONDS, Prefetch
from workers.recorder import Recorder
from workers.records import register_boot
from workers.unheard import Unheard

log = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Place:
    """Where a worker stands in its supervisor's tree."""

    board: Board
    index: int
    supervisor: ObjectId
    burst: bool


class Worker:
    """Runs jobs on `board.slots` threads, the first of them this process's main thread."""

    def __init__(self, place: Place) -> None:
        self.id = ObjectId()
        self.place = place
        self.board = place.board
        self.stopping = False
        self.claimed: deque[ClaimedJob] = deque()
        self.unheard = Unheard(self.id)
        self.recorder = Recorder(self.id, self.look_after)
        self._redis = blocking_redis()
        self._taking = threading.Lock()
        self._idle: set[int] = set()
        self._prefetch = Prefetch()
        self._batch = (0, 0.0)  # how many jobs the last batch had, when it was claimed
        self._slowest = 0.0  # seconds of its slowest job
        self._slept = False  # whether the lanes held nothing last time

    def run(self) -> None:
        """Work until told to stop, or, with burst, until nothing is left to do."""
        signal.signal(signal.SIGTERM, self.stop)
        slots = range(1, self.board.slots)
        threads = [threading.Thread(target=self.work, args=(slot,)) for slot in slots]
        threading.excepthook = partial(_lost_thread, [self.recorder, *threads])
        capture.install()
        forks.install()
        if not self._register():
            return
        self.board.enter(self.place.index, self.id)
        log.info("worker.started", worker=str(self.id))
        self.recorder.start()
        for thread in threads:
            thread.start()
        self.work(0)
        for thread in threads:
            thread.join()
        self.recorder.close()
        self._leave()

    def stop(self, *_: Any) -> None:
        """Finish what runs, give back the rest. Only sets a flag: signals call it."""
        self.stopping = True

    def work(self, slot: int) -> None:
        """The core loop: take a job, execute it, hand its end to the recorder."""
        done = failed = 0
        while job := self.next_job(slot):
            started = time.monotonic()
            deadline = started + services.kill_seconds(job.type)
            self.board.start(self.place.index, slot, Running(job.id, job.claim, started, deadline))
            end = execute(job, partial(self.should_stop, slot, job))
            if end.status is State.COMPLETED:
                done += 1
            else:
                failed += 1
            self.board.finish(self.place.index, slot, done, failed)
            self._slowest = max(self._slowest, end.ended - started)
            self.recorder.add(end, flush=self._runs_nothing_else())

    def _runs_nothing_else(self) -> bool:
        return not self.claimed and len(self._idle) >= self.board.slots - 1

    def should_stop(self, slot: int, job: ClaimedJob) -> bool:
        """Return whether an execution should end early; its handler asks, through `ctx`."""
        return self.stopping or self.board.has_moved_on(self.place.index, slot, job.id, job.claim)

    def next_job(self, slot: int) -> ClaimedJob | None:
        """Return a claimed job, asleep until there is one; `None`: stop.

        One slot at a time takes a batch for all, so each of them sleeps in Redis or on the lock.
        """
        self._idle.add(slot)
        try:
            with self._taking:
                while not self.stopping:
                    try:
                        return self.claimed.popleft()
                    except IndexError:
                        if not self.take_batch():
                            return None
                return None
        finally:
            self._idle.discard(slot)

    def take_batch(self) -> bool:
        """Claim what the lanes hold, or sleep a second for it. `False`: there is nothing left."""
        self._learn()  # first: that the recorder is behind does not make a batch slow
        if not self.recorder.wait_for_room(1.0):
            return True
        queues, asked = self.board.open_queues(), time.monotonic()
        try:
            batch = self._claim(queues)
            if not batch and self.place.burst and services.is_drained(self.board.queues):
                return False
        except (RedisError, StoreDown) as error:
            self._recover(error)
            return True
        self._batch, self._slowest = (len(batch), time.monotonic()), 0.0
        # Not if it was quick: then the lanes held ids, but of jobs that are no longer pending.
        self._slept = not batch and time.monotonic() - asked > BLOCK_SECONDS / 2
        self.claimed.extend(batch)
        if len(batch) > 1:
            self.recorder.wake()
        return True

    def _claim(self, queues: Sequence[str]) -> list[ClaimedJob]:
        if not queues:
            time.sleep(RETRY_SECONDS)  # all are paused, or this worker is quiet
            return []
        batch = ObjectId()
        try:
            return services.claim(
                self._redis,
                queues,
                worker=self.id,
                count=max(self._prefetch.count, len(self._idle)),
                batch=batch,
                empty=self._slept,
            )
        except StoreDown:
            self._prefetch.failed()
            self.unheard.add(batch)
            self.recorder.wake()
            raise

    def _learn(self) -> None:
        jobs, claimed_at = self._batch
        if jobs:
            # Beside a slow job the other slots go on: only how long the batch lasted says anything.
            slowest = self._slowest if self.board.slots == 1 else 0.0
            self._prefetch.ran(jobs, time.monotonic() - claimed_at, slowest)
            self._batch = (0, 0.0)

    def _recover(self, error: Exception) -> None:
        """Wait a moment and start over with a new connection: an old one may be deaf."""
        log.warning("worker.waiting", error=str(error)[:200])
        self._redis.close()
        time.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
        self._redis = blocking_redis()

    def look_after(self) -> bool:
        """Give back what will not be run here; called by the recorder's thread.

        Returns whether there is more to look after.
        """
        waiting = self.give_back_stuck()
        return self.unheard.give_back() or waiting

    def give_back_stuck(self) -> bool:
        """Return jobs that wait behind a slow one, or that will not be started any more.

        Returns whether jobs are still waiting here.
        """
        waited = time.monotonic() - self._batch[1]
        if self.claimed and (self.stopping or waited > STUCK_SECONDS):
            stuck = []
            with suppress(IndexError):  # a slot may take the last one
                while True:
                    stuck.append(self.claimed.pop())
            self._give_back(stuck)
        return bool(self.claimed)

    def _give_back(self, jobs: list[ClaimedJob]) -> None:
        while True:
            try:
                services.give_back(self.id, jobs)
                return
            except StoreDown as error:
                log.warning("give_back.waiting", jobs=len(jobs), error=str(error)[:200])
                time.sleep(RETRY_SECONDS)

    def _register(self) -> bool:
        """Make this boot known to MongoDB, and learn which queues are paused; waits for it.

        `False`: told to stop meanwhile.
        """
        while not self.stopping:
            try:
                register_boot(self.id, self.board, os.getpid(), self.place.supervisor)
                # The steward, which keeps it up to date, may not have read it yet.
                self.board.set_paused(services.paused_queues())
                return True
            except StoreDown as error:
                log.warning("worker.waiting", error=str(error)[:200])
                time.sleep(RETRY_SECONDS)
        return False

    def _leave(self) -> None:
        try:
            services.end_worker(self.id, "stopped")
        except StoreDown as error:
            log.warning("worker.left_unsaid", error=str(error)[:200])
        log.info("worker.stopped", worker=str(self.id))


def _lost_thread(own: Sequence[threading.Thread], failed: threading.ExceptHookArgs) -> None:
    """End the process: a worker that has lost a thread would live on and do nothing.

    Not for a thread that a job has started: that is the job's own affair.
    """
    if failed.thread in own:
        log.critical("worker.crashed", exc_info=failed.exc_value)
        os._exit(1)
    if not issubclass(failed.exc_type, SystemExit):
        log.error("thread.failed", exc_info=failed.exc_value)
