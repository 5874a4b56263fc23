"""Workers, and what is asked of them."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import selectors, services
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import documented
from jobs.serializers.requests import NothingRequest
from jobs.serializers.validation import read
from jobs.serializers.workers import WorkerList, WorkerShape


class Workers(Endpoint):
    rights = VIEW

    @documented("list_workers", "List the workers: the live first", WorkerList)
    def get(self, request: Request) -> Response:
        views, held = selectors.workers(), selectors.held_jobs()
        found = [WorkerShape.of(view, held.get(view.worker.id, ())) for view in views]
        return Response(WorkerList(results=found).answer())


class WorkersAsk(Endpoint):
    """Ask something of the `runworkers` that a worker belongs to, so of all its workers."""

    rights = {"post": "control_worker"}
    what: services.Ask

    def ask(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        services.ask_workers(id, self.what, actor=self.actor)
        view = selectors.worker(id)
        held = selectors.held_jobs(view.worker.id).get(view.worker.id, ())
        return Response(WorkerShape.of(view, held).answer())


class WorkersQuiet(WorkersAsk):
    what = "quiet"

    @documented(
        "quiet_workers",
        "Have the runworkers of a worker take no new job; what runs goes on",
        WorkerShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        return self.ask(request, id)


class WorkersResume(WorkersAsk):
    what = "resume"

    @documented(
        "resume_workers",
        "Have the runworkers of a worker take jobs again",
        WorkerShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        return self.ask(request, id)


class WorkersStop(WorkersAsk):
    what = "stop"

    @documented(
        "stop_workers",
        "Stop the runworkers of a worker, as by SIGTERM: what runs may end, the rest is given back",
        WorkerShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        return self.ask(request, id)
