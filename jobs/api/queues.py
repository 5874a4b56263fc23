"""Queues: how far behind they are, pause, resume."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import backlog, selectors, services
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import documented
from jobs.serializers.queues import BacklogShape, QueueList, QueueShape
from jobs.serializers.requests import NothingRequest, PauseRequest
from jobs.serializers.validation import read


class Queues(Endpoint):
    rights = VIEW
    scoped = True

    @documented("list_queues", "List the queues", QueueList)
    def get(self, request: Request) -> Response:
        found = [
            QueueShape.model_validate(queue)
            for queue in selectors.queues()
            if self.scope is None or queue.name in self.scope
        ]
        return Response(QueueList(results=found).answer())


class QueueDetail(Endpoint):
    rights = VIEW
    scoped = True

    @documented("show_queue", "Show a queue", QueueShape, 404)
    def get(self, request: Request, name: str) -> Response:
        self.reach(name, f"queue {name!r}")
        return _queue(name)


class QueueBacklog(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "show_backlog",
        "Say how far behind a queue is: ages, targets, rates, when it is empty",
        BacklogShape,
        404,
    )
    def get(self, request: Request, name: str) -> Response:
        self.reach(name, f"queue {name!r}")
        return Response(BacklogShape.of(backlog.queue(name)).answer())


class Pause(Endpoint):
    rights = {"post": "pause_queue"}
    scoped = True

    @documented(
        "pause_queue",
        "Stop handing out a queue's jobs; what runs goes on",
        QueueShape,
        *(400, 404),
        request=PauseRequest,
    )
    def post(self, request: Request, name: str) -> Response:
        asked = read(PauseRequest, request.data)
        self.reach(name, f"queue {name!r}")
        until = asked.ends_at(selectors.now())
        services.pause(name, actor=self.actor, reason=asked.reason, until=until)
        return _queue(name)


class Resume(Endpoint):
    rights = {"post": "pause_queue"}
    scoped = True

    @documented(
        "resume_queue",
        "Hand out a queue's jobs again",
        QueueShape,
        *(400, 404),
        request=NothingRequest,
    )
    def post(self, request: Request, name: str) -> Response:
        read(NothingRequest, request.data)
        self.reach(name, f"queue {name!r}")
        services.resume(name, actor=self.actor)
        return _queue(name)


def _queue(name: str) -> Response:
    return Response(QueueShape.model_validate(selectors.queue(name)).answer())
