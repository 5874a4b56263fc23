"""The API under /api/v1/. No rule lives here: services change things, selectors read them."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerView,
)
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from jobs import idempotency, problems, selectors, services
from jobs import serializers as shapes
from jobs.errors import FieldError, Gone, NotFound, OutOfScope
from jobs.parsers import refuse_chunked
from jobs.roles import Right, scope_of

F = TypeVar("F", bound=Callable[..., Any])
VIEW: Mapping[str, Right] = {"get": "view"}
PROBLEMS = {
    400: "The request cannot be accepted as it is; `errors` names each fault.",
    401: "No token and no session, or a wrong one.",
    403: "The role does not allow this.",
    404: "There is no such job, queue or address.",
    409: "`illegal_move`: the job is in a state from which this move does not exist. "
    "`idempotency_conflict`: the key belongs to another request of yours; nothing was stored.",
    410: "The request was accepted before, and its job has ended and been deleted since.",
    413: "The body or a payload is over its limit.",
    415: "The body is not application/json.",
    503: "MongoDB did not answer; Retry-After says when to try again.",
}


def documented(
    name: str, summary: str, answer: Any, *errors: int, status: int = 200, **more: Any
) -> Callable[[F], F]:
    """Describe an endpoint: what it answers, and which problems besides 401, 403 and 503."""
    responses = {
        (code, problems.CONTENT_TYPE): OpenApiResponse(shapes.ProblemShape, PROBLEMS[code])
        for code in sorted({401, 403, 503, *errors})
    }
    described: Callable[[F], F] = extend_schema(
        operation_id=name,
        summary=summary,
        responses={(status, "application/json"): answer, **responses},
        **more,
    )
    return described


class Endpoint(APIView):
    """One address. `rights` says what each method needs; without, it answers nobody.

    `scoped`: it heeds the queues that a token is bound to; without, it refuses such tokens.
    """

    rights: ClassVar[Mapping[str, Right]] = {}
    scoped: ClassVar[bool] = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_chunked(request.META)

    @property
    def actor(self) -> str:
        return str(self.request.user.get_username())

    @property
    def scope(self) -> frozenset[str] | None:
        return scope_of(self.request.user)

    def reach(self, queue: str, what: str) -> None:
        """Raise `NotFound` if the caller's token is for other queues: for it, `what` is not."""
        if self.scope is not None and queue not in self.scope:
            raise NotFound(f"There is no {what}.")

    def reach_job(self, id: str) -> None:
        if self.scope is not None:
            self.reach(selectors.job(id).queue, f"job {id}")


def _shown(id: str) -> dict[str, Any]:
    return shapes.JobShape.model_validate(selectors.job(id)).answer()


def _job(id: str) -> Response:
    return Response(_shown(id))


# --- jobs -------------------------------------------------------------------------------------


def parameters(model: type[shapes.Parameters]) -> list[Any]:
    """Return the description of an address's parameters."""
    return [
        OpenApiParameter(name, field.annotation, description=field.description)
        for name, field in model.model_fields.items()
    ]


def _page(query: shapes.JobsQuery | shapes.DeadQuery, within: frozenset[str] | None) -> Response:
    page = selectors.jobs(query.chosen(), cursor=query.cursor, size=query.limit, within=within)
    found = shapes.JobPage.model_validate({"results": page.jobs, "next": page.next_cursor})
    return Response(found.answer())


REPLAYED = "Idempotency-Replayed"
KEYED = [
    OpenApiParameter(
        idempotency.FIELD,
        str,
        OpenApiParameter.HEADER,
        pattern=idempotency.KEY.pattern,
        description="Names this request, so that it may be sent again when its answer was lost: "
        "for 24 hours, the same request under the same key gets the same ids, and is not stored "
        "twice. 1 to 200 printable ASCII characters, for example a new UUID for each request.",
    ),
    OpenApiParameter(
        REPLAYED,
        str,
        OpenApiParameter.HEADER,
        response=[201],
        description="`true` if the request had been accepted before, under the same key.",
    ),
]


class Submission(Endpoint):
    """An address where jobs are submitted, under the caller's own keys."""

    def accept(self, *asked: shapes.JobRequest) -> services.Accepted:
        return services.accept(
            [job.request() for job in asked],
            key=self.request.headers.get(idempotency.FIELD),
            scope=self.actor,
            within=self.scope,
        )

    def answer(self, accepted: services.Accepted, body: Any) -> Response:
        headers = {REPLAYED: "true"} if accepted.replayed else None
        return Response(body, status=201, headers=headers)


class Jobs(Submission):
    rights = {"get": "view", "post": "submit"}
    scoped = True

    @documented(
        "list_jobs",
        "List jobs, the newest first",
        shapes.JobPage,
        400,
        parameters=parameters(shapes.JobsQuery),
    )
    def get(self, request: Request) -> Response:
        query = shapes.read_query(shapes.JobsQuery, dict(request.GET.lists()))
        return _page(query, self.scope)

    @documented(
        "submit_job",
        "Submit a job",
        shapes.JobShape,
        *(400, 409, 410, 413, 415),
        status=201,
        request=shapes.JobRequest,
        parameters=KEYED,
    )
    def post(self, request: Request) -> Response:
        accepted = self.accept(shapes.read(shapes.JobRequest, request.data))
        (id,) = accepted.ids
        try:
            return self.answer(accepted, _shown(id))
        except NotFound:
            raise Gone(f"The job {id} was accepted, has ended and been deleted since.") from None


class Bulk(Submission):
    rights = {"post": "submit"}
    scoped = True

    def max_body_bytes(self) -> int:
        return int(settings.BULK_MAX_BYTES)

    @documented(
        "submit_jobs",
        "Submit up to 10,000 jobs, all or none",
        shapes.BulkShape,
        *(400, 409, 413, 415),
        status=201,
        request=shapes.BulkRequest,
        parameters=KEYED,
    )
    def post(self, request: Request) -> Response:
        accepted = self.accept(*shapes.read(shapes.BulkRequest, request.data).jobs)
        return self.answer(accepted, {"ids": accepted.ids})


class JobDetail(Endpoint):
    rights = VIEW
    scoped = True

    @documented("show_job", "Show a job with its attempts", shapes.JobShape, 400, 404)
    def get(self, request: Request, id: str) -> Response:
        self.reach_job(id)
        return _job(id)


class Requeue(Endpoint):
    rights = {"post": "retry"}
    scoped = True

    @documented(
        "requeue_job",
        "Make a dead or cancelled job pending again, with all its attempts",
        shapes.JobShape,
        *(400, 404, 409),
        request=shapes.NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        shapes.read(shapes.NothingRequest, request.data)
        self.reach_job(id)
        services.requeue(id, actor=self.actor)
        return _job(id)


class Cancel(Endpoint):
    rights = {"post": "cancel"}
    scoped = True

    @documented(
        "cancel_job",
        "Stop a job for good; one that runs is not interrupted, but its end is not recorded",
        shapes.JobShape,
        *(400, 404, 409),
        request=shapes.NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        shapes.read(shapes.NothingRequest, request.data)
        self.reach_job(id)
        services.cancel(id, actor=self.actor)
        return _job(id)


# --- dead letters -----------------------------------------------------------------------------


class Dead(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "list_dead",
        "List dead letters, the newest first",
        shapes.JobPage,
        400,
        parameters=parameters(shapes.DeadQuery),
    )
    def get(self, request: Request) -> Response:
        query = shapes.read_query(shapes.DeadQuery, dict(request.GET.lists()))
        return _page(query, self.scope)


class DeadPreview(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "preview_dead",
        "Show which dead letters a bulk requeue would take, and get a token for just these",
        shapes.PreviewShape,
        *(400, 415),
        request=shapes.Selection,
    )
    def post(self, request: Request) -> Response:
        chosen = shapes.read(shapes.Selection, request.data)
        frozen = selectors.preview_dead(type=chosen.type, queue=chosen.queue)
        return Response(shapes.PreviewShape.of(frozen).answer())


class DeadRequeue(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "requeue_dead",
        "Requeue a previewed set of dead letters",
        shapes.RequeuedShape,
        *(400, 415),
        request=shapes.Frozen,
    )
    def post(self, request: Request) -> Response:
        selection = selectors.frozen_dead(shapes.read(shapes.Frozen, request.data).token)
        return Response({"requeued": services.requeue_dead(selection, actor=self.actor)})


# --- the system -------------------------------------------------------------------------------


class Stats(Endpoint):
    rights = VIEW

    @documented("stats", "Count jobs by state and by lane", shapes.StatsShape)
    def get(self, request: Request) -> Response:
        return Response(shapes.StatsShape.of(selectors.stats()).answer())


class Minutes(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "minutes",
        "Say what happened in each of the last minutes, and how long jobs waited and ran",
        shapes.MinutesShape,
        400,
        parameters=parameters(shapes.MinutesQuery),
    )
    def get(self, request: Request) -> Response:
        query = shapes.read_query(shapes.MinutesQuery, dict(request.GET.lists()))
        if self.scope is not None and query.queue not in self.scope:
            raise OutOfScope(FieldError("queue", f"Use one of: {', '.join(sorted(self.scope))}."))
        found = selectors.minutes(query.minutes, queue=query.queue, type=query.type)
        return Response(shapes.MinutesShape.of(found).answer())


class Queues(Endpoint):
    rights = VIEW
    scoped = True

    @documented("list_queues", "List the queues", shapes.QueueList)
    def get(self, request: Request) -> Response:
        found = [
            shapes.QueueShape.model_validate(queue)
            for queue in selectors.queues()
            if self.scope is None or queue.name in self.scope
        ]
        return Response(shapes.QueueList(results=found).answer())


def _queue(name: str) -> Response:
    named = {queue.name: queue for queue in selectors.queues()}
    return Response(shapes.QueueShape.model_validate(named[name]).answer())


class Pause(Endpoint):
    rights = {"post": "pause_queue"}
    scoped = True

    @documented(
        "pause_queue",
        "Stop handing out a queue's jobs; what runs goes on",
        shapes.QueueShape,
        *(400, 404),
        request=shapes.NothingRequest,
    )
    def post(self, request: Request, name: str) -> Response:
        shapes.read(shapes.NothingRequest, request.data)
        self.reach(name, f"queue {name!r}")
        services.pause(name, actor=self.actor)
        return _queue(name)


class Resume(Endpoint):
    rights = {"post": "pause_queue"}
    scoped = True

    @documented(
        "resume_queue",
        "Hand out a queue's jobs again",
        shapes.QueueShape,
        *(400, 404),
        request=shapes.NothingRequest,
    )
    def post(self, request: Request, name: str) -> Response:
        shapes.read(shapes.NothingRequest, request.data)
        self.reach(name, f"queue {name!r}")
        services.resume(name, actor=self.actor)
        return _queue(name)


class Workers(Endpoint):
    rights = VIEW

    @documented("list_workers", "List the workers: the live first", shapes.WorkerList)
    def get(self, request: Request) -> Response:
        found = [shapes.WorkerShape.of(view) for view in selectors.workers()]
        return Response(shapes.WorkerList(results=found).answer())


class Types(Endpoint):
    rights = VIEW
    scoped = True

    @documented("list_types", "List the job types, each with its schema", shapes.TypeList)
    def get(self, request: Request) -> Response:
        found = [shapes.TypeShape.of(job_type) for job_type in selectors.job_types()]
        return Response(shapes.TypeList(results=found).answer())


# --- signposts --------------------------------------------------------------------------------


class Signpost(Endpoint):
    """The addresses below this one, by what they are called."""

    rights = VIEW
    scoped = True
    names: dict[str, str] = {}

    @extend_schema(exclude=True)  # type: ignore[untyped-decorator]
    def get(self, request: Request) -> Response:
        links = {label: reverse(name, request=request) for label, name in self.names.items()}
        return Response(links)


class Versions(Signpost):
    names = {"v1": "api:v1", "schema": "api:schema", "docs": "api:docs", "redoc": "api:redoc"}


class Endpoints(Signpost):
    names = {
        label: f"api:{label}"
        for label in ("jobs", "bulk", "dead", "stats", "minutes", "queues", "workers", "types")
    }


@csrf_exempt  # it passes requests on to endpoints, which look after that themselves
def elsewhere(request: HttpRequest, path: str) -> HttpResponseBase:
    """Answer any other address: as if it ended in a slash if there is such a one, else 404.

    A redirect would turn a POST into a GET.
    """
    try:
        match = resolve(f"{request.path_info}/")
    except Resolver404:
        match = None
    if path.endswith("/") or match is None or match.func is elsewhere:
        return problems.response(problems.Problem(404, "There is nothing at this address."))
    answer: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
    return answer


class Schema(SpectacularAPIView):  # type: ignore[misc]
    """The description of the API, for programs."""

    rights = VIEW
    scoped = True


class Docs(SpectacularSwaggerView):  # type: ignore[misc]
    """The description as a page to try."""

    rights = VIEW
    scoped = True


class Redoc(SpectacularRedocView):  # type: ignore[misc]
    """The description as a page to read; without the fonts that its own template fetches."""

    rights = VIEW
    scoped = True
    template_name = "api/redoc.html"


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    """How the API's description names the token."""

    target_class = "jobs.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token ` and what `manage.py apitoken NAME --role …` printed.",
        }
