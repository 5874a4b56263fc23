"""The API under /api/v1/. No rule lives here: services change things, selectors read them."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, get_args

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve
from django.utils.http import parse_etags
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)
from pydantic import BaseModel
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, ParseError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from jobs import (
    backlog,
    idempotency,
    letters,
    limits,
    problems,
    selectors,
    services,
    system,
    why,
)
from jobs.errors import FieldError, Gone, InvalidRequest, NotFound, OutOfScope, RateLimited
from jobs.origin import address_of
from jobs.parsers import refuse_chunked
from jobs.roles import Right, check_operation, may, scope_of
from jobs.selectors import JobFilter
from jobs.serializers.audit import AuditList
from jobs.serializers.dead import DeadGroupList, RequeuedShape
from jobs.serializers.job_types import TypeList, TypeShape
from jobs.serializers.jobs import BulkShape, JobPage, JobShape, WhyShape
from jobs.serializers.operations import OperationList, OperationShape, PreviewShape
from jobs.serializers.problems import ProblemShape
from jobs.serializers.queries import (
    AuditQuery,
    DeadQuery,
    JobQuery,
    JobsQuery,
    MinutesQuery,
    OperationsQuery,
)
from jobs.serializers.queues import BacklogShape, QueueList, QueueShape
from jobs.serializers.requests import (
    BulkRequest,
    EditRequest,
    Frozen,
    JobRequest,
    NoteRequest,
    NothingRequest,
    PauseRequest,
    PreviewRequest,
    Selection,
)
from jobs.serializers.stats import MinutesShape, StatsShape
from jobs.serializers.system import SystemShape
from jobs.serializers.validation import read, read_query
from jobs.serializers.workers import WorkerList, WorkerShape
from jobs.states import ENDED
from jobs.waiting import Outcome

F = TypeVar("F", bound=Callable[..., Any])
VIEW: Mapping[str, Right] = {"get": "view"}
PROBLEMS = {
    400: "The request cannot be accepted as it is; `errors` names each fault.",
    401: "No token and no session, or a wrong one.",
    403: "The role does not allow this.",
    404: "There is no such job, queue or address.",
    405: "Not this method here, or not an id but the name of another address.",
    409: "`illegal_move`: the job is in a state from which this move does not exist. "
    "`idempotency_conflict`: the key belongs to another request of yours; nothing was stored.",
    410: "The request was accepted before, and its job has ended and been deleted since.",
    413: "The body or a payload is over its limit.",
    415: "The body is not application/json.",
    429: "Too much within a minute; nothing was done. Retry-After says when to try again.",
    503: "MongoDB did not answer; Retry-After says when to try again.",
}


def documented(
    name: str, summary: str, answer: Any, *errors: int, status: int = 200, **more: Any
) -> Callable[[F], F]:
    """Describe an endpoint: what it answers, and which problems besides 401, 403, 429, 503."""
    responses: dict[Any, Any] = {
        (code, problems.CONTENT_TYPE): OpenApiResponse(ProblemShape, PROBLEMS[code])
        for code in sorted({401, 403, 429, 503, *errors} - {304})
    }
    if 304 in errors:
        responses[304] = OpenApiResponse(description="You have it already: see If-None-Match.")
    if answer is None:
        responses[status] = OpenApiResponse(description="Done; there is nothing to say.")
    else:
        responses[status, "application/json"] = answer
    described: Callable[[F], F] = extend_schema(
        operation_id=name,
        summary=summary,
        responses=responses,
        **more,
    )
    return described


class Endpoint(APIView):
    """One address. `rights` says what each method needs; without, it answers nobody.

    `scoped`: it heeds the queues that a token is bound to; without, it refuses such tokens.
    """

    rights: ClassVar[Mapping[str, Right]] = {}
    scoped: ClassVar[bool] = False

    limit: limits.Kind = "write"  # what a request that changes something counts as
    allowance: limits.Allowance | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_chunked(request.META)
        if request.method in SAFE_METHODS:
            self.take("read")
        elif self.limit != "submit":  # which counts jobs, once they have been read
            self.take(self.limit)

    def take(self, kind: limits.Kind, cost: int = 1) -> None:
        """Count this request against its caller's limit. Raises `RateLimited`."""
        request = self.request
        who = f"token:{request.auth.pk}" if request.auth else f"user:{request.user.pk}"
        self.allowance = limits.take(kind, who, cost)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer an error. Failing counts too: by address where nobody knows who it was."""
        try:
            if isinstance(exc, NotAuthenticated | AuthenticationFailed):
                limits.take("unknown", address_of(self.request))
            elif isinstance(exc, InvalidRequest | ParseError) and self.allowance is None:
                self.take(self.limit)
        except RateLimited as refusal:
            exc = refusal
        return super().handle_exception(exc)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.allowance.headers.items() if self.allowance else ():
            answer.headers.setdefault(name, value)
        return answer

    @property
    def actor(self) -> str:
        return str(self.request.user.get_username())

    @property
    def scope(self) -> frozenset[str] | None:
        return scope_of(self.request.user)

    @property
    def reveal(self) -> bool:
        """Whether the caller may search what payloads keep secret."""
        return may(self.request.user, "view_payload")

    def reach(self, queue: str, what: str) -> None:
        """Raise `NotFound` if the caller's token is for other queues: for it, `what` is not."""
        if self.scope is not None and queue not in self.scope:
            raise NotFound(f"There is no {what}.")

    def reach_job(self, id: str) -> None:
        if self.scope is not None:
            self.reach(selectors.job(id).queue, f"job {id}")


def _shown(id: str, *, reveal: bool = False) -> dict[str, Any]:
    return JobShape.model_validate(selectors.job(id, reveal=reveal)).answer()


def _job(id: str) -> Response:
    return Response(_shown(id))


# --- jobs -------------------------------------------------------------------------------------


def parameters(model: type[BaseModel]) -> list[Any]:
    """Return the description of an address's parameters."""
    return [
        OpenApiParameter(name, schema, description=schema.pop("description", ""))
        for name, schema in model.model_json_schema()["properties"].items()
    ]


def _page(
    query: JobsQuery | DeadQuery,
    queues: frozenset[str] | None,
    order: selectors.Order = "newest",
    *,
    reveal: bool = False,
) -> Response:
    page = selectors.jobs(
        query.chosen(),
        cursor=query.cursor,
        size=query.limit,
        order=order,
        queues=queues,
        reveal=reveal,
    )
    found = {"results": page.jobs, "next": page.next_cursor, "searched_to": page.searched_to}
    return Response(JobPage.model_validate(found).answer())


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


WAITED = "Wait-Outcome"
TAGGED = [
    OpenApiParameter(
        "If-None-Match",
        str,
        OpenApiParameter.HEADER,
        description="The ETag of the answer you have: if nothing changed, you get 304.",
    ),
    OpenApiParameter(
        "ETag", str, OpenApiParameter.HEADER, response=[200, 304], description="Of this answer."
    ),
    OpenApiParameter(
        WAITED,
        str,
        OpenApiParameter.HEADER,
        response=[200, 304],
        enum=get_args(Outcome),
        description="With `wait`, unless the job had ended before: whether it ended, the time was "
        "over, or there was no room to wait, so that the answer came at once: ask again later.",
    ),
]


KEYED_OPERATION = [
    OpenApiParameter(
        idempotency.FIELD,
        str,
        OpenApiParameter.HEADER,
        pattern=idempotency.KEY.pattern,
        description="As for jobs. Without one the token itself does as much: used again, it "
        "answers the same operation.",
    ),
    OpenApiParameter(
        REPLAYED,
        str,
        OpenApiParameter.HEADER,
        response=[200, 202],
        description="`true` if this operation had been started before.",
    ),
]


class Submission(Endpoint):
    """An address where jobs are submitted, under the caller's own keys."""

    limit = "submit"

    def accept(self, *asked: JobRequest) -> services.Accepted:
        self.take("submit", len(asked))
        return services.accept(
            [job.request() for job in asked],
            key=self.request.headers.get(idempotency.FIELD),
            scope=self.actor,
            within=self.scope,
        )

    def answer(self, accepted: services.Accepted, body: Any) -> Response:
        headers = {REPLAYED: "true"} if accepted.replayed else None
        return Response(body, status=201, headers=headers)

    def shown(self, accepted: services.Accepted) -> Response:
        (id,) = accepted.ids
        try:
            return self.answer(accepted, _shown(id))
        except NotFound:
            raise Gone(f"The job {id} was accepted, has ended and been deleted since.") from None


class Jobs(Submission):
    rights = {"get": "view", "post": "submit"}
    scoped = True

    @documented(
        "list_jobs",
        "List jobs",
        JobPage,
        400,
        parameters=parameters(JobsQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(JobsQuery, dict(request.GET.lists()))
        return _page(query, self.scope, query.sort, reveal=self.reveal)

    @documented(
        "submit_job",
        "Submit a job",
        JobShape,
        *(400, 409, 410, 413, 415),
        status=201,
        request=JobRequest,
        parameters=KEYED,
    )
    def post(self, request: Request) -> Response:
        return self.shown(self.accept(read(JobRequest, request.data)))


class Bulk(Submission):
    rights = {"post": "submit"}
    scoped = True

    def max_body_bytes(self) -> int:
        return int(settings.BULK_MAX_BYTES)

    @documented(
        "submit_jobs",
        "Submit up to 10,000 jobs, all or none",
        BulkShape,
        *(400, 409, 413, 415),
        status=201,
        request=BulkRequest,
        parameters=KEYED,
    )
    def post(self, request: Request) -> Response:
        accepted = self.accept(*read(BulkRequest, request.data).jobs)
        return self.answer(accepted, {"ids": accepted.ids})


class JobDetail(Endpoint):
    rights = {"get": "view", "delete": "delete"}
    scoped = True

    @documented(
        "show_job",
        "Show a job with its attempts; with `wait`, once it has ended or that time is over",
        JobShape,
        *(304, 400, 404, 405),  # `bulk` is no id
        parameters=[*parameters(JobQuery), *TAGGED],
    )
    def get(self, request: Request, id: str) -> Response:
        query = read_query(JobQuery, dict(request.GET.lists()))
        self.reach_job(id)
        reveal = bool(query.reveal)
        if reveal and not may(request.user, "view_payload"):
            raise PermissionDenied
        if reveal:
            services.reveal(id, actor=self.actor)
        body, headers = _shown(id, reveal=reveal), dict[str, str]()
        if query.wait and body["status"] not in ENDED:
            headers[WAITED] = selectors.wait_for(id, query.wait)
            body = _shown(id, reveal=reveal)
        return _tagged(request, body, headers)

    @documented(
        "delete_job",
        "Delete a job that has ended",
        None,
        *(400, 404, 405, 409),
        status=204,
    )
    def delete(self, request: Request, id: str) -> Response:
        self.reach_job(id)
        services.delete(id, actor=self.actor)
        return Response(status=204)


def _tagged(request: Request, body: dict[str, Any], headers: dict[str, str]) -> Response:
    """Answer with an ETag of just this body, or that the caller has it already."""
    digest = hashlib.blake2b(JSONRenderer().render(body), digest_size=12).hexdigest()
    headers |= {"ETag": f'"{digest}"', "Cache-Control": "private, no-cache"}
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if "*" in known or f'"{digest}"' in [tag.removeprefix("W/") for tag in known]:
        return Response(status=304, headers=headers)
    return Response(body, headers=headers)


class Requeue(Endpoint):
    rights = {"post": "retry"}
    scoped = True

    @documented(
        "requeue_job",
        "Make a dead or cancelled job pending again, with all its attempts",
        JobShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        self.reach_job(id)
        services.requeue(id, actor=self.actor)
        return _job(id)


class Resubmit(Submission):
    rights = {"post": "submit"}
    scoped = True

    @documented(
        "resubmit_job",
        "Submit a job that has ended as a new one, edited; a dead letter is discarded with it",
        JobShape,
        *(400, 404, 409, 410, 413, 415),
        status=201,
        request=EditRequest,
        parameters=KEYED,
    )
    def post(self, request: Request, id: str) -> Response:
        asked = read(EditRequest, request.data)
        if not may(request.user, "retry"):
            raise PermissionDenied
        self.take("submit")
        self.reach_job(id)
        accepted = services.resubmit(
            id,
            asked.request(selectors.job(id, reveal=True)),
            actor=self.actor,
            key=self.request.headers.get(idempotency.FIELD),
            within=self.scope,
        )
        return self.shown(accepted)


class Cancel(Endpoint):
    rights = {"post": "cancel"}
    scoped = True

    @documented(
        "cancel_job",
        "Stop a job for good; one that runs is not interrupted, but its end is not recorded",
        JobShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        self.reach_job(id)
        services.cancel(id, actor=self.actor)
        return _job(id)


class Run(Endpoint):
    rights = {"post": "retry"}
    scoped = True

    @documented(
        "run_job",
        "Make a job that waits for its time, or for its next attempt, pending at once",
        JobShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        self.reach_job(id)
        services.run_now(id, actor=self.actor)
        return _job(id)


class WhyDetail(Endpoint):
    rights = VIEW
    scoped = True

    @documented("explain_job", "Say why a job is not running", WhyShape, 400, 404)
    def get(self, request: Request, id: str) -> Response:
        job = selectors.job(id)
        self.reach(job.queue, f"job {id}")
        return Response(WhyShape.of(why.why(job)).answer())


# --- dead letters -----------------------------------------------------------------------------


class Dead(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "list_dead",
        "List dead letters, the newest first",
        JobPage,
        400,
        parameters=parameters(DeadQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(DeadQuery, dict(request.GET.lists()))
        return _page(query, self.scope)


class DeadGroups(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "group_dead",
        "Count dead letters by what they died of: type, kind of error and message",
        DeadGroupList,
    )
    def get(self, request: Request) -> Response:
        found = letters.dead_groups(self.scope)
        return Response(
            DeadGroupList.model_validate(
                {"results": found.groups, "complete": found.complete}
            ).answer()
        )


class DeadGroupNote(Endpoint):
    rights = {"put": "retry"}

    @documented(
        "note_group",
        "Write down something about dead letters that are alike",
        None,
        *(400, 404, 415),
        status=204,
        request=NoteRequest,
    )
    def put(self, request: Request, fingerprint: str) -> Response:
        asked = read(NoteRequest, request.data)
        services.note_group(fingerprint, asked.note, actor=self.actor)
        return Response(status=204)


class DeadPreview(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "preview_dead",
        "Show which dead letters a bulk requeue would take, and get a token for just these",
        PreviewShape,
        *(400, 415),
        request=Selection,
    )
    def post(self, request: Request) -> Response:
        asked = read(Selection, request.data)
        check_operation(request.user, "requeue")
        chosen = JobFilter(status="dead", type=asked.type, queue=asked.queue)
        return _previewed(services.preview("requeue", chosen, actor=self.actor))


def _previewed(preview: services.Preview) -> Response:
    return Response(PreviewShape.model_validate(preview).answer())


class DeadRequeue(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "requeue_dead",
        "Requeue a previewed set of dead letters: what can be in two seconds at once, the rest as "
        "an operation",
        RequeuedShape,
        *(400, 409, 415),
        request=Frozen,
        parameters=KEYED_OPERATION,
    )
    def post(self, request: Request) -> Response:
        started = _start(self, request)
        services.operate_at_once(started.id)
        found = selectors.operation(started.id)
        requeued = 0 if started.replayed else found.done
        answer = {"requeued": requeued, "operation": found.id, "state": found.state}
        return Response(RequeuedShape.model_validate(answer).answer(), headers=_replayed(started))


# --- bulk operations --------------------------------------------------------------------------


def _start(endpoint: Endpoint, request: Request) -> services.Started:
    token = read(Frozen, request.data).token
    frozen = services.read_token(token, actor=endpoint.actor)
    check_operation(request.user, frozen.action)
    key = request.headers.get(idempotency.FIELD)
    return services.start_operation(frozen, actor=endpoint.actor, key=key)


def _replayed(started: services.Started) -> dict[str, str]:
    return {REPLAYED: "true"} if started.replayed else {}


def _operation(id: str) -> dict[str, Any]:
    return OperationShape.model_validate(selectors.operation(id)).answer()


class Operations(Endpoint):
    rights = {"get": "view", "post": "bulk"}

    @documented(
        "list_operations",
        "List bulk operations, the newest first",
        OperationList,
        400,
        parameters=parameters(OperationsQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(OperationsQuery, dict(request.GET.lists()))
        page = selectors.operations(cursor=query.cursor, size=query.limit)
        found = {"results": page.operations, "next": page.next_cursor}
        return Response(OperationList.model_validate(found).answer())

    @documented(
        "start_operation",
        "Do what was previewed to just these jobs, in the background",
        OperationShape,
        *(400, 409, 415),
        status=202,
        request=Frozen,
        parameters=KEYED_OPERATION,
    )
    def post(self, request: Request) -> Response:
        started = _start(self, request)
        address = reverse("api:operation", [started.id], request=request)
        headers = {"Location": address, **_replayed(started)}
        return Response(_operation(started.id), status=202, headers=headers)


class OperationPreview(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "preview_operation",
        "Show which jobs an operation would touch, and get a token for just these",
        PreviewShape,
        *(400, 415),
        request=PreviewRequest,
    )
    def post(self, request: Request) -> Response:
        asked = read(PreviewRequest, request.data)
        check_operation(request.user, asked.action)
        chosen = asked.filter.chosen()
        return _previewed(
            services.preview(asked.action, chosen, actor=self.actor, reveal=self.reveal)
        )


class OperationDetail(Endpoint):
    rights = VIEW

    @documented(
        "show_operation",
        "Show how far it has come",
        OperationShape,
        *(400, 404, 405),  # `preview` is no id
    )
    def get(self, request: Request, id: str) -> Response:
        return Response(_operation(id))


class OperationStop(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "stop_operation",
        "Stop it after the batch in hand; what is done stays done",
        OperationShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        services.stop_operation(id, actor=self.actor)
        return Response(_operation(id))


class OperationResume(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "resume_operation",
        "Let it go on where it was stopped or failed",
        OperationShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        check_operation(request.user, selectors.operation(id).action)
        services.resume_operation(id, actor=self.actor)
        return Response(_operation(id))


# --- the system -------------------------------------------------------------------------------


class Stats(Endpoint):
    rights = VIEW

    @documented("stats", "Count jobs by state and by lane", StatsShape)
    def get(self, request: Request) -> Response:
        return Response(StatsShape.of(selectors.stats()).answer())


class Minutes(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "minutes",
        "Say what happened in each of the last minutes, and how long jobs waited and ran",
        MinutesShape,
        400,
        parameters=parameters(MinutesQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(MinutesQuery, dict(request.GET.lists()))
        if self.scope is not None and query.queue not in self.scope:
            raise OutOfScope(FieldError("queue", f"Use one of: {', '.join(sorted(self.scope))}."))
        found = selectors.minutes(query.minutes, queue=query.queue, type=query.type)
        return Response(MinutesShape.of(found).answer())


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


def _queue(name: str) -> Response:
    return Response(QueueShape.model_validate(selectors.queue(name)).answer())


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


class Workers(Endpoint):
    rights = VIEW

    @documented("list_workers", "List the workers: the live first", WorkerList)
    def get(self, request: Request) -> Response:
        found = [WorkerShape.of(view) for view in selectors.workers()]
        return Response(WorkerList(results=found).answer())


class WorkersAsk(Endpoint):
    """Ask something of the `runworkers` that a worker belongs to, so of all its workers."""

    rights = {"post": "control_worker"}
    what: services.Ask

    def ask(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        services.ask_workers(id, self.what, actor=self.actor)
        return Response(WorkerShape.of(selectors.worker(id)).answer())


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


class System(Endpoint):
    rights = VIEW

    @documented(
        "show_system",
        "Show the stores, counts, stewards, versions and settings",
        SystemShape,
    )
    def get(self, request: Request) -> Response:
        return Response(SystemShape.of(system.system()).answer())


class Types(Endpoint):
    rights = VIEW
    scoped = True

    @documented("list_types", "List the job types, each with its schema", TypeList)
    def get(self, request: Request) -> Response:
        found = [TypeShape.of(job_type) for job_type in selectors.job_types()]
        return Response(TypeList(results=found).answer())


class TypeDetail(Endpoint):
    rights = VIEW
    scoped = True

    @documented("show_type", "Show a job type with its schema", TypeShape, 404)
    def get(self, request: Request, name: str) -> Response:
        return Response(TypeShape.of(selectors.job_type(name)).answer())


class Audit(Endpoint):
    rights = {"get": "view_audit"}

    @documented(
        "list_audit",
        "List what people did and what they were refused, the newest first",
        AuditList,
        400,
        parameters=parameters(AuditQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(AuditQuery, dict(request.GET.lists()))
        page = selectors.audit(query.chosen(), cursor=query.cursor, size=query.limit)
        found = {"results": page.entries, "next": page.next_cursor}
        return Response(AuditList.model_validate(found).answer())


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
        for label in (
            *("jobs", "bulk", "dead", "dead-groups", "operations", "stats", "minutes"),
            *("queues", "workers", "types", "system", "audit"),
        )
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


class Docs(SpectacularSwaggerSplitView):  # type: ignore[misc]
    """The description as a page to try; its script is an address, as the policy wants it."""

    rights = VIEW
    scoped = True
    template_name = "api/swagger.html"


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
