"""What every execution slot is doing, in memory that the supervisor's processes share.

A worker writes it, at the cost of a memory copy; the supervisor reads it after the worker has died.
The steward writes beside each slot which execution of it should end early.
"""

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bson import ObjectId

SLOT: Final = struct.Struct("<12sqdd")  # job, claim, started, deadline (0: none), all monotonic
MOVED_ON: Final = struct.Struct("<12sq")  # job, claim: whose execution should end early
ENDED: Final = struct.Struct("<qq")  # executions of this boot that ended well, that failed
BOOT: Final = struct.Struct("<?12si")  # is there one, the worker's id, its pid
BUSY: Final = 1  # a byte before each slot, written last: a torn slot never counts
SLOT_BYTES: Final = BUSY + SLOT.size + MOVED_ON.size + ENDED.size


@dataclass(slots=True)  # not frozen: one is made for every job
class Running:
    """One job in the middle of its execution."""

    job: ObjectId
    claim: int
    started: float  # time.monotonic()
    deadline: float  # time.monotonic(); 0: none


class Board:
    """One row per worker, of one boot id and `slots` executions; one flag per queue, and one more:
    whether all workers are quiet.
    """

    def __init__(self, workers: int, slots: int, queues: Sequence[str]) -> None:
        self.workers = workers
        self.slots = slots
        self.queues = list(queues)
        self._row = BOOT.size + slots * SLOT_BYTES
        self._flags = len(self.queues) + 1
        self._memory = mmap.mmap(-1, self._flags + workers * self._row)

    def _row_at(self, worker: int) -> int:
        return self._flags + worker * self._row

    def _slot_at(self, worker: int, slot: int) -> int:
        return self._row_at(worker) + BOOT.size + slot * SLOT_BYTES

    # --- written by a worker

    def enter(self, worker: int, boot: ObjectId) -> None:
        """Say which boot of a worker has this row now: this process."""
        BOOT.pack_into(self._memory, self._row_at(worker), True, boot.binary, os.getpid())

    def start(self, worker: int, slot: int, running: Running) -> None:
        """Say that a slot is about to execute a job."""
        at = self._slot_at(worker, slot)
        SLOT.pack_into(
            self._memory,
            at + BUSY,
            running.job.binary,
            running.claim,
            running.started,
            running.deadline,
        )
        self._memory[at] = 1

    def finish(self, worker: int, slot: int, done: int = 0, failed: int = 0) -> None:
        """Say that a slot executes nothing, and how its executions have ended so far."""
        at = self._slot_at(worker, slot)
        self._memory[at] = 0
        ENDED.pack_into(self._memory, at + SLOT_BYTES - ENDED.size, done, failed)

    def has_moved_on(self, worker: int, slot: int, job: ObjectId, claim: int) -> bool:
        """Return whether the steward has said so of this execution, and not of another."""
        at = self._slot_at(worker, slot) + BUSY + SLOT.size
        return self._memory[at : at + MOVED_ON.size] == MOVED_ON.pack(job.binary, claim)

    # --- read by the supervisor and the steward

    def boot(self, worker: int) -> ObjectId | None:
        """Return the boot id of a worker; `None` before it has one."""
        present, binary, _ = BOOT.unpack_from(self._memory, self._row_at(worker))
        return ObjectId(binary) if present else None

    def pid(self, worker: int) -> int:
        """Return the process of a worker's boot; 0 before it has one."""
        return int(BOOT.unpack_from(self._memory, self._row_at(worker))[2])

    def ended(self, worker: int) -> tuple[int, int]:
        """Return how many executions of a worker's boot ended well, and how many failed."""
        at = [self._slot_at(worker, slot) + SLOT_BYTES - ENDED.size for slot in range(self.slots)]
        done, failed = zip(*(ENDED.unpack_from(self._memory, each) for each in at), strict=True)
        return sum(done), sum(failed)

    def boots(self) -> list[ObjectId]:
        """Return the boot ids of all workers that have one."""
        found = map(self.boot, range(self.workers))
        return [boot for boot in found if boot is not None]

    def running(self, worker: int) -> Iterator[Running]:
        """Yield what a worker's slots are executing."""
        for _, running in self.running_slots(worker):
            yield running

    def running_slots(self, worker: int) -> Iterator[tuple[int, Running]]:
        """Yield the slots of a worker that execute something, each with what that is."""
        for slot in range(self.slots):
            at = self._slot_at(worker, slot)
            if self._memory[at]:
                job, *numbers = SLOT.unpack_from(self._memory, at + BUSY)
                yield slot, Running(ObjectId(job), *numbers)

    def overdue(self, worker: int, now: float) -> bool:
        """Return whether one of a worker's executions is past its deadline."""
        return any(0 < running.deadline < now for running in self.running(worker))

    def clear(self, worker: int) -> None:
        """Forget a worker that is gone."""
        at = self._row_at(worker)
        self._memory[at : at + self._row] = bytes(self._row)

    # --- written by the steward (what is paused, by a new worker too), read by the workers

    def set_moved_on(self, worker: int, slot: int, job: ObjectId, claim: int) -> None:
        """Say that an execution no longer holds its job, so that it may end early.

        The slot may have gone on to another one: that one has another job or claim, and a claim of
        a job never comes back, so nothing need be cleared.
        """
        at = self._slot_at(worker, slot) + BUSY + SLOT.size
        MOVED_ON.pack_into(self._memory, at, job.binary, claim)

    def set_paused(self, paused: set[str]) -> None:
        """Say which queues hand out no jobs."""
        for place, queue in enumerate(self.queues):
            self._memory[place] = queue in paused

    def set_quiet(self, quiet: bool) -> None:
        """Say whether the workers take no new job: what runs goes on."""
        self._memory[len(self.queues)] = quiet

    @property
    def quiet(self) -> bool:
        """Whether the workers take no new job."""
        return bool(self._memory[len(self.queues)])

    def open_queues(self) -> list[str]:
        """Return the queues to take jobs from, in the order given at the start."""
        if self.quiet:
            return []
        return [queue for place, queue in enumerate(self.queues) if not self._memory[place]]
