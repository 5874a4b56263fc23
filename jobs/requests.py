"""What may be asked of the queue: every check that a request passes before it becomes a job."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bson.errors import BSONError
from django.conf import settings

from jobs import encoding, registry, secrets
from jobs.clients import Document
from jobs.encoding import Beginning, NewJob
from jobs.errors import FieldError, InvalidRequest, TooLarge
from jobs.registry import NAME, PRIORITIES, JobType, Lane
from jobs.states import State

MAX_DELAY = timedelta(days=366)
MAX_TAGS = 10
MAX_DEPTH = 32  # of a payload or a result; MongoDB refuses documents deeper than about 100
MAX_NAMES = 10_000  # in all objects of a payload or a result together
MAX_NAME_LENGTH = 256
MAX_ATTEMPTS = 100


@dataclass(kw_only=True)  # not frozen: one is made for every job
class Request:
    """One job asked for; `None` means as its job type says."""

    type: str
    payload: Mapping[str, Any]
    priority: str | None = None
    queue: str | None = None
    max_attempts: int | None = None
    run_at: datetime | None = None
    delay: float | None = None  # seconds from now
    tags: Sequence[str] = ()


@dataclass(slots=True)
class _Call:
    """What the requests of one call have in common, looked up once."""

    now: datetime
    known: Document
    most: int  # bytes of a payload
    seals: bool
    usual: dict[str, Beginning]  # how the jobs of a type begin


def new_jobs(requests: Sequence[Request], now: datetime, known: Document) -> list[NewJob]:
    """Check requests; return them as new jobs, each with what else is `known` of them.

    Raises `InvalidRequest` with all their faults. Each fault's field begins with its place in the
    list, when there are several.
    """
    call = _Call(now, known, settings.JOB_PAYLOAD_MAX_BYTES, bool(settings.PAYLOAD_KEYS), {})
    accepted, errors = list[NewJob](), []
    for id, (place, request) in zip(encoding.ids(len(requests)), enumerate(requests), strict=True):
        try:
            accepted.append(NewJob(id, *_checked(request, call)))
        except InvalidRequest as error:
            prefix = f"jobs.{place}." if len(requests) > 1 else ""
            found = [replace(fault, field=prefix + fault.field) for fault in error.errors]
            if isinstance(error, TooLarge):
                raise TooLarge(*found) from None
            errors += found
    if errors:
        raise InvalidRequest(*errors[:100])
    return accepted


def _checked(request: Request, call: _Call) -> tuple[Beginning, bytes]:
    """Check a request; return how its job begins, and its payload as it is stored."""
    job_type = registry.get(request.type)
    if job_type is None:
        known = ", ".join(known.name for known in registry.all_types())
        fault = f"Unknown job type {request.type!r}. Known here: {known or 'none'}."
        raise InvalidRequest(FieldError("type", fault))
    if _chooses(request):
        if faults := list(_faults(request, call.now)):
            raise InvalidRequest(*faults)
        begins = _beginning(job_type, request, call)
    elif (usual := call.usual.get(request.type)) is not None:
        begins = usual
    else:
        begins = call.usual[request.type] = _beginning(job_type, request, call)
    return begins, _payload(job_type, request.payload, call)


def _beginning(job_type: JobType[..., Any], request: Request, call: _Call) -> Beginning:
    now = call.now
    lane = Lane(request.queue or job_type.queue, request.priority or job_type.priority)
    run_at = request.run_at or (now + timedelta(seconds=request.delay) if request.delay else now)
    waits = run_at > now
    status = State.SCHEDULED if waits else State.PENDING
    document = {
        "type": job_type.name,
        "queue": lane.queue,
        "priority": lane.priority,
        "status": status.value,
        "tags": list(dict.fromkeys(request.tags)),
        "max_attempts": request.max_attempts or job_type.max_attempts or settings.JOB_MAX_ATTEMPTS,
        "attempt": 0,
        "crashes": 0,
        "claim": 0,
        "worker": None,
        "batch": None,
        "created_at": now,
        "enqueued_at": now,
        "run_at": run_at if waits else None,
        "started_at": None,
        "finished_at": None,
        "expire_at": None,
        "result": None,
        "result_error": None,
        "error": None,
        "attempts": [],
        **call.known,
    }
    return Beginning(job_type.name, lane, status, encoding.fields(document))


def _chooses(request: Request) -> bool:
    """Return whether anything is asked for that is not as the job type says."""
    given = (request.priority, request.queue, request.max_attempts, request.run_at, request.delay)
    return bool(request.tags) or given != NOTHING


NOTHING = (None,) * 5


def _faults(request: Request, now: datetime) -> Iterable[FieldError]:
    if request.priority is not None and request.priority not in PRIORITIES:
        yield FieldError("priority", f"Use one of: {', '.join(PRIORITIES)}.")
    if request.queue is not None and not NAME.fullmatch(request.queue):
        yield FieldError("queue", "Use 1 to 64 letters, digits, dots, dashes and underscores.")
    if request.max_attempts is not None and not 1 <= request.max_attempts <= MAX_ATTEMPTS:
        yield FieldError("max_attempts", f"Use a number from 1 to {MAX_ATTEMPTS}.")
    if len(request.tags) > MAX_TAGS or not all(map(NAME.fullmatch, request.tags)):
        yield FieldError(
            "tags", f"Use up to {MAX_TAGS} tags of 1 to 64 letters, digits, dots, dashes."
        )
    if request.delay is not None and request.run_at is not None:
        yield FieldError("delay", "Give either delay or run_at, not both.")
    elif request.delay is not None and not 0 <= request.delay <= MAX_DELAY.total_seconds():
        yield FieldError("delay", f"Use 0 to {MAX_DELAY.total_seconds():.0f} seconds.")
    elif request.run_at is not None and request.run_at.tzinfo is None:
        yield FieldError("run_at", "Say the time zone, for example 2026-11-24T12:00:00Z.")
    elif request.run_at is not None and request.run_at > now + MAX_DELAY:
        yield FieldError("run_at", f"Use a time within {MAX_DELAY.days} days.")


def _payload(job_type: JobType[..., Any], payload: Mapping[str, Any], call: _Call) -> bytes:
    try:
        checked = job_type.validate(payload)
        plain = storable("payload", checked)
    except ValueError as error:
        raise InvalidRequest(FieldError("payload", str(error))) from None
    size = len(plain) - UNNAMED
    if size > call.most:
        fault = (
            f"It takes {size} bytes; the limit is {call.most}. Store the data and pass its name."
        )
        raise TooLarge(FieldError("payload", fault))
    return encoding.fields({"payload": secrets.seal(checked)}) if call.seals else plain


def _is_plain(value: Any) -> bool:
    """Return whether a value is an object of texts and whole numbers: always JSON, never deep."""
    return type(value) is dict and PLAIN.issuperset(map(type, value.values()))


UNNAMED = 2  # bytes by which it is more than a document of nothing else under an empty name
PLAIN = frozenset({str, int, bool, type(None)})
_as_json = json.JSONEncoder(allow_nan=False).encode


def storable(name: str, value: Any) -> bytes:
    """Return a value as a field of a document; `ValueError` if it is not JSON or cannot be kept."""
    if not _is_plain(value):
        _as_json(value)
        if fault := form_fault(value):
            raise ValueError(fault)
    try:
        return encoding.fields({name: value})
    except OverflowError:
        raise ValueError("Whole numbers must fit in 64 bits.") from None
    except (BSONError, UnicodeError, TypeError) as error:
        raise ValueError(f"MongoDB cannot store it: {error}.") from None


def form_fault(value: Any) -> str:
    """Return what is wrong with the objects in a value; names like `$a` and `a.b` are data."""
    level, names = [value], 0
    for _ in range(MAX_DEPTH + 1):
        objects = [item for item in level if isinstance(item, dict)]
        names += sum(map(len, objects))
        if names > MAX_NAMES:
            return f"Its objects have more than {MAX_NAMES} names."
        if any(len(name) > MAX_NAME_LENGTH for item in objects for name in item):
            return f"A name in it is longer than {MAX_NAME_LENGTH} characters."
        level = [inner for item in objects for inner in item.values()] + [
            inner for item in level if isinstance(item, list) for inner in item
        ]
        if not level:
            return ""
    return f"It is nested deeper than {MAX_DEPTH} levels."
