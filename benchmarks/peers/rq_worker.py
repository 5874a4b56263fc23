"""An RQ worker that has imported its jobs before it forks, as RQ's documentation advises."""

import sys

import rq

from benchmarks import handlers
from benchmarks.peers.rq_app import line

KINDS = {"fork": rq.Worker, "simple": rq.SimpleWorker}


def main() -> None:
    handlers.keep_across_forks()
    KINDS[sys.argv[1]]([line], connection=line.connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main()
