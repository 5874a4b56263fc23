"""Owns the worker processes and the steward. Has no connection and no thread, so it can fork."""

import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from bson import ObjectId
from setproctitle import setproctitle

from workers.board import Board
from workers.steward import ASKED_SIGNAL, STOP_SIGNAL, Steward
from workers.worker import Place, Worker

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.25  # how exactly deadlines are kept
RESTART_SECONDS = 1.0  # a process that dies at once is not started more often than that
STEWARD_SECONDS = 8.0  # how long a steward may take over the last reports
# The terminal is closed, or the steward was asked: they come twice, or beside a SIGTERM.
ASKING = (signal.SIGHUP, ASKED_SIGNAL)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, *ASKING)
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
OOM_SCORE = Path("/proc/self/oom_score_adj")  # -1000 to 1000: whom Linux kills for want of memory
OOM_MORE = 300  # as if a worker had three tenths of the memory more


@dataclass
class Child:
    """A process that the supervisor owns. `index` is a worker's row on the board."""

    pid: int
    index: int | None  # None: the steward
    started: float


class Supervisor:
    """Starts, watches, restarts and stops. `run` returns when all its processes are gone."""

    def __init__(
        self, *, processes: int, concurrency: int, queues: Sequence[str], burst: bool, grace: float
    ) -> None:
        self.id = ObjectId()
        self.board = Board(processes, concurrency, queues)
        self.burst = burst
        self.grace = grace
        self.children: dict[int, Child] = {}
        self.stop_signals = 0
        self.asked = False
        self.kill_at = float("inf")
        self.restarts: list[tuple[float, int | None]] = []
        self.killed: set[int] = set()  # pids that this supervisor had to kill to stop
        self._deaths_read, self._deaths_write = os.pipe()
        os.set_blocking(self._deaths_write, False)
        self._unsent = b""  # reports of deaths
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        self._listen()
        gc.freeze()  # what is loaded now stays shared with the children
        self._start(None)
        for index in range(self.board.workers):
            self._start(index)
        while any(child.index is not None for child in self.children.values()) or self.restarts:
            self._sleep()
            self._bury_children()
            self._send()
            self._kill_overdue()
            self._stop_workers()
            self._restart_due()
        self._stop_steward()

    # --- signals: they only wake the loop

    def _listen(self) -> None:
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._count_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _count_stop(self, number: int, *_: Any) -> None:
        if number in ASKING:
            self.asked = True
        else:
            self.stop_signals += 1

    def _sleep(self) -> None:
        if select.select([self._wake_read], [], [], TICK_SECONDS)[0]:
            os.read(self._wake_read, 4096)

    # --- starting

    def _start(self, index: int | None) -> None:
        _flush()
        supervisor = os.getpid()
        # Held back until the child has its own handlers: ours would swallow a SIGTERM there.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                name = "steward" if index is None else "worker"
                _be_child(supervisor, name, lambda: self._role(index))
            self.children[pid] = Child(pid, index, time.monotonic())
        except OSError as error:  # no memory, or a limit of processes: the others go on
            log.error("supervisor.cannot_fork", error=str(error))
            self.restarts.append((time.monotonic() + RESTART_SECONDS, index))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _role(self, index: int | None) -> None:
        os.close(self._deaths_write)
        if index is None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            setproctitle("taskqueue: steward")
            Steward(self.board, self.id, self._deaths_read).run()
        else:
            os.close(self._deaths_read)
            os.setpgid(0, 0)  # a group of its own, in which is what its jobs start too
            setproctitle(f"taskqueue: worker {index + 1}")
            _be_killed_first()
            Worker(Place(self.board, index, self.id, self.burst)).run()

    def _restart_due(self) -> None:
        now = time.monotonic()
        due = [index for moment, index in self.restarts if moment <= now]
        self.restarts = [(moment, index) for moment, index in self.restarts if moment > now]
        for index in due:
            self._start(index)

    # --- deaths

    def _bury_children(self) -> None:
        for child in list(self.children.values()):
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if child.index is not None:
                    _kill(child)  # what is left of its group, whose id is free once it is reaped
                _, status = os.waitpid(child.pid, 0)
                del self.children[child.pid]
                self._died(child, os.waitstatus_to_exitcode(status))

    def _died(self, child: Child, code: int) -> None:
        in_order = code == 0
        if child.index is not None:
            in_order &= not any(self.board.running(child.index))  # a job may exit with 0 too
            if not in_order:
                self._report(child, _reason(code))
            self.board.clear(child.index)
        elif code != 0:
            log.error("steward.died", reason=_reason(code))
        if not self._stops() and not (self.burst and in_order):
            self.restarts.append((child.started + RESTART_SECONDS, child.index))

    def _report(self, child: Child, reason: str) -> None:
        """Tell the steward who died and what it was running."""
        assert child.index is not None  # noqa: S101 - only workers are reported
        now = time.monotonic()
        blame = child.pid not in self.killed
        running = [
            (str(one.job), one.claim, 0 < one.deadline < now)
            for one in self.board.running(child.index)
        ]
        log.error("worker.died", pid=child.pid, reason=reason, running=[id for id, *_ in running])
        if boot := self.board.boot(child.index):
            report = {"worker": str(boot), "reason": reason, "blame": blame, "running": running}
            self._unsent += json.dumps(report).encode() + b"\n"
            self._send()

    def _send(self) -> None:
        """Pass on what the pipe takes: it may be full while the steward restarts."""
        with suppress(BlockingIOError):
            while self._unsent:
                self._unsent = self._unsent[os.write(self._deaths_write, self._unsent) :]

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self.children.values():
            if child.index is not None and self.board.overdue(child.index, now):
                _kill(child)

    # --- stopping: the first signal asks, the second or the end of the grace kills

    def _stops(self) -> bool:
        return self.asked or self.stop_signals > 0

    def _stop_workers(self) -> None:
        if not self._stops():
            return
        self.restarts.clear()
        if self.kill_at == float("inf"):
            log.info("supervisor.stopping", grace=self.grace)
            self.kill_at = time.monotonic() + self.grace
            self._signal_workers(signal.SIGTERM)
        if self.stop_signals > 1 or time.monotonic() >= self.kill_at:
            self._signal_workers(signal.SIGKILL)

    def _signal_workers(self, number: int) -> None:
        for child in self.children.values():
            if child.index is None:
                continue
            if number == signal.SIGKILL:
                self.killed.add(child.pid)
                _kill(child)
            else:  # what its jobs have started is theirs to end
                os.kill(child.pid, number)

    def _stop_steward(self) -> None:
        """The steward goes last: it still takes back what killed workers held.

        While MongoDB is away it cannot, and the steward of another tree reaps them later.
        """
        self._signal_all(STOP_SIGNAL)
        deadline = time.monotonic() + STEWARD_SECONDS
        while self.children:
            self._sleep()
            self._bury_children()
            self._send()
            if time.monotonic() > deadline:
                self._signal_all(signal.SIGKILL)
        log.info("supervisor.stopped")

    def _signal_all(self, number: int) -> None:
        for child in self.children.values():
            os.kill(child.pid, number)


def _kill(worker: Child) -> None:
    """Kill a worker and what its jobs have started."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has no group yet, so no job has started anything
        os.kill(worker.pid, signal.SIGKILL)


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


def _be_killed_first() -> None:
    """Where memory runs out, have Linux kill a worker, whose jobs run again, and none beside it.

    Without its supervisor or its steward nobody would take them back until others have waited for
    a lease; a store would be missed by all. Whoever has not Linux stays as it is.
    """
    with suppress(OSError):
        OOM_SCORE.write_text(f"{min(int(OOM_SCORE.read_text()) + OOM_MORE, 1000)}")


def _be_child(supervisor: int, name: str, role: Callable[[], None]) -> None:
    """Become a process that runs `role` and nothing after it. Never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP):  # they reach all; the supervisor decides
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTTIN, signal.SIGTTOU):  # at a terminal a worker would stand still
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        _die_with(supervisor)
        role()
        code = 0
    except BaseException:
        log.critical(f"{name}.crashed", exc_info=True)
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    with suppress(OSError):  # their terminal is closed
        sys.stdout.flush()
        sys.stderr.flush()


def _die_with(supervisor: int) -> None:
    """Have the kernel kill this process when the supervisor is gone: nobody would watch it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
