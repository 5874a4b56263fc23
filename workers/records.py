"""What a worker's record says of it from its birth."""

import os
import socket

from bson import ObjectId

from jobs import registry, services, versions
from workers.board import Board


def register_boot(boot: ObjectId, board: Board, pid: int, supervisor: ObjectId) -> None:
    """Make a worker's boot known to MongoDB; called in a child of its supervisor."""
    services.register_worker(
        boot,
        board.queues,
        supervisor=supervisor,
        host=socket.gethostname(),
        pid=pid,
        supervisor_pid=os.getppid(),
        types=[known.name for known in registry.all_types()],
        concurrency=board.slots,
        version=versions.own(),
    )
