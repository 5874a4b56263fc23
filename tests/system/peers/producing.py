"""The loop of a producer: a job's number a line in, how its enqueue call went a line out."""

import json
import sys
from collections.abc import Callable


def produce(enqueue: Callable[[int], object]) -> None:
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = int(line)
        print(json.dumps({"job": job, "error": _try(enqueue, job)}), flush=True)


def _try(enqueue: Callable[[int], object], job: int) -> str | None:
    try:
        enqueue(job)
    except Exception as error:  # whatever the caller of a peer would have seen
        return f"{type(error).__name__}: {error}"
    return None
