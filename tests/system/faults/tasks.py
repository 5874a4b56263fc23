"""The job types of the fault tests. Each tells the ledger when it starts and when it ends."""

import ctypes
import os
import signal
import threading
import time
from typing import Any

from jobs import Context, job
from tests.system.faults import ledger

if control := os.environ.get("CONTROL"):
    from tests.system.faults import controls

    controls.install(control)


@job
def work(ctx: Context, seconds: float = 0.0, fail_times: int = 0) -> dict[str, Any]:
    """Take some time; the first `fail_times` attempts fail."""
    ledger.write(ctx, "start")
    time.sleep(seconds)
    if ctx.attempt <= fail_times:
        ledger.write(ctx, "fail")
        raise RuntimeError(f"attempt {ctx.attempt} was asked to fail")
    ledger.write(ctx, "end")
    return {"claim": ctx.claim}


@job
def hog(ctx: Context, seconds: int) -> None:
    """Hold Python's lock: no other thread of this process runs meanwhile."""
    ledger.write(ctx, "start")
    ctypes.PyDLL(None).sleep(seconds)
    ledger.write(ctx, "end")


@job(timeout=2, max_attempts=2, backoff=0.2)
def stubborn(ctx: Context, seconds: float) -> None:
    """Hang, deaf to SIGTERM."""
    ledger.write(ctx, "start")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)
    ledger.write(ctx, "end")


@job
def glutton(ctx: Context, megabytes: int) -> None:
    """Take memory and touch it."""
    ledger.write(ctx, "start")
    hoard = [bytearray(os.urandom(1024) * 1024) for _ in range(megabytes)]
    time.sleep(0.1)
    ledger.write(ctx, "end")
    del hoard


@job
def assassin(ctx: Context) -> None:
    """Kill the supervisor, and by that the whole tree."""
    ledger.write(ctx, "start")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(5)
    ledger.write(ctx, "end")


@job(max_attempts=1)
def odd(ctx: Context, kind: str, text: str = "") -> Any:
    """Return, or raise, what is hard to keep."""
    ledger.write(ctx, "start")
    ledger.write(ctx, "end")
    return ODD[kind]()


def _raise(error: BaseException) -> Any:
    raise error


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ODD = {
    "nul": lambda: "a\x00b",
    "surrogate": lambda: "\ud800",
    "nan": lambda: float("nan"),
    "object": object,
    "big": lambda: "x" * 15_900_000,
    "bigger": lambda: "x" * 17_000_000,
    "deep": lambda: _nested(5000),
    "integer": lambda: 2**70,
    "keys": lambda: {"$set": {"a.b": 1}, "": None},
    "raise_nul": lambda: _raise(ValueError("nul \x00 and \ud800")),
    "raise_huge": lambda: _raise(ValueError("x" * 5_000_000)),
    "exit": lambda: _raise(SystemExit(3)),
}
