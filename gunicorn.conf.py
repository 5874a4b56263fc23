"""gunicorn reads this by itself where it is started: with LOG_JSON=1 it writes JSON as all do.

The settings come too late for that: its master never loads them, and a worker may fail to.
"""

import logging
import os
import sys
from typing import Any

from gunicorn.glogging import Logger

from taskqueue import logs


class JsonLogger(Logger):
    """gunicorn's logger, with its levels and its files; only what a line looks like is ours."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        formatter = logs.formatter(json_lines=True)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.setFormatter(formatter)


def post_fork(server: Any, worker: Any) -> None:
    """Log what ends a worker, as gunicorn does, which then prints the error to stderr as well."""
    run = worker.init_process

    def logged() -> None:
        try:
            run()
        except Exception:
            server.log.exception("Exception in worker process")
            sys.exit(-1 if worker.booted else server.WORKER_BOOT_ERROR)

    worker.init_process = logged


def crashed(*error: Any) -> None:
    """As Python's own hook; the master ends so when a second worker fails to boot as it halts."""
    logging.getLogger("gunicorn.error").critical("web.crashed", exc_info=error)


# As the settings read it.
if os.environ.get("LOG_JSON", "").strip().lower() in ("1", "true", "yes", "on"):
    logger_class = JsonLogger
    sys.excepthook = crashed
else:
    del post_fork
