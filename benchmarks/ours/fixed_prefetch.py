"""`runworkers` that always fetches 200 jobs and gives none back: what adaptive prefetch is for."""

from typing import Any

import django
from django.core.management import call_command

FIXED = 200


def main() -> None:
    django.setup()
    from workers import prefetch, worker

    if "STUCK_SECONDS" not in vars(worker):
        raise SystemExit("workers.worker.STUCK_SECONDS no longer says what it did.")

    class Fixed(prefetch.Prefetch):
        def __init__(self) -> None:
            super().__init__()
            self.count = FIXED

        def ran(self, *_: Any, **__: Any) -> None:
            """Learn nothing."""

    vars(worker)["Prefetch"] = Fixed
    vars(worker)["STUCK_SECONDS"] = float("inf")
    call_command("runworkers", processes=3)


if __name__ == "__main__":
    main()
