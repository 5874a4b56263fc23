"""How many jobs to take at once: many while they are quick, one while they are slow."""

LEAST, MOST = 1, 500
QUICK_SECONDS = 0.05  # a batch that takes longer makes the next one smaller
STUCK_SECONDS = 0.25  # how long a claimed job may wait here before it is given back


class Prefetch:
    """Doubles while full batches run quickly; one slow job, or stuck ones, bring it back to one."""

    def __init__(self) -> None:
        self.count = LEAST

    def failed(self) -> None:
        """Learn that MongoDB did not take a claim in its time: a smaller one may get through."""
        self.count = LEAST

    def ran(self, jobs: int, seconds: float, slowest: float) -> None:
        """Learn from a batch: how many jobs it had, how long it and its slowest job took."""
        if slowest > QUICK_SECONDS or seconds > STUCK_SECONDS:
            self.count = LEAST
        elif seconds > QUICK_SECONDS:
            self.count = max(self.count // 2, LEAST)
        elif jobs >= self.count:
            self.count = min(self.count * 2, MOST)
