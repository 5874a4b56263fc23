"""A believable hour of a queue, for screenshots and for tests that look at whole pages.

Everything happens by the services; what lies in the past is dated back afterwards.
"""

import math
import random
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bson import DatetimeMS, ObjectId
from django.contrib.auth.models import User

from jobs import mongodb, repository, roles, services, tokens
from jobs.claims import ClaimedJob
from jobs.clients import collection
from jobs.requests import Request
from jobs.selectors import JobFilter
from jobs.tallies import Changes

QUEUES = ("default", "mail", "reports", "imports")
HOSTS = ("worker-fra-1", "worker-fra-2", "worker-ams-1")
STEWARD = ObjectId()
CHORES = ("bury", "count", "expire", "heartbeat", "promote", "reap", "repair", "report")
USER, PASSWORD = "olga", "correct horse"

MAIL = {"to": "ada@example.org", "subject": "Your order 4711 has shipped"}
IMAGE = {"width": 640, "height": 360}
REPORT = {"title": "Revenue, November", "report_type": "summary", "hours": 24}
RECORDS = [{"city": city, "sales": sales} for city, sales in (("Ghent", 12), ("Bern", 7))]
DATA = {"action": "aggregate", "records": RECORDS, "field": "sales", "group_by": "city"} | {
    "function": "mean"
}
PAYLOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "send_email": ("mail", MAIL),
    "resize_image": ("default", IMAGE),
    "generate_report": ("reports", REPORT),
    "process_data": ("imports", DATA),
}
FAILURES = {
    "send_email": ("SMTPServerDisconnected", "Connection unexpectedly closed: smtp.example.org"),
    "resize_image": ("UnidentifiedImageError", "cannot identify image file 'uploads/4711.heic'"),
    "generate_report": ("OperationalError", "canceling statement due to statement timeout"),
    "process_data": ("KeyError", "'sales' is missing in record 18"),
}
TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/shop/tasks.py", line 41, in {type}
    return deliver(payload)
  File "/srv/app/shop/delivery.py", line 112, in deliver
    raise {error_type}({error!r})
{error_type}: {error}
"""


def build() -> None:
    """Fill the stores. The person who looks is `USER`, who may do everything."""
    roles.make_groups()
    User.objects.create_superuser(USER, password=PASSWORD)
    roles.give(User.objects.create_user("grafana"), "viewer")
    workers = [_worker(host, group) for host in HOSTS for group in [ObjectId()] * 3]
    past = random.Random(4711)
    _history(past)
    for number in range(48):
        _completed(list(PAYLOADS)[number % 4], workers[number % 9], past)
    for number in range(14):
        _failed(list(PAYLOADS)[number % 4], workers[number % 9], dead=number % 5 != 4)
    _backlog()
    for number in range(5):
        _claim(_enqueue(list(PAYLOADS)[number % 4], priority="high"), workers[number])
    _people()


def keep_alive() -> None:
    """Say every few seconds that the workers live: this does not end."""
    while True:
        time.sleep(5)
        services.heartbeat([worker["_id"] for worker in collection("workers").find({}, {"_id": 1})])


def _worker(host: str, supervisor: ObjectId) -> ObjectId:
    worker = ObjectId()
    serves = [*QUEUES] if host != HOSTS[2] else ["default", "mail"]
    facts = {"host": host, "pid": random.randrange(900, 9000), "concurrency": 2}
    version = "0.1.0" if host != HOSTS[2] else "0.0.9"
    services.register_worker(worker, serves, supervisor=supervisor, version=version, **facts)
    return worker


def _enqueue(type: str, **chosen: Any) -> str:
    queue, payload = PAYLOADS[type]
    return services.enqueue(type, payload, **{"queue": queue, **chosen})


def _claim(id: str, worker: ObjectId) -> ClaimedJob:
    (job,) = repository.claim([ObjectId(id)], worker)
    return job


def _completed(type: str, worker: ObjectId, past: random.Random) -> None:
    job = _claim(_enqueue(type, tags=["nightly"] if past.random() < 0.2 else []), worker)
    waited_ms = round(past.lognormvariate(6, 1.5))
    job = replace(job, enqueued_at=DatetimeMS(int(job.enqueued_at) - waited_ms))
    ended = time.monotonic()
    result = {"delivered": True, "bytes": 48_213} if type == "send_email" else {"rows": 2}
    started = ended - past.lognormvariate(-1, 1)
    services.record(worker, [services.completion(job, started=started, ended=ended, result=result)])


def _failed(type: str, worker: ObjectId, *, dead: bool) -> None:
    error_type, error = FAILURES[type]
    id = _enqueue(type, max_attempts=1 if dead else 4)
    ended = time.monotonic()
    text = TRACEBACK.format(type=type, error_type=error_type, error=error)
    details = {"error_type": error_type, "error": error, "traceback": text}
    end = services.failure(_claim(id, worker), started=ended - 3.4, ended=ended, **details)
    end.delay_seconds = None if dead else 90.0
    services.record(worker, [end])


def _backlog() -> None:
    """Jobs that wait: some within their target, those of imports/low far beyond it."""
    waits = [("mail", "high", 12, 4), ("default", "medium", 96, 22), ("imports", "low", 1204, 264)]
    for queue, priority, count, seconds in waits:
        request = Request(type="process_data", payload=DATA, queue=queue, priority=priority)
        services.enqueue_many([request] * count)
        waiting = {"queue": queue, "priority": priority, "status": "pending"}
        _date_back(waiting, timedelta(seconds=seconds))
    for _ in range(6):
        _enqueue("generate_report", delay=3600)
    services.cancel(_enqueue("generate_report", delay=7200), actor=USER)


def _date_back(selection: dict[str, Any], by: timedelta) -> None:
    fields = ("created_at", "enqueued_at")
    earlier = {
        field: {"$subtract": [f"${field}", by / timedelta(milliseconds=1)]} for field in fields
    }
    collection("jobs").update_many(selection, [{"$set": earlier}])


def _history(past: random.Random) -> None:
    """What the last hour brought, minute by minute, and how many jobs there were in each."""
    now = mongodb.now()
    for ago in range(60, 0, -1):
        changes, at = Changes(), now - timedelta(minutes=ago)
        wave = 60 + 40 * math.sin(ago / 9)
        for type, (queue, _) in PAYLOADS.items():
            for _ in range(int(wave * past.uniform(0.8, 1.2) / 4)):
                _minute(changes, queue, type, at, past)
        for name, more in changes.additions(now, 0):
            collection("tallies").update_one(name, {"$inc": more}, upsert=True)
    for ago in range(15, 0, -1):
        _sample(now - timedelta(minutes=ago), 420 + 60 * (15 - ago), past)


def _minute(changes: Changes, queue: str, type: str, at: datetime, past: random.Random) -> None:
    changes.accepted(queue, type, at)
    failed = past.random() < 0.04
    changes.ended(
        queue,
        type,
        "failed" if failed else "completed",
        at=at,
        waited=past.lognormvariate(6, 1.5),
        ran=past.lognormvariate(5, 1),
        error_type=FAILURES[type][0] if failed else "",
    )


def _sample(at: datetime, imports: int, past: random.Random) -> None:
    pending = {"imports": imports, "default": past.randrange(60, 140), "mail": past.randrange(30)}
    by_status = {
        "pending": sum(pending.values()),
        "running": past.randrange(3, 9),
        "completed": past.randrange(30, 48),
        "retrying": past.randrange(1, 6),
        "scheduled": 6,
        "dead": 6 + (at.minute % 2),
        "cancelled": 1,
    }
    sample = {"at": at, "by_status": by_status, "pending": pending}
    ages = {name: {"seconds": past.uniform(0, 4), "failing": False} for name in CHORES}
    facts = {"host": HOSTS[0], "pid": 871, "leading": True}
    services.report_steward(STEWARD, ages, sample=sample, **facts)


def _people() -> None:
    """What people did: it is in the audit."""
    reason = "Deploying 2.4: the old reports lock the new table"
    until = mongodb.now() + timedelta(minutes=42)
    services.pause("reports", actor=USER, reason=reason, until=until)
    frozen = services.preview("requeue", JobFilter(status="dead", type="process_data"), actor=USER)
    found = services.read_token(frozen.token, actor=USER)
    services.operate_at_once(services.start_operation(found, actor=USER).id)
    tokens.issue(User.objects.get(username="grafana"), role="viewer")
