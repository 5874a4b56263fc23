"""What MongoDB holds: the schema, the indexes, and the reads of pages, API and admin.

Only `jobs.repository` moves a job; nothing here is saved through the ORM but tokens, notes and
saved views. The audit is appended by `jobs.audit`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django_mongodb_backend.fields import (
    ArrayField,
    EmbeddedModelArrayField,
    ObjectIdAutoField,
    ObjectIdField,
)
from django_mongodb_backend.models import EmbeddedModel

from jobs.indexes import TTLIndex
from jobs.registry import PRIORITIES
from jobs.roles import NAMES
from jobs.states import WAITING, State

EPOCH = datetime.fromtimestamp(0, UTC)


class Attempt(EmbeddedModel):  # type: ignore[misc]
    """One execution that ended. A crash is listed, but does not use up an attempt."""

    attempt = models.IntegerField()  # from 1; a crashed execution has the number it would have had
    claim = models.IntegerField()
    worker = ObjectIdField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    receipt = ObjectIdField(null=True)  # of the write that recorded it: see Receipt
    outcome = models.CharField(max_length=16)  # completed, failed, timed_out, crashed or lost
    error_type = models.CharField(max_length=200)
    error = models.TextField()
    traceback = models.TextField()
    logs = ArrayField(models.TextField(), null=True)  # the last lines that it logged

    @property
    def seconds(self) -> float:
        return float((self.ended_at - self.started_at).total_seconds())


class Job(models.Model):
    """One request to run a job type with a payload."""

    id = ObjectIdAutoField(primary_key=True)
    type = models.CharField(max_length=64)
    queue = models.CharField(max_length=64)
    priority = models.CharField(max_length=6, choices=[(name, name) for name in PRIORITIES])
    status = models.CharField(max_length=9, choices=[(state, state) for state in State])
    payload = models.JSONField()
    tags = ArrayField(models.CharField(max_length=64))
    max_attempts = models.IntegerField()
    attempt = models.IntegerField()  # attempts used up
    crashes = models.IntegerField()  # executions that took their worker with them
    claim = models.IntegerField()  # +1 per claim: the fencing token
    worker = ObjectIdField(null=True)  # who holds it, or held it last
    batch = ObjectIdField(null=True)  # the write that moved it last: finds its own jobs again
    uncounted = models.BooleanField(null=True)  # true: it is in no tally yet
    created_at = models.DateTimeField()
    enqueued_at = models.DateTimeField()  # its place in the lane: first in, first out
    run_at = models.DateTimeField(null=True)  # when it is due, while it waits for a time
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expire_at = models.DateTimeField(null=True)  # a steward deletes it then; null: it stays
    result = models.JSONField(null=True)
    result_error = models.TextField(null=True)  # why a completed job's result was not kept
    error = models.TextField(null=True)  # the last failure, in one line
    fingerprint = models.CharField(max_length=16, null=True)  # of the last failure: see its module
    attempts = EmbeddedModelArrayField(Attempt)
    request_id = models.CharField(max_length=64, null=True)  # of the request that submitted it
    idempotency_key = models.CharField(max_length=200, null=True)  # under which it was submitted
    copied_from = ObjectIdField(null=True)  # the job that was edited and requeued as this one
    copied_to = ObjectIdField(null=True)  # and the last one that was made of this one

    class Meta:
        db_table = "jobs"
        ordering = ["-id"]
        default_permissions = ()
        permissions: ClassVar = list(NAMES.items())
        indexes = [
            # Repair, depth and age of a lane; only what is pending is in it.
            models.Index(
                fields=["status", "queue", "priority", "enqueued_at"],
                name="lane",
                condition=models.Q(status=State.PENDING.value),
            ),
            # Promotion: what is due next.
            models.Index(
                fields=["status", "run_at"],
                name="due",
                condition=models.Q(status__in=[state.value for state in WAITING]),
            ),
            # Reaping: what a worker holds.
            models.Index(
                fields=["status", "worker"],
                name="held",
                condition=models.Q(status=State.RUNNING.value),
            ),
            # Lists and counts by status and by type, newest first.
            models.Index(fields=["status", "-id"], name="by_status"),
            models.Index(fields=["type", "-id"], name="by_type"),
            # A few jobs carry tags; the others cost this index nothing.
            models.Index(fields=["tags", "-id"], name="by_tag", condition=models.Q(tags__gt="")),
            # Dead letters by what they died of, newest first.
            models.Index(
                fields=["status", "fingerprint", "-id"],
                name="letters",
                condition=models.Q(status=State.DEAD.value),
            ),
            # Counting: few, and only for a moment.
            models.Index(
                fields=["uncounted", "created_at"],
                name="uncounted",
                condition=models.Q(uncounted=True),
            ),
            # Deletion: whose time to be kept is over. Not MongoDB's own, which would tell no tally.
            models.Index(
                fields=["expire_at"], name="expired", condition=models.Q(expire_at__gt=EPOCH)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Worker(models.Model):
    """One boot of a worker process. `id` is fresh at every start, never host and pid."""

    id = ObjectIdAutoField(primary_key=True)
    supervisor = ObjectIdField()
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    queues = ArrayField(models.CharField(max_length=64))
    concurrency = models.IntegerField()
    version = models.CharField(max_length=32)
    supervisor_pid = models.IntegerField(null=True)  # of its `runworkers`
    types = ArrayField(models.CharField(max_length=64), null=True)  # the job types it has code for
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=200, null=True)
    # Said with the heartbeat; null before the first.
    quiet = models.BooleanField(null=True)  # it takes no new job
    done = models.IntegerField(null=True)  # executions that ended well since its start
    failed = models.IntegerField(null=True)  # and those that did not
    rss_bytes = models.BigIntegerField(null=True)
    cpu_percent = models.FloatField(null=True)  # of one core, since the heartbeat before
    # What an operator asked of its `runworkers` last.
    asked = models.CharField(max_length=8, null=True)  # quiet, resume or stop
    asked_at = models.DateTimeField(null=True)
    asked_by = models.CharField(max_length=150, null=True)

    class Meta:
        db_table = "workers"
        ordering = ["id"]
        indexes = [TTLIndex(fields=["ended_at"], name="ended_expiry", after=timedelta(days=1))]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Steward(models.Model):
    """What a supervisor's steward last said of itself; `id` is that of the supervisor's boot."""

    id = ObjectIdAutoField(primary_key=True)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    leading = models.BooleanField()  # it does the work of all
    at = models.DateTimeField()
    chores = models.JSONField()  # by name: when it ran last, and whether it failed
    samples = models.JSONField(null=True)  # of the last minutes, of the one that leads

    class Meta:
        db_table = "stewards"
        ordering = ["-leading", "id"]
        indexes = [TTLIndex(fields=["at"], name="steward_expiry", after=timedelta(days=1))]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Queue(models.Model):
    """A named line of jobs; known from its first job or worker on.

    Whether it is paused now is asked of `jobs.selectors`: a pause may have run out since.
    """

    name = models.CharField(max_length=64, primary_key=True, db_column="_id")
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=150, null=True)
    paused_reason = models.CharField(max_length=200, null=True)
    paused_until = models.DateTimeField(null=True)  # null: until somebody resumes it

    class Meta:
        db_table = "queues"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class AcceptedRequest(models.Model):
    """A request that came with an idempotency key: what was asked, and the ids that were answered.

    Written by `jobs.repository` in one transaction with its jobs.
    """

    id = models.CharField(max_length=64, primary_key=True, db_column="_id")  # of caller and key
    digest = models.CharField(max_length=64)  # of what was asked
    ids = ArrayField(ObjectIdField())
    expire_at = models.DateTimeField()  # from then on the key may name another request

    class Meta:
        db_table = "requests"
        ordering = ["id"]
        indexes = [TTLIndex(fields=["expire_at"], name="request_expiry")]

    def __str__(self) -> str:
        return f"request {self.id}"


class Tally(models.Model):
    """A part of a total or of a minute; the counts themselves are named in `jobs.tallies`."""

    id = models.CharField(max_length=255, primary_key=True, db_column="_id")
    queue = models.CharField(max_length=64)
    priority = models.CharField(max_length=6, null=True)  # of a total
    type = models.CharField(max_length=64, null=True)  # of a minute, like the next
    minute = models.DateTimeField(null=True)
    stripe = models.IntegerField()

    class Meta:
        db_table = "tallies"
        ordering = ["id"]
        verbose_name_plural = "tallies"
        indexes = [
            models.Index(fields=["type", "queue", "minute"], name="by_minute"),
            TTLIndex(fields=["minute"], name="minute_expiry", after=timedelta(days=14)),
        ]

    def __str__(self) -> str:
        return f"tally {self.id}"


class Receipt(models.Model):
    """Which ends a worker is about to write. It is deleted when they are written and counted."""

    id = ObjectIdAutoField(primary_key=True)
    worker = ObjectIdField()
    jobs = ArrayField(ObjectIdField())
    claims = ArrayField(models.IntegerField())
    statuses = ArrayField(models.CharField(max_length=9))  # where each of the jobs goes
    new = ArrayField(ObjectIdField())  # those of the jobs that are in no tally yet
    opened_at = models.DateTimeField()
    counted_at = models.DateTimeField(null=True)  # when a steward took it for left behind

    class Meta:
        db_table = "receipts"
        ordering = ["id"]
        indexes = [TTLIndex(fields=["counted_at"], name="counted", after=timedelta(days=1))]

    def __str__(self) -> str:
        return f"receipt {self.id}"


class Operation(models.Model):
    """A bulk operation: what a preview froze, how far it has come. See jobs.operations."""

    id = ObjectIdAutoField(primary_key=True)
    action = models.CharField(max_length=16)  # requeue, cancel or delete
    filter = models.JSONField()
    actor = models.CharField(max_length=150)
    state = models.CharField(max_length=16)  # previewed, running, stopped, completed or failed
    total = models.IntegerField()  # jobs that were frozen
    batches = models.IntegerField()
    position = models.IntegerField()  # batches done
    done = models.IntegerField()  # jobs moved
    skipped = models.IntegerField()  # jobs that had moved on by themselves
    error = models.TextField(null=True)  # why it failed
    frozen_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    resumed_at = models.DateTimeField(null=True)  # when it went on last
    resumed_from = models.IntegerField()  # jobs that were done or skipped by then
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    expire_at = models.DateTimeField()

    class Meta:
        db_table = "operations"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state"], name="operation_state"),
            TTLIndex(fields=["expire_at"], name="operation_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.id}"

    @property
    def looked_at(self) -> int:
        return self.done + self.skipped

    @property
    def rate(self) -> float | None:
        """Jobs a second since it went on last; `None` before its first batch."""
        seconds = (self.updated_at - self.resumed_at).total_seconds() if self.resumed_at else 0
        return (self.looked_at - self.resumed_from) / seconds if seconds > 0 else None


class FrozenBatch(models.Model):
    """A part of what an operation may touch: jobs, and a stamp of how each stood at the preview."""

    id = models.CharField(max_length=64, primary_key=True, db_column="_id")  # operation.number
    ids = ArrayField(ObjectIdField())
    stamps = ArrayField(models.BigIntegerField())
    expire_at = models.DateTimeField()

    class Meta:
        db_table = "frozen_batches"
        ordering = ["id"]
        verbose_name_plural = "frozen batches"
        indexes = [TTLIndex(fields=["expire_at"], name="frozen_expiry")]

    def __str__(self) -> str:
        return f"frozen batch {self.id}"


class GroupNote(models.Model):
    """What people wrote down about failures that are alike."""

    fingerprint = models.CharField(max_length=16, primary_key=True, db_column="_id")
    text = models.TextField()
    actor = models.CharField(max_length=150)
    at = models.DateTimeField()

    class Meta:
        db_table = "group_notes"
        ordering = ["fingerprint"]

    def __str__(self) -> str:
        return f"note on {self.fingerprint}"


class SavedView(models.Model):
    """A query that a person keeps under a name. Nobody else sees it."""

    id = ObjectIdAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=500)

    class Meta:
        db_table = "saved_views"
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="view_of_user")]

    def __str__(self) -> str:
        return self.name


class AuditEntry(models.Model):
    """One thing that a person or a program did to the queue, or was refused. See `jobs.audit`."""

    id = ObjectIdAutoField(primary_key=True)
    seq = models.IntegerField(null=True)  # its place in the chain, from 1; null: from before it
    hash = models.CharField(max_length=64, null=True)  # of this row and of the hash before it
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    token = models.CharField(max_length=150, null=True)  # the name of the API token, if any
    address = models.CharField(max_length=64, null=True)
    via = models.CharField(max_length=8, null=True)  # page, api, admin, command or worker
    request_id = models.CharField(max_length=64, null=True)
    action = models.CharField(max_length=32)
    target = models.CharField(max_length=200)
    detail = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    refused = models.BooleanField(null=True)

    class Meta:
        db_table = "audit"
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        constraints = [
            models.UniqueConstraint(fields=["seq"], name="audit_seq", condition=models.Q(seq__gt=0))
        ]
        indexes = [
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["target", "-id"], name="audit_by_target"),
            # Refusals may be few among many rows; the others cost this index nothing.
            models.Index(
                fields=["refused", "-id"], name="audit_refused", condition=models.Q(refused=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("Audit entries are only added, and by jobs.audit alone.")

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Audit entries are never deleted.")


class ApiToken(models.Model):
    """A key to the API. Only its SHA-256 is kept: the token itself is shown once."""

    id = ObjectIdAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    public = models.CharField(max_length=8, unique=True)  # the part of it that may be shown
    digest = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=8)  # it may no more than this, nor than its user; "": all
    queues = ArrayField(models.CharField(max_length=64))  # its jobs are those of these; none: all
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)  # it is kept, so that the audit can name it
    last_used_at = models.DateTimeField(null=True)  # a minute late at most

    class Meta:
        db_table = "api_tokens"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} (tq_{self.public}_…)"

    def state(self, now: datetime) -> str:
        """Return whether it can be used: active, expired or revoked."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= now else "active"
