"""Real servers that a fault test may kill, pause, isolate and start again."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pymongo
import redis as redis_py
from pymongo.errors import PyMongoError
from redis.backoff import NoBackoff
from redis.retry import Retry

from taskqueue.embedded import die_with_parent, find_binary, free_port
from tests.system.faults.proxy import Proxy

READY_SECONDS = 60.0


class Server:
    """One server process on a port that stays its own; its data survive a kill."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def options(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self, *, wait: bool = True) -> None:
        """Start it (again) and wait until it answers."""
        command = [str(find_binary(self.name)), "--port", str(self.port), *self.options()]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGKILL),
            )
        if wait:
            wait_until(self.answers, READY_SECONDS, f"{self.name} on {self.port} answers")

    def signal(self, number: int) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: what it had not written to its files is gone."""
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def stop(self) -> None:
        """End it in good order."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if self.process:
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)


class Redis(Server):
    """A Redis without persistence, unless told otherwise: after a kill it comes back empty."""

    name = "redis-server"

    def __init__(self, folder: Path, *settings: str) -> None:
        super().__init__(folder)
        self.settings = list(settings)

    def options(self) -> list[str]:
        kept = ["--save", "", "--appendonly", "no", "--dbfilename", "dump.rdb"]
        return ["--bind", "127.0.0.1", "--dir", str(self.folder), *kept, *self.settings]

    def client(self) -> redis_py.Redis:
        return redis_py.Redis(
            port=self.port,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def answers(self) -> bool:
        with self.client() as client, contextlib.suppress(redis_py.RedisError):
            return bool(client.ping())
        return False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


class Mongod(Server):
    """One member of a replica set; `address` is what the others and the clients know it by."""

    name = "mongod"

    def __init__(self, folder: Path, *, proxied: bool = False, journal_ms: int = 100) -> None:
        super().__init__(folder)
        self.journal_ms = journal_ms
        self.proxy = Proxy(self.port) if proxied else None
        self.address = f"127.0.0.1:{self.proxy.port if self.proxy else self.port}"

    def options(self) -> list[str]:
        return [
            *("--dbpath", str(self.folder), "--bind_ip", "127.0.0.1", "--nounixsocket"),
            *("--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"),
            *("--journalCommitInterval", str(self.journal_ms)),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "enableTestCommands=1"),
        ]

    def client(self, **options: Any) -> pymongo.MongoClient[dict[str, Any]]:
        """A client of this very member, whatever its role."""
        timeouts = {"serverSelectionTimeoutMS": 3000, "socketTimeoutMS": 10_000}
        return pymongo.MongoClient(
            "127.0.0.1", self.port, directConnection=True, **{**timeouts, **options}
        )

    def command(self, *command: Any, **options: Any) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.admin.command(*command, **options))

    def answers(self) -> bool:
        with contextlib.suppress(PyMongoError):
            return bool(self.command("ping")["ok"])
        return False

    def writable(self) -> bool:
        with contextlib.suppress(PyMongoError):
            return bool(self.command("hello")["isWritablePrimary"])
        return False

    def state(self) -> str:
        """PRIMARY, SECONDARY, ROLLBACK, …; empty: it does not answer."""
        with contextlib.suppress(PyMongoError):
            status = self.command("replSetGetStatus")
            return str(next(m["stateStr"] for m in status["members"] if m.get("self")))
        return ""

    def wait_for(self, state: str) -> None:
        """Wait until it is PRIMARY, SECONDARY, …"""
        wait_until(lambda: self.state() == state, 2 * READY_SECONDS, f"the member is {state}")


class ReplicaSet:
    """One to three members. `uri` names all of them."""

    def __init__(
        self, folder: Path, nodes: int = 1, *, election_ms: int = 10_000, **options: Any
    ) -> None:
        self.election_ms = election_ms  # MongoDB's own default is 10 s
        self.members = [Mongod(folder / f"mongod-{n}", **options) for n in range(nodes)]

    def start(self) -> None:
        for member in self.members:
            member.start()
        members = [{"_id": n, "host": m.address} for n, m in enumerate(self.members)]
        config = {"_id": "rs0", "members": members}
        config["settings"] = {"electionTimeoutMillis": self.election_ms}
        self.members[0].command("replSetInitiate", config)
        self.wait_for_primary()

    def wait_for_primary(
        self, seconds: float = READY_SECONDS, *, without: Mongod | None = None
    ) -> Mongod:
        """Return the member that takes writes, once there is one."""
        found: Mongod = wait_until(lambda: self._primary(without), seconds, "there is a primary")
        return found

    def _primary(self, without: Mongod | None) -> Mongod | None:
        members = [member for member in self.members if member is not without]
        running = [m for m in members if m.process and m.process.poll() is None]
        return next((member for member in running if member.writable()), None)

    def step_down(self, seconds: int = 10) -> None:
        """Ask the primary to let another member take over."""
        with contextlib.suppress(PyMongoError):
            self.wait_for_primary().command("replSetStepDown", seconds, force=True)

    @property
    def single(self) -> Mongod:
        """The only member of a set of one."""
        (member,) = self.members
        return member

    def uri(self, database: str) -> str:
        hosts = ",".join(member.address for member in self.members)
        return f"mongodb://{hosts}/{database}?replicaSet=rs0"

    def stop(self) -> None:
        for member in self.members:
            member.signal(signal.SIGCONT)
        for member in self.members:
            member.kill()  # its data are thrown away
            if member.proxy:
                member.proxy.close()
            shutil.rmtree(member.folder, ignore_errors=True)


def wait_until(condition: Any, seconds: float, what: str, every: float = 0.05) -> Any:
    """Return the condition's first true answer; `AssertionError` that names it after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(every)
    return answer
