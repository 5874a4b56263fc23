"""The process that enqueues, on orders from the runner: one line of JSON each, one in reply.

`python -m benchmarks.client MODULE` serves what `MODULE.queue()` returns: an object with
`one(job, arguments)`, perhaps `bulk(job, [arguments, …])`, and perhaps `settle()`, which is not
timed; `timed` calls any other method. Where they are coroutines, callers are tasks instead of
threads. Standard library only: the peers' environments run it too.
"""

import asyncio
import importlib
import inspect
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Order = dict[str, Any]
Answer = dict[str, Any]


def one(queue: Any, order: Order) -> Answer:
    """Enqueue one job at a time."""
    job, arguments = order["job"], order["arguments"]
    started = time.monotonic()
    for _ in range(order["count"]):
        queue.one(job, arguments)
    return _took(queue, started)


def bulk(queue: Any, order: Order) -> Answer:
    """Enqueue many jobs in each call."""
    many = [order["arguments"]] * order["batch"]
    started = time.monotonic()
    for _ in range(order["count"] // order["batch"]):
        queue.bulk(order["job"], many)
    return _took(queue, started)


def many(queue: Any, order: Order) -> Answer:
    """Enqueue one job at a time in each of several threads."""
    callers = order["callers"]
    share = {**order, "count": order["count"] // callers}
    ready = threading.Barrier(callers + 1)

    def call() -> None:
        queue.one(order["job"], order["arguments"])  # its connection is not what is measured
        ready.wait()
        for _ in range(share["count"]):
            queue.one(order["job"], order["arguments"])

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call) for _ in range(callers)]
        ready.wait(30)
        started = time.monotonic()
        for each in calls:
            each.result()
        took = time.monotonic() - started
    _settle(queue)
    return {"seconds": took}


def timed(queue: Any, order: Order) -> Answer:
    """Call one thing as often as told in each of several threads. Returns each call's time."""
    call, milliseconds = getattr(queue, order["call"]), list[float]()
    call()  # its connection is not what is measured

    def caller() -> None:
        for _ in range(order["count"] // order["callers"]):
            began = time.monotonic()
            call()
            milliseconds.append(1000 * (time.monotonic() - began))

    with ThreadPoolExecutor(order["callers"]) as pool:
        started = time.monotonic()
        for each in [pool.submit(caller) for _ in range(order["callers"])]:
            each.result()
        return {"seconds": time.monotonic() - started, "milliseconds": milliseconds}


def paced(queue: Any, order: Order) -> Answer:
    """Enqueue at given moments. Returns when each job's call began and when it returned."""
    before, after = list[int](), list[int]()
    zero = time.monotonic()
    for moment, job, first, count in order["plan"]:
        time.sleep(max(zero + moment - time.monotonic(), 0))
        numbers = [[n] for n in range(first, first + count)]
        if count > 1 and hasattr(queue, "bulk"):
            before += [time.monotonic_ns()] * count
            queue.bulk(job, numbers)
            after += [time.monotonic_ns()] * count
        else:
            for arguments in numbers:
                before.append(time.monotonic_ns())
                queue.one(job, arguments)
                after.append(time.monotonic_ns())
    return {"before": before, "after": after}


def _took(queue: Any, started: float) -> Answer:
    took = time.monotonic() - started
    _settle(queue)
    return {"seconds": took}


def _settle(queue: Any) -> None:
    if hasattr(queue, "settle"):
        queue.settle()


async def one_async(queue: Any, order: Order) -> Answer:
    started = time.monotonic()
    for _ in range(order["count"]):
        await queue.one(order["job"], order["arguments"])
    return {"seconds": time.monotonic() - started}


async def many_async(queue: Any, order: Order) -> Answer:
    callers = order["callers"]
    share = {**order, "count": order["count"] // callers}
    await asyncio.gather(*(queue.one(order["job"], order["arguments"]) for _ in range(callers)))
    started = time.monotonic()
    await asyncio.gather(*(one_async(queue, share) for _ in range(callers)))
    return {"seconds": time.monotonic() - started}


async def paced_async(queue: Any, order: Order) -> Answer:
    before, after = list[int](), list[int]()
    zero = time.monotonic()
    for moment, job, first, count in order["plan"]:
        await asyncio.sleep(max(zero + moment - time.monotonic(), 0))
        for n in range(first, first + count):
            before.append(time.monotonic_ns())
            await queue.one(job, [n])
            after.append(time.monotonic_ns())
    return {"before": before, "after": after}


Act = Callable[[Any, Order], Any]
ACTS: dict[str, Act] = {"one": one, "bulk": bulk, "many": many, "timed": timed, "paced": paced}
ASYNC_ACTS: dict[str, Act] = {"one": one_async, "many": many_async, "paced": paced_async}


def main() -> None:
    queue = importlib.import_module(sys.argv[1]).queue()
    loop = asyncio.new_event_loop() if inspect.iscoroutinefunction(queue.one) else None
    _say({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if loop:
                _say(loop.run_until_complete(ASYNC_ACTS[order["do"]](queue, order)))
            else:
                _say(ACTS[order["do"]](queue, order))
        except Exception as error:  # the runner reports it and goes on
            _say({"error": f"{type(error).__name__}: {error}"[:500]})


def _say(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
