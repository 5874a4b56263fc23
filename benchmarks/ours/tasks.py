"""The job types, and as many more as a scale run wants."""

import os

from benchmarks import handlers
from jobs import job

noop = job(handlers.noop)
result = job(handlers.result)
sleep = job(handlers.sleep)
stamp = job(handlers.stamp)
mixed = job(handlers.mixed)
swallow = job(handlers.swallow)

MORE = [f"type_{number:04}" for number in range(int(os.environ.get("BENCH_TYPES", "0")))]
for name in MORE:
    job(name=name)(handlers.noop)
