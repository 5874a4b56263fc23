"""What can go wrong, one class a kind. `code` is stable: API clients may rely on it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.limits import Allowance


@dataclass(frozen=True)
class FieldError:
    """One fault of a request: the dotted path of the field, and what to do about it."""

    field: str
    message: str


class QueueError(Exception):
    """Base of every error that a caller of `jobs.services` should expect."""

    code = "error"


class InvalidRequest(QueueError):
    """The request cannot be accepted as it is; nothing was stored. `errors` names each fault."""

    code = "invalid"

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


class TooLarge(InvalidRequest):
    """A payload or a request body is over its limit; nothing was stored."""

    code = "too_large"


class NotFound(QueueError):
    """There is no such job, queue, worker or file."""

    code = "not_found"


class IllegalMove(QueueError):
    """The job is in a state from which this move does not exist; nothing was changed."""

    code = "illegal_move"


class IdempotencyConflict(QueueError):
    """The idempotency key belongs to another request of this caller; nothing was stored."""

    code = "idempotency_conflict"


class Gone(QueueError):
    """The job was accepted, and has ended and been deleted since; nothing was done now."""

    code = "gone"


class OutOfScope(InvalidRequest):
    """The caller's token is for other queues; nothing was stored. `errors` names the queue."""

    code = "out_of_scope"


class ReadOnly(QueueError):
    """Changes are switched off here; nothing was changed. Workers go on."""

    code = "read_only"

    def __init__(self) -> None:
        super().__init__(
            "Changes are switched off here (READ_ONLY), and nothing was changed. Workers go on "
            "with the jobs there are. Try again when an operator has switched changes on."
        )


class RateLimited(QueueError):
    """The caller has asked for too much within a minute; nothing was done.

    `wait`: it is worth asking again once the allowance is reset.
    """

    code = "throttled"

    def __init__(self, message: str, allowance: "Allowance", *, wait: bool) -> None:
        super().__init__(message)
        self.allowance = allowance
        self.wait = wait


class StoreDown(QueueError):
    """MongoDB did not answer: whether anything was stored is unknown to the caller."""

    code = "store_down"


class TooSlow(StoreDown):
    """MongoDB stopped a question that took too long; nothing was changed."""

    code = "too_slow"


class Unstorable(QueueError):
    """MongoDB answered, and will never take this: repeating it is no use. Nothing was changed."""

    code = "invalid"


class DefinitionError(Exception):
    """A job type is written in a way that cannot work; raised while its module is imported."""
