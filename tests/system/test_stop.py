import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from jobs import services
from jobs.clients import collection
from taskqueue import embedded
from tests.system.conftest import ROOT, Tree, fill


@pytest.mark.parametrize("type", ["told_sleep", "async_told_sleep"])
def test_the_first_signal_finishes_what_runs_and_gives_back_the_rest(
    type, tree, until, document, tmp_path
):
    begun = tmp_path / "begun"
    slow = services.enqueue(type, {"seconds": 2, "begun": str(begun)}, priority="high")
    running = tree("--processes", "1")
    until(begun.exists)  # what is claimed and has not begun is given back
    fill(50)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert document(slow)["status"] == "completed"
    assert collection("jobs").count_documents({"status": "pending", "attempt": 0}) == 50
    assert collection("workers").find_one({"ended_at": None}) is None


@pytest.mark.parametrize(
    ("type", "send"),
    # The second as systemd does: each process of the service gets one.
    [("sleep", Tree.signal), ("async_sleep", Tree.signal_all)],
)
def test_what_outlasts_the_grace_is_given_back_without_losing_an_attempt(
    type, send, tree, until, document
):
    slow = services.enqueue(type, {"seconds": 60})
    running = tree("--processes", "1", WORKER_GRACE_SECONDS="1")
    until(lambda: document(slow)["status"] == "running")
    send(running, signal.SIGTERM)
    assert running.wait() == 0
    given_back = document(slow)
    assert given_back["status"] == "pending"
    assert (given_back["attempt"], given_back["crashes"]) == (0, 0)


def test_the_second_signal_stops_at_once(tree, until, document):
    slow = services.enqueue("sleep", {"seconds": 60})
    running = tree("--processes", "1", WORKER_GRACE_SECONDS="50")
    until(lambda: document(slow)["status"] == "running")
    asked = time.monotonic()
    running.signal(signal.SIGINT)
    until(lambda: "supervisor.stopping" in running.log)
    running.signal(signal.SIGINT)
    running.wait()
    assert time.monotonic() - asked < 20
    # A MongoDB too slow for the steward's last seconds leaves it to another tree: the log says so.
    assert document(slow)["status"] == "pending" or "chore=bury" in running.log


def test_a_terminal_that_is_closed_stops_it_as_sigterm_does(environment, until, document, tmp_path):
    def begin():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    begun = tmp_path / "begun"
    slow = services.enqueue("told_sleep", {"seconds": 3, "begun": str(begun)})
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "manage.py", "runworkers", "--processes", "1"],
        cwd=ROOT,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=begin,
    )
    os.close(theirs)
    try:
        until(begun.exists)
        os.close(ours)
        running.terminate()  # as whoever ends the session does too
        assert running.wait(40) == 0
    finally:
        running.kill()
    ended = document(slow)
    assert (ended["status"], ended["crashes"]) == ("completed", 0)


def test_nohup_keeps_it_alive(tree, until):
    started = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup hands it on
    try:
        running = tree("--processes", "1")
    finally:
        signal.signal(signal.SIGHUP, started)
    until(lambda: "worker.started" in running.log)
    running.signal_all(signal.SIGHUP)
    id = services.enqueue("noop", {})
    until(lambda: collection("jobs").find_one({"status": "completed"}))
    assert str(collection("jobs").find_one()["_id"]) == id
    assert "supervisor.stopping" not in running.log


def test_burst_drains_and_exits(tree):
    fill(500)
    assert tree("--processes", "2", "--burst").wait() == 0
    assert collection("jobs").count_documents({"status": "completed"}) == 500


def test_slow_jobs_do_not_hold_up_what_was_claimed_with_them(tree, until, all_in):
    # The batch grows on no-ops; then a slow job comes with quick ones behind it.
    fill(400)
    services.enqueue("sleep", {"seconds": 5})
    behind = fill(50)
    tree("--processes", "2")
    started = time.monotonic()
    done = {"status": "completed", "type": "noop"}
    until(lambda: collection("jobs").count_documents(done) == 450)
    slow = collection("jobs").find_one({"type": "sleep"})
    assert slow["status"] == "running"
    assert time.monotonic() - started < 20
    assert len(behind) == 50


@pytest.mark.parametrize("type", ["sleep", "async_sleep"])
def test_waiting_jobs_run_side_by_side(type, tree, all_in):
    fill(20, type=type, payload={"seconds": 1})
    tree("--processes", "1", "--concurrency", "20")
    all_in("completed")
    ends = [attempt for job in collection("jobs").find() for attempt in job["attempts"]]
    first = min(attempt["started_at"] for attempt in ends)
    last = max(attempt["ended_at"] for attempt in ends)
    assert (last - first).total_seconds() < 10


@pytest.fixture
def own_mongodb(environment, tmp_path) -> Iterator[embedded.Stores]:
    """A MongoDB that this test may end."""
    stores = embedded.Stores(tmp_path / "own", redis=False)
    environment["MONGODB_URI"] = stores.start()["MONGODB_URI"]
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    yield stores
    stores.stop()


def test_a_tree_stops_soon_after_its_grace_while_mongodb_is_away(own_mongodb, tree, until):
    running = tree("--processes", "1", WORKER_GRACE_SECONDS="1")
    until(lambda: "worker.started" in running.log)
    own_mongodb.stop()
    running.signal(signal.SIGTERM)
    assert running.wait(20) == 0


SIGTERM_AT_BIRTH = """
import os, signal, time
import django
django.setup()
from workers.supervisor import Supervisor

fork = os.fork
def fork_slowly():
    pid = fork()
    if pid == 0:
        time.sleep(0.5)  # the child has still got the handlers of the supervisor
    return pid

os.fork = fork_slowly
supervisor = Supervisor(processes=1, concurrency=1, queues=["default"], burst=False, grace=5)
supervisor._listen()
supervisor._role = lambda index: time.sleep(5)
supervisor._start(0)
(pid,) = supervisor.children
os.kill(pid, signal.SIGTERM)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGTERM)
"""


def test_a_sigterm_at_its_birth_is_not_lost_on_a_child():
    script = [sys.executable, "-c", SIGTERM_AT_BIRTH]
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "taskqueue.settings",
        "SECRET_KEY": "a key of the tests, long enough to be taken for a key",
    }
    assert subprocess.run(script, cwd=ROOT, env=env, timeout=60, check=False).returncode == 0
