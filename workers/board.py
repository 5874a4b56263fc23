"""What every execution slot is doing, in memory that the supervisor's processes share.

A worker writes it, at the cost of a memory copy; the supervisor reads it after the worker has died.
The steward writes beside each slot which execution of it should end early.
"""

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bson import ObjectId

SLOT: Final = struct.Struct("<12sqdd")  # job, claim, started, deadline (0: none), all monotonic
MOVED_ON: Final = struct.Struct("<12sq")  # job, claim: whose execution should end early
BOOT: Final = struct.Struct("<?12s")  # is there one, the worker's id
BUSY: Final = 1  # a byte before each slot, written last: a torn slot never counts
SLOT_BYTES: Final = BUSY + SLOT.size + MOVED_ON.size


@dataclass(frozen=True, slots=True)
class Running:
    """One job in the middle of its execution."""

    job: ObjectId
    claim: int
    started: float  # time.monotonic()
    deadline: float  # time.monotonic(); 0: none


class Board:
    """One row per worker, of one boot id and `slots` executions; one flag per queue."""

    def __init__(self, workers: int, slots: int, queues: Sequence[str]) -> None:
        self.workers = workers
        self.slots = slots
        self.queues = list(queues)
        self._row = BOOT.size + slots * SLOT_BYTES
        self._memory = mmap.mmap(-1, len(self.queues) + workers * self._row)

    def _row_at(self, worker: int) -> int:
        return len(self.queues) + worker * self._row

    def _slot_at(self, worker: int, slot: int) -> int:
        return self._row_at(worker) + BOOT.size + slot * SLOT_BYTES

    # --- written by a worker

    def enter(self, worker: int, boot: ObjectId) -> None:
        """Say which boot of a worker has this row now."""
        BOOT.pack_into(self._memory, self._row_at(worker), True, boot.binary)

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

    def finish(self, worker: int, slot: int) -> None:
        """Say that a slot executes nothing."""
        self._memory[self._slot_at(worker, slot)] = 0

    def has_moved_on(self, worker: int, slot: int, job: ObjectId, claim: int) -> bool:
        """Return whether the steward has said so of this execution, and not of another."""
        at = self._slot_at(worker, slot) + BUSY + SLOT.size
        return self._memory[at : at + MOVED_ON.size] == MOVED_ON.pack(job.binary, claim)

    # --- read by the supervisor and the steward

    def boot(self, worker: int) -> ObjectId | None:
        """Return the boot id of a worker; `None` before it has one."""
        present, binary = BOOT.unpack_from(self._memory, self._row_at(worker))
        return ObjectId(binary) if present else None

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

    # --- written by the steward, read by the workers

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

    def open_queues(self) -> list[str]:
        """Return the queues that hand out jobs, in the order given at the start."""
        return [queue for place, queue in enumerate(self.queues) if not self._memory[place]]
