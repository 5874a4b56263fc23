"""A process that a job's function forks is no second worker: it ends where the call does."""

import os
import signal
import sys
from contextlib import suppress

import structlog

log = structlog.get_logger(__name__)
_forked = False


def install() -> None:
    """Have this process know its forks from itself, and have them end by SIGTERM."""
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_begin)


def _hold() -> None:
    """Let a SIGTERM wait: the worker's own handler would swallow one in the child."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _begin() -> None:
    global _forked
    _forked = True
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release()


def end(error: BaseException | None = None) -> None:
    """End this process if it is such a fork, with the code that Python would end with."""
    if _forked:
        _exit(error)


def _exit(error: BaseException | None) -> None:
    code = error.code if isinstance(error, SystemExit) else None if error is None else 1
    status = code & 0xFF if isinstance(code, int) else int(code is not None)
    if status:  # what the error says may hold a secret
        log.error("fork.failed", error=type(error).__name__, code=status)
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(status)
