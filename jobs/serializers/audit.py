"""The audit."""

from datetime import datetime

from jobs.serializers.base import Id, Json, Shape


class AuditShape(Shape):
    """One thing that somebody did, or was refused. `seq` and `hash` are its place in the chain."""

    id: Id
    seq: int | None
    at: datetime | None
    actor: str
    token: str | None
    address: str | None
    via: str | None
    request_id: str | None
    action: str
    target: str
    detail: str
    before: Json
    after: Json
    refused: bool | None
    hash: str | None


class AuditList(Shape):
    """One page of the audit, newest first; `next` as in a page of jobs."""

    results: list[AuditShape]
    next: str | None
