"""Row 3: bring a process to each crash point of `workers.crash_points`, where it kills itself.

Each point has a queue and a tree of its own, stopped once the point has fired. The jobs that are
left are run, after all points, by a healthy tree.
"""

import signal
import subprocess
from collections.abc import Callable

from jobs import clients, lanes, services
from jobs.clients import collection
from jobs.registry import PRIORITIES
from tests.system.conftest import ROOT, Tree
from tests.system.faults.stores import wait_until
from tests.system.faults.world import PYTHON, World

SECONDS = 60.0  # until a point must have fired
WORKER = "taskqueue: worker"
CLIENT = """
import sys, django
django.setup()
from jobs import services
verb, queue, *ids = sys.argv[1:]
for id in ids:
    if verb == "enqueue":
        id = services.enqueue("work", {}, queue=queue)
    else:
        getattr(services, verb)(id, actor="sweep")
    print(id, flush=True)
"""


class Sweep:
    """`fire` each point; then `queues` have jobs to finish, and `cancelled` jobs that stay so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.queues = ["default"]
        self.cancelled: set[str] = set()

    def fire(self, point: str) -> str:
        """Kill a process at this point, at its n-th passage; return `point:n`."""
        n = 1 if point == "register.written" else self.world.rng.randint(1, 3)
        self.queues.append(point)
        SCENES[point](self, point, n)
        return f"{point}:{n}"

    # --- a program that enqueues, requeues or cancels

    def client(self, point: str, n: int, verb: str, ids: list[str]) -> list[str]:
        """Let a program call a verb for each id, and die; return the ids it had an answer for."""
        done = subprocess.run(
            [PYTHON, "-c", CLIENT, verb, point, *ids],
            env=self.world.env(CRASH_AT=f"{point}:{n}"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, (point, n, done.stderr)
        answers = done.stdout.split()
        assert len(answers) == n - 1, (point, n, answers)
        return answers

    def enqueue(self, point: str, n: int) -> None:
        answers = self.client(point, n, "enqueue", ["-"] * 3)
        stored = [str(job["_id"]) for job in collection("jobs").find({"queue": point})]
        assert set(answers) <= set(stored)
        assert len(stored) == (n - 1 if point == "insert.before" else n)
        self.world.accepted += stored  # the last of them without an answer: it runs all the same

    def cancel(self, point: str, n: int) -> None:
        ids = self.world.submit(3, queue=point, delay=3600)
        self.client(point, n, "cancel", ids)
        for id in ids[n:]:
            services.cancel(id, actor="sweep")
        self.cancelled |= set(ids)

    def requeue(self, point: str, n: int) -> None:
        ids = self.world.submit(3, queue=point, delay=3600)
        for id in ids:
            services.cancel(id, actor="sweep")
        self.client(point, n, "requeue", ids)
        self.cancelled |= set(ids[n:])

    # --- a tree

    def tree(self, point: str, n: int, *options: str, **changes: str) -> Tree:
        """Start a tree that is to die at this point; it reaps nobody unless told to."""
        changes = {"WORKER_LOST_SECONDS": "60", **changes}
        options = ("--processes", "1", "--queues", point, *options)
        return self.world.tree(*options, wait=False, CRASH_AT=f"{point}:{n}", **changes)

    def fired(self, tree: Tree, who: str) -> None:
        """Wait until a worker or a steward was killed; end its tree, so that no more are."""
        wait_until(lambda: _deaths(tree, who), SECONDS, f"a {who} is killed")
        tree.signal(signal.SIGTERM)
        tree.wait(60)

    def working(self, point: str, n: int) -> None:
        self.world.submit(12, queue=point, seconds=0.06)
        self.fired(self.tree(point, n), "worker")

    def working_quickly(self, point: str, n: int) -> None:
        """Only of quick jobs does a worker claim several at once."""
        self.world.submit(200, queue=point)
        self.fired(self.tree(point, n), "worker")

    def beating(self, point: str, n: int) -> None:
        self.world.submit(12, queue=point, seconds=0.06)
        self.fired(self.tree(point, n), "steward")

    def promoting(self, point: str, n: int) -> None:
        for tenth in range(30):
            self.world.submit(1, queue=point, delay=tenth / 10)
        self.fired(self.tree(point, n), "steward")

    def repairing(self, point: str, n: int) -> None:
        """A steward looks at the default queue's lanes first: the n-th has lost its hints."""
        self.world.submit(5, priority=PRIORITIES[n - 1])
        clients.redis().delete(*map(lanes.key, lanes.in_order(["default"])))
        self.fired(self.tree(point, n), "steward")

    def leaving(self, point: str, n: int) -> None:
        """Workers leave: the first by itself, to be killed as it does; if more, killed by us."""
        self.world.submit(12, queue=point, seconds=0.06)
        tree = self.tree(point, n, JOB_MAX_CRASHES="10")  # of one at its start, each time
        for nth in range(n):
            wait_until(lambda nth=nth: tree.log.count("worker.started") > nth, SECONDS, "a worker")
            (worker,) = tree.children(WORKER)
            worker.send_signal(signal.SIGTERM if n == 1 else signal.SIGKILL)
        self.fired(tree, "worker" if n == 1 else "steward")

    def burying(self, point: str, n: int) -> None:
        """A worker dies that was running three jobs: they are looked up one by one."""
        self.world.submit(6, queue=point, seconds=1)
        tree = self.tree(point, n, "--concurrency", "3")
        wait_until(lambda: len(self.world.executing(tree)) == 3, SECONDS, "three jobs run")
        (worker,) = tree.children(WORKER)
        worker.send_signal(signal.SIGKILL)
        self.fired(tree, "steward")

    def leave_lost_jobs(self, queue: str) -> None:
        """Kill a tree of three workers, each with a job."""
        self.world.submit(3, queue=queue, seconds=1)
        tree = self.world.tree("--queues", queue)
        wait_until(lambda: len(self.world.executing(tree)) == 3, SECONDS, "three jobs run")
        tree.kill()

    def reaping(self, point: str, n: int) -> None:
        self.fired(self.tree(point, n, WORKER_LOST_SECONDS="6"), "steward")


def _deaths(tree: Tree, who: str) -> bool:
    lines = tree.log.splitlines()
    return any(f"{who}.died" in line and "killed by SIGKILL" in line for line in lines)


SCENES: dict[str, Callable[[Sweep, str, int], None]] = {
    **dict.fromkeys(("insert.before", "insert.written", "push.sent"), Sweep.enqueue),
    "requeue.written": Sweep.requeue,
    "cancel.written": Sweep.cancel,
    **dict.fromkeys(("fetch.taken", "claim.one_written", "claim.returned"), Sweep.working),
    "claim.written": Sweep.working_quickly,
    **dict.fromkeys(("execute.before", "execute.ended"), Sweep.working),
    **dict.fromkeys(
        ("record.before", "count.before", "count.written", "record.written", "register.written"),
        Sweep.working,
    ),
    **dict.fromkeys(("give_back.written", "end_worker.written"), Sweep.leaving),
    **dict.fromkeys(("repair.found", "push_at_head.before"), Sweep.repairing),
    "promote.written": Sweep.promoting,
    "heartbeat.written": Sweep.beating,
    "bury.found": Sweep.burying,
    "reap.found": Sweep.reaping,
}


def sweep(world: World, points: list[str]) -> Sweep:
    """Fire every point, in any order, but the reaper's last: its workers must be silent first."""
    done = Sweep(world)
    world.submit(1)  # the first queue to be known, so the first whose lanes are repaired
    done.leave_lost_jobs("reap.found")
    world.rng.shuffle(points)
    points.sort(key=lambda point: point == "reap.found")
    world.figures["fired"] = [done.fire(point) for point in points]
    return done
