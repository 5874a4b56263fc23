"""How long a failed job waits before its next attempt."""

import random

JITTER = 0.10  # the most that chance adds, as a share: a herd that failed together spreads out
MAX_SECONDS = 3600.0  # an hour: beyond it a wait is no longer a backoff


def delay_seconds(attempt: int, base_seconds: float, *, chance: float | None = None) -> float:
    """Return the wait after attempt number `attempt` (from 1) failed, in seconds.

    Doubles from `base_seconds`: 2, 4, 8 for a base of 2, at most `MAX_SECONDS`, plus up to 10 %.
    Jitter only ever adds, so the stated backoff is a minimum. `chance` in [0, 1) replaces the
    random draw.
    """
    draw = random.random() if chance is None else chance  # noqa: S311 - spreads load, no secret
    exponent = min(attempt - 1, 64)  # 2**64 is past any cap, and a float still holds it
    return min(base_seconds * 2.0**exponent, MAX_SECONDS) * (1 + JITTER * draw)
