import errno
import os
import signal

import pytest

from workers.supervisor import STOP_SIGNALS, Supervisor


@pytest.mark.parametrize("index", [None, 0])
def test_a_fork_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, index: int | None
) -> None:
    def fail() -> int:
        raise BlockingIOError(errno.EAGAIN, "as many processes as there may be")

    monkeypatch.setattr("workers.supervisor.RESTART_SECONDS", 0.0)
    supervisor = Supervisor(processes=1, concurrency=1, queues=[], burst=False, grace=1)
    monkeypatch.setattr(os, "fork", fail)
    supervisor._start(index)
    assert supervisor.children == {}
    assert not set(STOP_SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, [])
    monkeypatch.setattr(os, "fork", lambda: 4242)
    supervisor._restart_due()
    assert supervisor.children[4242].index == index
    assert supervisor.restarts == []
