"""A real Redis of one run's own, which can be killed and comes back empty."""

import contextlib
import functools
import os
import signal
import subprocess
import time
from pathlib import Path

import redis

from taskqueue.embedded import die_with_parent, find_binary, free_port, redis_ready

READY_SECONDS = 10


class Redis:
    """redis-server on a free loopback port, in a folder of its own, without persistence."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        options += ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(find_binary("redis-server")), *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGKILL),
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not redis_ready(self.port):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"Redis did not start; see {self.folder / 'redis.log'}.")
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        with contextlib.suppress(redis.RedisError):
            self.client.close()
        self.kill()
