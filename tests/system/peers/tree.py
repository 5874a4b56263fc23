"""A tree of workers: what one service unit runs, three worker processes in all.

It is started as a service manager would: a member that ends by itself is started again a second
later. Only the harness's main thread may start one (a member dies with the thread behind it).
"""

import contextlib
import functools
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from taskqueue.embedded import die_with_parent

ROOT = Path(__file__).parents[3]
RESTART_SECONDS = 1.0
STOP_SECONDS = 30.0


class Member:
    """One command of a tree, with everything that it forks."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.command, self.env, self.log = command, env, log
        self.ended_at = 0.0
        self.restarts = -1
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        self.ended_at = 0.0
        self.restarts += 1

    def tend(self) -> None:
        """Start it again once it has been away for a second."""
        if self.running():
            return
        self.ended_at = self.ended_at or time.monotonic()
        if time.monotonic() - self.ended_at >= RESTART_SECONDS:
            self.bury()
            self.start()

    def running(self) -> bool:
        """Whether its first process lives; an ended one is not reaped, so its group stays ours."""
        if self.process.returncode is not None:
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is None

    def bury(self) -> None:
        """End what is left of its process group, then reap it."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


class Tree:
    def __init__(self, commands: Iterable[list[str]], env: dict[str, str], log: Path) -> None:
        self.stopping_since = 0.0
        self.members = [Member(command, env, log) for command in commands]

    @property
    def restarts(self) -> int:
        return sum(member.restarts for member in self.members)

    def tend(self) -> None:
        """Be its service manager: restart what ended, or end what does not stop in time."""
        if not self.stopping_since:
            for member in self.members:
                member.tend()
        elif time.monotonic() - self.stopping_since > STOP_SECONDS:
            self.kill()

    def family(self) -> list[psutil.Process]:
        """Every living process of the tree, the members first."""
        found: dict[int, psutil.Process] = {}
        for member in self.members:
            if member.running():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process = psutil.Process(member.process.pid)
                    found |= {p.pid: p for p in [process, *process.children(recursive=True)]}
        return list(found.values())

    def owns(self, pid: int) -> bool:
        """Whether a process is of this tree: each member has a session, which its forks share."""
        try:
            return os.getsid(pid) in {member.process.pid for member in self.members}
        except ProcessLookupError:
            return False

    def pause(self) -> list[psutil.Process]:
        """Stop every process of the tree where it is."""
        known: list[psutil.Process] = []
        while new := [process for process in self.family() if process not in known]:
            _signal(new, signal.SIGSTOP)
            known += new
        return known

    def resume(self) -> None:
        _signal(self.family(), signal.SIGCONT)

    def terminate(self) -> None:
        """Ask every member to stop, as a service manager does; it is not started again."""
        self.stopping_since = self.stopping_since or time.monotonic()
        for member in self.members:
            if member.running():
                member.process.terminate()

    def kill(self) -> None:
        """Kill everything at once, as a power cut would."""
        self.stopping_since = self.stopping_since or time.monotonic()
        _signal(self.pause(), signal.SIGKILL)
        for member in self.members:
            member.bury()

    def gone(self) -> bool:
        return not any(member.running() for member in self.members)


def _signal(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
