"""Where one measurement of one system takes place: fresh stores, meters, workers, a client."""

import contextlib
import mmap
import os
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
from bson import ObjectId
from pymongo.database import Database

from benchmarks.handlers import AT_GATE, CELLS, ENDED, FIRST, LAST, RECORD
from benchmarks.processes import Client, Failed, Tree, redis_server, until
from benchmarks.systems.base import PROCESSES, ROOT, System
from taskqueue.embedded import free_port

GATE_SECONDS = 10  # until the workers that have come are let go
DRAIN_SECONDS = 60
BATCH = 1_000
INHERITED_NOT = re.compile("DJANGO|MONGODB_URI|REDIS|DATA_DIR|BENCH_|DEMO_JOBS|BURST")
Document = dict[str, Any]


@dataclass
class Stage:
    """`stage` makes one."""

    system: System
    mode: str
    folder: Path
    env: dict[str, str]
    database: Database[Document] | None
    since: ObjectId = field(default_factory=lambda: this_second())  # its own jobs are newer

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        client = Client(self.system.client(), self.env, self.folder / "client.log")
        try:
            yield client
        finally:
            client.close()

    @contextlib.contextmanager
    def tree(
        self, commands: list[list[str]] | None = None, *, gated: bool = True
    ) -> Iterator[Tree]:
        env = {**self.env, "BENCH_GATED": "1" if gated else "0"}
        commands = commands or self.system.workers(self.mode)
        tree = Tree(commands, env, self.folder / "workers.log")
        try:
            yield tree
        finally:
            tree.close()

    @contextlib.contextmanager
    def web(self) -> Iterator[int]:
        """Serve its API; yields the port."""
        port = free_port()
        tree = Tree([self.system.web(port)], self.env, self.folder / "web.log")
        try:
            until(lambda: tree.alive() and _listens(port), GATE_SECONDS * 3, "the API answers")
            yield port
        finally:
            tree.close()

    def meters(self) -> list[tuple[float, ...]]:
        """What every thread has counted, of each process that has begun."""
        records = []
        for path in self.folder.glob("*.meter"):
            data = path.read_bytes()
            whole = len(data) - len(data) % RECORD.size
            records += [record for record in RECORD.iter_unpack(data[:whole]) if record[AT_GATE]]
        return records

    def at_gate(self) -> int:
        """How many processes stand at their first job."""
        first = AT_GATE * RECORD.size // CELLS
        return sum(
            any(path.read_bytes()[first : first + 8]) for path in self.folder.glob("*.meter")
        )

    def span(self, tree: Tree, count: int, processes: int = PROCESSES) -> float:
        """Return the seconds from the first start to the last end of `count` jobs.

        The clock starts when every process has its first job, so that booting does not count.
        Where the jobs are in MongoDB it stops when the last end is recorded there.
        """
        until(lambda: tree.alive() and self.at_gate(), GATE_SECONDS * 3, "a first job starts")
        with contextlib.suppress(Failed):
            until(lambda: self.at_gate() >= processes, GATE_SECONDS, "all processes have a job")
        (self.folder / "go").touch()

        def done() -> bool:
            return tree.alive() and sum(record[ENDED] for record in self.meters()) >= count

        until(done, DRAIN_SECONDS, f"{count} jobs end")
        ended = self._recorded(count) if self.system.own else 0.0
        records = [record for record in self.meters() if record[ENDED]]
        last = ended or max(record[LAST] for record in records)
        return last - min(record[FIRST] for record in records)

    def _recorded(self, count: int) -> float:
        jobs = self.jobs()

        def none_left() -> bool:
            if jobs.find_one({"status": "running"}, {"_id": 1}):
                return False
            # The index, because a scale run has a million that are pending in another queue.
            waiting = jobs.find({"status": "pending", "queue": "default"}, {"_id": 1})
            return not list(waiting.hint("lane").limit(1))

        until(none_left, DRAIN_SECONDS, "all is recorded", 0.002)
        now = time.monotonic()
        completed = jobs.count_documents({"status": "completed", "_id": {"$gte": self.since}})
        if completed != count:
            raise Failed(f"{completed} of {count} jobs are completed")
        return now

    def jobs(self) -> Any:
        assert self.database is not None
        return self.database["jobs"]

    def clear(self) -> None:
        """Forget what was counted, and the jobs."""
        for path in (*self.folder.glob("*.meter"), self.folder / "go"):
            path.unlink(missing_ok=True)
        if self.database is not None:
            empty(self.database)
        self.since = this_second()

    @contextlib.contextmanager
    def watched(self) -> Iterator[Counter[str]]:
        """Count the commands that MongoDB carries out on the system's database meanwhile."""
        commands: Counter[str] = Counter()
        if self.database is None:
            yield commands
            return
        self.database.command("profile", 2)
        try:
            yield commands
        finally:
            self.database.command("profile", 0)
            profile = self.database["system.profile"]
            own = re.compile(rf"^{self.database.name}\.(?!system\.)")
            for entry in profile.find({"ns": own}):
                name = entry["op"] if entry["op"] != "command" else next(iter(entry["command"]))
                commands[f"{name} {entry['ns'].partition('.')[2]}"] += 1
            profile.drop()

    def stamps(self, count: int) -> "memoryview[int]":
        """Memory in which each job notes its start, by its number."""
        path = self.folder / "stamps"
        path.write_bytes(bytes(8 * count))
        file = os.open(path, os.O_RDWR)
        try:
            return memoryview(mmap.mmap(file, 8 * count)).cast("q")
        finally:
            os.close(file)


@contextlib.contextmanager
def stage(
    system: System, mode: str, mongodb: str, *, redis: str = "", as_it_is: bool = False
) -> Iterator[Stage]:
    """A stage with an empty Redis and, for those that need it, an empty database.

    `mongodb` is the server's URI; `migrate` must have made the system's own database. Instead of
    its own, an empty one, it may be given a `redis`, and the database `as_it_is`.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskqueue-bench-")))
        env = {name: value for name, value in os.environ.items() if not INHERITED_NOT.match(name)}
        env |= {
            "PYTHONPATH": str(ROOT),
            "BENCH_FOLDER": str(folder),
            "REDIS_URL": redis or stack.enter_context(redis_server(folder)),
        }
        database = None
        if "mongodb" in system.needs:
            uri = with_database(mongodb, database_of(system))
            client: pymongo.MongoClient[Document] = pymongo.MongoClient(uri)
            stack.callback(client.close)
            database = client.get_default_database()
            if not as_it_is:
                empty(database)
            env |= variables(uri, folder)
        yield Stage(system, mode, folder, env | system.environment(mode), database)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def this_second() -> ObjectId:
    """The first id of this second: ids of several processes are in no order within it."""
    return ObjectId.from_datetime(datetime.now(UTC))


def database_of(system: System) -> str:
    return "bench" if system.own else "bench_peers"


def with_database(uri: str, name: str) -> str:
    """The same server, another database."""
    return re.sub(r"(mongodb://[^/]+/)[^?]*", rf"\g<1>{name}", uri)


def variables(uri: str, folder: Path) -> dict[str, str]:
    """What a process of this project needs to work on that database."""
    return {
        "MONGODB_URI": uri,
        "DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "benchmarks.ours.settings",
        "SECRET_KEY": "a key of the bench, long enough to be taken for a key",
        "LOG_LEVEL": "WARNING",
    }


def empty(database: Database[Document]) -> None:
    """Make every collection anew, with its indexes: what earlier rounds left must not count."""
    for name in database.list_collection_names():
        if name.startswith(("django_", "auth_", "system.")):  # roles are made by `migrate`
            continue
        indexes = [dict(index) for index in database[name].list_indexes()]
        database.drop_collection(name)
        for index in indexes:
            index.pop("v")
        database.create_collection(name)
        own = [index for index in indexes if index["name"] != "_id_"]
        if own:
            database.command("createIndexes", name, indexes=own)
