"""One per supervisor: keeps its workers' records alive, and mends what crashes leave behind."""

import json
import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any

import structlog
from bson import ObjectId
from django.conf import settings
from redis.exceptions import RedisError

from jobs import mongodb, services
from jobs.claims import Asked, Holding
from jobs.clients import Document
from jobs.errors import StoreDown
from jobs.services import Execution
from workers.board import Board
from workers.records import register_boot
from workers.vitals import Vitals

log = structlog.get_logger(__name__)

LEADER_SECONDS = 12.0  # a leader silent for two heartbeats is passed over
SPARE = 10  # times less often others do the leader's chores: it may be cut off from Redis, or hang
JUMP_SECONDS = 2.0  # by how much MongoDB's clock may disagree with ours about a heartbeat's time
SOON = 0.1  # of its time: what is due so soon is done while awake, and then with the others
BURY_SECONDS = 1.0  # of what MongoDB did not take at once
REPAIR_SECONDS = 1.0
REPAIR_IDLE_SECONDS = 2.0  # while nothing was missing
OPERATE_SECONDS = 0.1  # between two batches of bulk operations: everybody else comes first
OPERATE_IDLE_SECONDS = 2.0  # between two looks for one, while none runs
PROMOTE_SECONDS = 0.2
PROMOTE_IDLE_SECONDS = 1.0  # until the next look, while nothing is due sooner than that
PROMOTE_PASS_SECONDS = 2.0
COUNT_SECONDS = 2.0
COUNT_SOON_SECONDS = 0.6  # while there is more than one pass counts
COUNT_IDLE_SECONDS = 5.0  # while all is counted
EXPIRE_SECONDS = 1.0
EXPIRE_IDLE_SECONDS = 5.0  # while nothing is old enough
TIDY_PASS_SECONDS = 0.2  # of counting and of deleting, which can wait while promotion cannot
ABORT_SECONDS = 3.0
REAP_SECONDS = 5.0
QUEUES_SECONDS = 1.0
REPORT_SECONDS = 5.0
MOVED_ON_SECONDS = 1.0  # an execution younger than that is not asked about
HEED_SECONDS = 2.0
ASKED_SIGNAL = signal.SIGRTMIN  # to the supervisor: not SIGTERM, of which a second kills what runs
STOP_SIGNAL = signal.SIGUSR1  # from it, after the workers: a SIGTERM may be for all at once
LAST_SECONDS = 5.0  # how long, when told to stop, it waits for a store to take the last reports


class Chore:
    """Something done again and again; a store that is away is waited for."""

    def __init__(
        self,
        name: str,
        seconds: float,
        act: Callable[[], Any],
        *,
        for_all: bool = False,
        soon: float = SOON,
    ) -> None:
        self.name, self.seconds, self.act = name, seconds, act
        self.for_all = for_all  # for every tree, so that one steward at a time is enough
        self.soon = soon
        self.ran_at = float("-inf")
        self.pause = 0.0  # seconds more, after a failure
        self.failing = False

    def due(self, leading: bool) -> float:
        """Return when to act next: sooner, as soon as this steward leads."""
        spared = self.for_all and not leading
        return self.ran_at + self.seconds * (SPARE if spared else 1) + self.pause

    def run(self) -> None:
        self.ran_at, self.pause = time.monotonic(), 0.0
        try:
            self.act()
        except (StoreDown, RedisError) as error:
            if not self.failing:
                log.warning("steward.waiting", chore=self.name, error=str(error)[:200])
            self.failing = True
            self.pause = random.uniform(0, self.seconds)  # noqa: S311 - spreads load
        else:
            self.failing = False


class Steward:
    """Hears from the supervisor who died, and does its chores until told to stop."""

    def __init__(self, board: Board, supervisor: ObjectId, deaths: int) -> None:
        self.board = board
        self.supervisor = supervisor
        self.deaths = deaths  # the pipe's reading end
        self.stopping = False
        self.leading = False
        self.beat_at = time.monotonic()  # the last heartbeat that MongoDB took
        # Silent for longer itself, a steward does not trust the silence of others.
        self.patience = settings.WORKER_LOST_SECONDS / 3 + settings.WORKER_HEARTBEAT_SECONDS
        self.server_ahead: float | None = None  # MongoDB's clock less ours, in seconds
        # What came before this steward's start is not known to it: an outage, for example. Whoever
        # lives beats again within that time, so there is no need to wait for a full term.
        beats = 2 * settings.WORKER_HEARTBEAT_SECONDS + mongodb.CALL_SECONDS
        self.no_reaping_until = self.beat_at + min(beats, settings.WORKER_LOST_SECONDS)
        self._heard = b""
        self._reports: list[dict[str, Any]] = []
        self.vitals = Vitals(board)
        self.heeded: Asked | None = None
        self.sampled_at: datetime | None = None
        self.beating = Chore("heartbeat", settings.WORKER_HEARTBEAT_SECONDS, self.heartbeat)
        self.promoting = Chore("promote", PROMOTE_SECONDS, self.promote, for_all=True, soon=0)
        self.counting = Chore("count", COUNT_SECONDS, self.count, for_all=True)
        self.expiring = Chore("expire", EXPIRE_SECONDS, self.expire, for_all=True)
        self.operating = Chore("operate", OPERATE_IDLE_SECONDS, self.operate, for_all=True)
        self.repairing = Chore("repair", REPAIR_SECONDS, self.repair, for_all=True)
        self.known: list[str] = []  # queues
        self.chores = (
            Chore("bury", BURY_SECONDS, self.bury),
            self.beating,
            Chore("queues", QUEUES_SECONDS, self.read_queues),
            Chore("heed", HEED_SECONDS, self.heed),
            Chore("report", REPORT_SECONDS, self.report),
            Chore("abort", ABORT_SECONDS, services.abort_abandoned, for_all=True),
            self.promoting,
            self.counting,
            self.expiring,
            self.operating,
            self.repairing,
            Chore("reap", REAP_SECONDS, self.reap, for_all=True),
            Chore("moved_on", MOVED_ON_SECONDS, self.tell_moved_on),
        )

    def run(self) -> None:
        signal.signal(STOP_SIGNAL, self.stop)
        while not self.stopping:
            self.hear(min(chore.due(self.leading) for chore in self.chores) - time.monotonic())
            for chore in self.chores:
                if time.monotonic() >= chore.due(self.leading) - chore.soon * chore.seconds:
                    chore.run()
        self._finish()

    def stop(self, *_: Any) -> None:
        """Hear the last reports and end. Only sets a flag: signals call it."""
        self.stopping = True

    # --- deaths

    def hear(self, seconds: float) -> None:
        """Wait up to that long for a report of a death, and act on it at once."""
        readable, _, _ = select.select([self.deaths], [], [], max(seconds, 0.0))
        if readable:
            *lines, self._heard = (self._heard + os.read(self.deaths, 65536)).split(b"\n")
            self._reports += map(json.loads, lines)
            self.chores[0].run()

    def bury(self) -> None:
        """Take back what the dead held; a report is kept until MongoDB has taken it."""
        while self._reports:
            report = self._reports[0]
            running = [Execution(ObjectId(id), *rest) for id, *rest in report["running"]]
            services.bury(
                ObjectId(report["worker"]), report["reason"], running, blame=report["blame"]
            )
            self._reports.pop(0)

    def _finish(self) -> None:
        deadline = time.monotonic() + LAST_SECONDS
        self.hear(0)
        while self._reports and time.monotonic() < deadline:
            time.sleep(0.2)
            self.chores[0].run()

    # --- chores

    def heartbeat(self) -> None:
        """Say that the workers live; on the way learn whether this steward leads."""
        vitals = self.vitals.read()
        server, unknown = services.heartbeat(list(vitals), list(vitals.values()))
        now = time.monotonic()
        silent_for, self.beat_at = now - self.beat_at, now
        ahead, self.server_ahead = self.server_ahead, server.timestamp() - now
        jumped = ahead is not None and abs(self.server_ahead - ahead) > JUMP_SECONDS
        if silent_for > self.patience or jumped or unknown:
            self._amnesty(silent_for)
        self._register_anew(unknown)
        self.leading = services.is_leader(self.supervisor, LEADER_SECONDS)

    def _register_anew(self, unknown: Collection[ObjectId]) -> None:
        """Make workers known again whose record is gone: MongoDB is back from a backup, say.

        Without one they would count as lost for ever, and what they run be taken from them.
        """
        for worker in range(self.board.workers):
            boot = self.board.boot(worker)  # read again: one that has died since is left out
            if boot and boot in unknown:
                register_boot(boot, self.board, self.board.pid(worker), self.supervisor)
                log.warning("worker.registered_anew", worker=str(boot))

    def _amnesty(self, silent_for: float) -> None:
        """Reap nobody for a full term: the store was away, lost records, or its clock jumped.

        Nobody could beat, or was not believed, so silence proves nothing.
        """
        self.no_reaping_until = self.beat_at + settings.WORKER_LOST_SECONDS
        log.warning("steward.amnesty", silent_for=round(silent_for, 1))

    def read_queues(self) -> None:
        """Learn which queues there are, and tell the workers which of them are paused."""
        paused = services.queues_paused()
        self.known = list(paused)
        self.board.set_paused({name for name in self.known if paused[name]})

    def heed(self) -> None:
        """Do what an operator asked of this `runworkers`, once, and say so with a heartbeat."""
        asked = services.asked(self.board.boots())
        if asked is None or asked == self.heeded:
            return
        self.heeded = asked
        log.info("workers.asked", what=asked.what, by=asked.by)
        if asked.what == "stop":
            os.kill(os.getppid(), ASKED_SIGNAL)
        else:
            self.board.set_quiet(asked.what == "quiet")
            self.beating.ran_at = float("-inf")

    def report(self) -> None:
        """Say for the operators who leads, when each chore ran, and how many jobs there are."""
        now = time.monotonic()
        ages = {
            chore.name: {"seconds": now - chore.ran_at, "failing": chore.failing}
            for chore in self.chores
            if chore.ran_at > float("-inf")
        }
        sample = self._sample() if self.leading else None
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "leading": self.leading}
        services.report_steward(self.supervisor, ages, sample=sample, **facts)
        if sample:
            self.sampled_at = sample["at"]

    def _sample(self) -> Document | None:
        try:
            return services.sample(self.sampled_at)
        except StoreDown as error:  # a busy MongoDB: that this steward lives is still worth saying
            log.warning("sample.left_out", error=str(error)[:200])
            return None

    def tell_moved_on(self) -> None:
        """Tell the workers which long executions go on for nothing: they no longer hold the job."""
        places = dict(self._long_executions())
        for holding in services.moved_on(list(places)):
            self.board.set_moved_on(*places[holding], holding.job, holding.claim)

    def _long_executions(self) -> Iterator[tuple[Holding, tuple[int, int]]]:
        """Yield what has been executing for a while, and at which worker and slot."""
        # Taken first: what the next boot in a row executes is younger than this, so that it is
        # never asked about in the name of the boot before it.
        before = time.monotonic() - MOVED_ON_SECONDS
        for worker in range(self.board.workers):
            boot = self.board.boot(worker)
            for slot, running in self.board.running_slots(worker) if boot else ():
                if boot and running.started < before:
                    yield Holding(boot, running.job, running.claim), (worker, slot)

    def promote(self) -> None:
        """Make due jobs pending, all of them, and look again when the next one is due.

        One that is stored meanwhile with a shorter delay waits for `PROMOTE_IDLE_SECONDS` at most.
        """
        wait = services.due_in()
        if wait is not None and wait <= 0:
            self._until_none(services.promote, PROMOTE_PASS_SECONDS)
            wait = 0.0
        longest = PROMOTE_IDLE_SECONDS if wait is None else min(wait, PROMOTE_IDLE_SECONDS)
        self.promoting.seconds = max(longest, PROMOTE_SECONDS)

    def count(self) -> None:
        """Take into the totals what is not in them yet."""
        began = time.monotonic()
        counted = self._until_none(services.count, TIDY_PASS_SECONDS)
        many = time.monotonic() - began > TIDY_PASS_SECONDS
        self.counting.seconds = (
            COUNT_SOON_SECONDS if many else COUNT_SECONDS if counted else COUNT_IDLE_SECONDS
        )

    def expire(self) -> None:
        """Delete the jobs that have been kept long enough."""
        deleted = self._until_none(services.expire, TIDY_PASS_SECONDS)
        self.expiring.seconds = EXPIRE_SECONDS if deleted else EXPIRE_IDLE_SECONDS

    def operate(self) -> None:
        """Do the next batch of each bulk operation; look for one seldom, while none runs."""
        jobs = services.operate()
        self.operating.seconds = OPERATE_SECONDS if jobs else OPERATE_IDLE_SECONDS

    def _until_none(self, act: Callable[[], int], seconds: float) -> int:
        """Act until nothing is left to do; a herd in several goes, so that other chores go on.

        Return for how many there was something to do.
        """
        until, done = time.monotonic() + seconds, 0
        while (acted := act()) and not self.stopping and time.monotonic() < until:
            done += acted
        return done + acted

    def repair(self) -> None:
        """Put lost ids back into the lanes of every queue."""
        mended = sum(sum(services.repair(queue).values()) for queue in self.known)
        self.repairing.seconds = REPAIR_SECONDS if mended else REPAIR_IDLE_SECONDS

    def reap(self) -> None:
        """Take back the jobs of workers that went silent; not while this steward is silent too."""
        beats = time.monotonic() - self.beat_at < self.patience
        if beats and time.monotonic() > self.no_reaping_until:
            services.reap(settings.WORKER_LOST_SECONDS)
