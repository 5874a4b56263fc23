"""`make bench`: how many no-op jobs a second three workers run, from the line to their end.

Real embedded stores with every index, real `runworkers`, every job accepted and recorded with
majority and journal. A round fills the lane, starts the workers, and divides the jobs between the
first start and the last end by the time between, both read from MongoDB: starting Python does not
count, waiting for the first job does not either.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

from taskqueue import embedded

ROOT = Path(__file__).resolve().parent.parent
ROUND_SECONDS = 120


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=20_000, help="jobs a round")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--processes", type=int, default=3)
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="taskqueue-bench-") as folder,
        embedded.running(Path(folder)) as urls,
    ):
        os.environ.update(urls, DATA_DIR=folder, DEMO_JOBS="1", LOG_LEVEL="WARNING")
        os.environ.update(DJANGO_SETTINGS_MODULE="taskqueue.settings")
        measure(chosen)


def measure(chosen: argparse.Namespace) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print(f"{chosen.jobs:,} no-op jobs, {chosen.processes} workers, {os.cpu_count()} cores,")
    print(f"Python {platform.python_version()}, {versions()}, majority + journal, all indexes\n")
    rounds = [run_round(chosen, number) for number in range(1, chosen.rounds + 1)]
    for name, row in (("enqueue in bulk", 0), ("run and record", 1)):
        figures = [figure[row] for figure in rounds]
        spread = f"{min(figures):,.0f} to {max(figures):,.0f}"
        print(f"{name:<16} {statistics.median(figures):>8,.0f} jobs/s  (median; {spread})")


def run_round(chosen: argparse.Namespace, number: int) -> tuple[float, float]:
    """Return jobs accepted a second and jobs run a second."""
    from jobs import services
    from jobs.clients import collection
    from jobs.requests import Request

    collection("jobs").delete_many({})
    requests = [Request(type="noop", payload={})] * 1_000
    started = monotonic()
    for _ in range(chosen.jobs // 1_000):
        services.enqueue_many(requests)
    enqueued = chosen.jobs / (monotonic() - started)
    drained = chosen.jobs / drain(chosen.processes)
    print(f"round {number}: enqueued {enqueued:,.0f}/s, ran {drained:,.0f}/s", flush=True)
    return enqueued, drained


def drain(processes: int) -> float:
    """Run workers until every job has ended; return the seconds from first start to last end."""
    from jobs.clients import collection

    jobs = collection("jobs")
    command = [sys.executable, "manage.py", "runworkers", "--processes", str(processes)]
    workers = subprocess.Popen([*command, "--burst"], cwd=ROOT)
    deadline = monotonic() + ROUND_SECONDS
    try:
        while workers.poll() is None:  # asking MongoDB meanwhile would cost the workers time
            if monotonic() > deadline:
                raise SystemExit(f"The workers had not ended after {ROUND_SECONDS} s.")
            sleep(0.1)
    finally:
        workers.terminate()
        workers.wait()
    if left := jobs.count_documents({"status": {"$ne": "completed"}}):
        raise SystemExit(f"{left} jobs were not completed: no figure.")
    (span,) = jobs.aggregate(
        [
            {
                "$group": {
                    "_id": None,
                    "first": {"$min": "$started_at"},
                    "last": {"$max": "$finished_at"},
                }
            }
        ]
    )
    return float((span["last"] - span["first"]).total_seconds())


def versions() -> str:
    from jobs import clients

    mongodb = clients.mongo().client.server_info()["version"]
    return f"MongoDB {mongodb}, Redis {clients.redis().info()['redis_version']}"


if __name__ == "__main__":
    main()
