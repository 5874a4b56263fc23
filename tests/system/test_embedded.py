"""The embedded stores: real servers, each test on a data folder of its own."""

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pymongo
import pytest
import redis

from taskqueue.embedded import (
    PACKAGED,
    EmbeddedError,
    Stores,
    die_with_parent,
    find_binary,
    find_packaged,
    running,
)

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys, time
from pathlib import Path
from taskqueue.embedded import running
with running(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def servers_of(data_dir: Path) -> list[psutil.Process]:
    """The server processes whose working files are in the data folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            files = [process.cwd(), *process.cmdline()]
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found += [process] * any(str(data_dir) in file for file in files)
    return [process for process in found if process.name() in ("mongod", "redis-server")]


def mongodb(urls: dict[str, str]) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(urls["MONGODB_URI"], serverSelectionTimeoutMS=10_000)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs the stores of tmp_path."""
    child = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()
    wait_for(lambda: not servers_of(tmp_path))


def test_both_stores_answer_while_they_run_and_leave_no_process(tmp_path: Path) -> None:
    with running(tmp_path) as urls:
        with mongodb(urls) as client, client.start_session() as session:
            with session.start_transaction():
                client.taskqueue.things.insert_one({"_id": 1}, session=session)
            assert client.taskqueue.things.count_documents({}) == 1
        with redis.Redis.from_url(urls["REDIS_URL"]) as lanes:
            assert lanes.ping()
            assert lanes.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert {process.name() for process in servers_of(tmp_path)} == {"mongod", "redis-server"}
    assert servers_of(tmp_path) == []


def test_a_second_run_keeps_the_data_though_its_ports_differ(tmp_path: Path) -> None:
    with running(tmp_path) as first, mongodb(first) as client:
        client.taskqueue.things.insert_one({"_id": "kept"})
        with redis.Redis.from_url(first["REDIS_URL"]) as lanes:
            lanes.set("kept", "yes")
    with running(tmp_path) as second, mongodb(second) as client:
        assert urlsplit(second["MONGODB_URI"]).port != urlsplit(first["MONGODB_URI"]).port
        assert client.taskqueue.things.find_one() == {"_id": "kept"}
        client.taskqueue.things.insert_one({"_id": "still writable"})
        with redis.Redis.from_url(second["REDIS_URL"]) as lanes:
            assert lanes.get("kept") == b"yes"


def test_only_the_stores_asked_for_are_started(tmp_path: Path) -> None:
    with running(tmp_path, mongodb=False) as urls:
        assert list(urls) == ["REDIS_URL"]
        assert [process.name() for process in servers_of(tmp_path)] == ["redis-server"]
    with running(tmp_path / "none", mongodb=False, redis=False) as urls:
        assert urls == {}
        assert not (tmp_path / "none").exists()


def test_embedded_env_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    env_file = tmp_path / "embedded.env"
    with running(tmp_path) as urls:
        assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
        lines = env_file.read_text().splitlines()
        assert dict(line.split("=", 1) for line in lines) == urls
    assert not env_file.exists()


def test_commands_on_its_folder_know_the_demo_types_too(tmp_path: Path) -> None:
    stores = Stores(tmp_path, mongodb=False, demo_jobs="1")
    script = "from django.conf import settings; print(settings.DEMO_JOBS, settings.REDIS_URL)"
    env = {
        name: value for name, value in os.environ.items() if name not in ("DEMO_JOBS", "REDIS_URL")
    }
    env |= {"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "taskqueue.settings"}
    try:
        urls = stores.start()
        told = subprocess.run(
            [sys.executable, "-c", script], env=env, check=True, stdout=subprocess.PIPE, text=True
        )
    finally:
        stores.stop()
    assert told.stdout.split() == ["True", urls["REDIS_URL"]]


def test_a_second_owner_is_refused_in_a_sentence_and_harms_nothing(
    tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    sentence = f"{re.escape(str(tmp_path))} already run .*{owner.pid}"
    with pytest.raises(EmbeddedError, match=sentence):
        Stores(tmp_path).start()
    assert (tmp_path / "embedded.env").exists()
    assert len(servers_of(tmp_path)) == 2


def test_kill_9_of_the_owner_leaves_nothing_running_and_the_next_start_works(
    tmp_path: Path, owner: subprocess.Popen[str]
) -> None:
    owner.kill()
    owner.wait()
    assert (tmp_path / "embedded.env").exists()
    with running(tmp_path, redis=False) as urls, mongodb(urls) as client:
        assert client.admin.command("hello")["isWritablePrimary"]
        assert len(servers_of(tmp_path)) == 1


def says_stopped(stores: Stores) -> bool:
    try:
        stores.check()
    except EmbeddedError as error:
        return "stopped by itself" in str(error)
    return False


def test_a_server_that_was_killed_is_replaced_on_the_next_start(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    try:
        urls = stores.start()
        with mongodb(urls) as client:
            client.taskqueue.things.insert_one({"_id": "journaled"})
        for process in servers_of(tmp_path):
            process.kill()
        wait_for(lambda: says_stopped(stores))
    finally:
        stores.stop()
    with running(tmp_path) as urls, mongodb(urls) as client:
        assert client.taskqueue.things.find_one() == {"_id": "journaled"}


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    binary = folder / "bin" / name
    binary.parent.mkdir(exist_ok=True)
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent), prepend=":")
    return binary


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open"
            " shared object file: No such file or directory' >&2; exit 127",
            "needs the library libcurl.so.4: apt-get install libcurl4, or set MONGODB_URI",
        ),
        ("echo 'GLIBC_2.99 not found' >&2; exit 1", "cannot be run .GLIBC_2.99 not found."),
        ("exit 3", "cannot be run .exit code 3."),
        (
            '[ "$1" = --version ] || { echo "no room for the journal"; exit 14; }',
            "(?s)mongod stopped by itself .code 14.*no room for the journal",
        ),
    ],
)
def test_a_server_that_cannot_run_becomes_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, sentence: str
) -> None:
    put_on_path(tmp_path, monkeypatch, "mongod", script)
    with pytest.raises(EmbeddedError, match=sentence), running(tmp_path / "data"):
        pass
    assert servers_of(tmp_path) == []


SAYS = {
    "mongod": 'echo "db version v{}"; echo "Build Info: {{"',
    "redis-server": 'echo "Redis server v={} sha=00000000:0 malloc=libc bits=64 build=c1a2"',
}
OLD = [
    ("mongod", "5.0.31", "6.0", "MONGODB_URI"),
    ("mongod", "4.4.29-28", "6.0", "MONGODB_URI"),
    ("redis-server", "6.0.16", "6.2", "REDIS_URL"),
    ("redis-server", "5.0.7", "6.2", "REDIS_URL"),
]


@pytest.mark.parametrize(("name", "version"), [known[:2] for known in OLD])
def test_an_old_server_on_path_is_passed_by_for_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    packaged = find_packaged(name)
    if packaged is None:
        pytest.skip(f"no {name} is packaged for this platform")
    old = put_on_path(tmp_path, monkeypatch, name, SAYS[name].format(version))
    assert shutil.which(name) == str(old)
    assert find_binary(name) == packaged
    mongod = name == "mongod"
    with running(tmp_path / "data", mongodb=mongod, redis=not mongod):
        (server,) = servers_of(tmp_path / "data")
        assert Path(server.exe()) == packaged.resolve()


@pytest.mark.parametrize(("name", "version", "least", "variable"), OLD)
def test_an_old_server_becomes_a_sentence_where_none_is_packaged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    version: str,
    least: str,
    variable: str,
) -> None:
    monkeypatch.setitem(PACKAGED, name, ("no_such_package", name))
    old = put_on_path(tmp_path, monkeypatch, name, SAYS[name].format(version))
    with pytest.raises(EmbeddedError) as error, running(tmp_path / "data"):
        pass
    assert str(error.value) == (
        f"{old} is version {version}, and {least} is the least that works: "
        f"install a later {name}, or set {variable} to a server of your own."
    )
    assert servers_of(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mongod", SAYS["mongod"].format("6.0.0")),
        ("mongod", SAYS["mongod"].format("10.0.1-rc0")),
        ("redis-server", SAYS["redis-server"].format("6.2.0")),
        ("redis-server", SAYS["redis-server"].format("10.1.0")),
        ("redis-server", "echo 'Valkey server v=8.0.1 sha=00000000:0 malloc=libc bits=64'"),
        ("redis-server", "echo 'a server that says no version'"),
    ],
)
def test_a_server_on_path_that_is_new_enough_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    new = put_on_path(tmp_path, monkeypatch, name, said)
    assert find_binary(name) == new


def test_a_data_folder_that_cannot_be_made_becomes_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="set DATA_DIR to another folder"):
        Stores(tmp_path / "file" / "data").start()


def test_a_full_disk_becomes_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskqueue.embedded.LEAST_FREE_MB", 10**9)
    with pytest.raises(EmbeddedError, match="free at least"), running(tmp_path):
        pass
    assert servers_of(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_child_whose_parent_is_already_gone_ends_at_once() -> None:
    child = os.fork()
    if child == 0:  # pretend that the parent was another process
        die_with_parent(parent=1, signum=signal.SIGKILL)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
