"""Three addresses for machines: does the process live, can it serve, what are the numbers."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pymongo
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs import clients, counts, selectors, versions
from jobs.models import Job
from jobs.roles import Right

log = structlog.get_logger(__name__)
PING_SECONDS = 1.5


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers. Open to all: it says nothing else, and asks no store.

    For restarting a stuck process; an outage of a store must not restart every web process.
    """
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 if jobs can be accepted now, 503 if not. Open to all: it names states, no addresses.

    MongoDB away, or its indexes not made yet: not ready. Redis away: still ready, but degraded,
    since jobs are accepted all the same and start once Redis is back.
    """
    mongodb, redis = _mongodb(), _redis()
    ready = mongodb == "ok"
    body = {
        "ready": ready,
        "degraded": ready and redis != "ok",
        "mongodb": mongodb,
        "redis": redis,
        "meaning": MEANINGS[mongodb] if not ready else MEANINGS[f"redis {redis}"],
    }
    return JsonResponse(body, status=200 if ready else 503)


MEANINGS = {
    "down": "MongoDB does not answer: no job can be accepted or read until it does.",
    "not migrated": "The jobs' indexes are missing: run `manage.py migrate`.",
    "redis ok": "Jobs are accepted and handed to workers.",
    "redis down": "Jobs are accepted and safe in MongoDB; they start once Redis is back.",
}


def _mongodb() -> str:
    wanted = {index.name for index in Job._meta.indexes}
    try:
        with pymongo.timeout(PING_SECONDS):
            found = clients.collection(Job._meta.db_table).index_information()
    except PyMongoError as error:
        log.warning("readyz.mongodb_down", error=str(error)[:500])
        return "down"
    return "ok" if wanted <= found.keys() else "not migrated"


def _redis() -> str:
    try:
        clients.redis().ping()
    except RedisError as error:
        log.warning("readyz.redis_down", error=str(error)[:500])
        return "down"
    return "ok"


class QueueCollector(Collector):
    """The numbers, read when asked for: no process keeps counters that a restart forgets."""

    def collect(self) -> Iterator[Metric]:
        """Yield each family. Raises `StoreDown`."""
        stats = counts.stats()
        yield _gauge("jobs", "Jobs in each state.", ["state"], stats.by_status.items())
        lanes = [(each.lane.queue, each.lane.priority, each) for each in stats.lanes]
        yield _gauge(
            "lane_jobs",
            "Pending jobs in each lane.",
            ["queue", "priority"],
            ((queue, priority, lane.depth) for queue, priority, lane in lanes),
        )
        yield _gauge(
            "lane_oldest_age_seconds",
            "How long the oldest pending job of each lane has waited; 0 for an empty lane.",
            ["queue", "priority"],
            (
                (
                    *(queue, priority),
                    max((stats.at - lane.oldest).total_seconds(), 0) if lane.oldest else 0,
                )
                for queue, priority, lane in lanes
            ),
        )
        paused = {queue: lane.paused for queue, _, lane in lanes}
        yield _gauge("queue_paused", "1 while a queue is paused.", ["queue"], paused.items())
        states = Counter({"live": 0, "lost": 0})
        states.update(view.state for view in selectors.workers(ended=False))
        yield _gauge("workers", "Workers in each state.", ["state"], states.items())
        refused = CounterMetricFamily(
            "taskqueue_refused_ends", "Executions that ended after their claim was over."
        )
        refused.add_metric([], selectors.refused_ends())
        yield refused
        yield _gauge(
            "build_info", "1, labelled with the version.", ["version"], [(versions.own(), 1)]
        )


def _gauge(name: str, text: str, labels: list[str], rows: Any) -> Metric:
    family = GaugeMetricFamily(f"taskqueue_{name}", text, labels=labels)
    for *values, number in rows:
        family.add_metric(values, float(number))
    return family


class MetricsRenderer(BaseRenderer):
    """Prometheus' text, already written."""

    media_type = "text/plain"
    format = "txt"
    charset = None
    render_style = "binary"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        return data


class Metrics(APIView):
    """Prometheus' numbers. Closed: needs a token or session with the right to view, as the API.

    With METRICS_OPEN=1, open to all who reach it.
    Prometheus: `authorization: {type: Token, credentials: …}`.
    """

    renderer_classes = [MetricsRenderer]
    rights: ClassVar[Mapping[str, Right]] = {"get": "view"}

    def get_permissions(self) -> list[Any]:
        return [] if settings.METRICS_OPEN else list(super().get_permissions())

    @extend_schema(exclude=True)  # type: ignore[untyped-decorator]
    def get(self, request: Request) -> Response:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(QueueCollector())
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


metrics = Metrics.as_view()
