"""Jobs: submit, list, show, move."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.utils.http import parse_etags
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import idempotency, selectors, services, why
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import KEYED, REPLAYED, TAGGED, WAITED, documented, parameters
from jobs.errors import Gone, NotFound
from jobs.roles import may
from jobs.serializers.jobs import BulkShape, JobPage, JobShape, WhyShape
from jobs.serializers.queries import DeadQuery, JobQuery, JobsQuery
from jobs.serializers.requests import BulkRequest, EditRequest, JobRequest, NothingRequest
from jobs.serializers.validation import read, read_query
from jobs.states import ENDED


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
        return job_page(query, self.scope, query.sort, reveal=self.reveal)

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


class Move(Endpoint):
    scoped = True

    def move(self, request: Request, id: str, verb: Callable[..., None]) -> Response:
        """Have one job moved by a verb, and answer with where it is then."""
        read(NothingRequest, request.data)
        self.reach_job(id)
        verb(id, actor=self.actor)
        return Response(_shown(id))


class Requeue(Move):
    rights = {"post": "retry"}

    @documented(
        "requeue_job",
        "Make a dead or cancelled job pending again, with all its attempts",
        JobShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        return self.move(request, id, services.requeue)


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


class Cancel(Move):
    rights = {"post": "cancel"}

    @documented(
        "cancel_job",
        "Stop a job for good; one that runs is not interrupted, but its end is not recorded",
        JobShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        return self.move(request, id, services.cancel)


class Run(Move):
    rights = {"post": "retry"}

    @documented(
        "run_job",
        "Make a job that waits for its time, or for its next attempt, pending at once",
        JobShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        return self.move(request, id, services.run_now)


class WhyDetail(Endpoint):
    rights = VIEW
    scoped = True

    @documented("explain_job", "Say why a job is not running", WhyShape, 400, 404)
    def get(self, request: Request, id: str) -> Response:
        self.reach_job(id)
        found = why.why(selectors.job(id), known=self.scope)
        return Response(WhyShape.of(found).answer())


def job_page(
    query: JobsQuery | DeadQuery,
    queues: frozenset[str] | None,
    order: selectors.Order = "newest",
    *,
    reveal: bool = False,
) -> Response:
    """Answer with one page of the jobs that are asked for."""
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


def _shown(id: str, *, reveal: bool = False) -> dict[str, Any]:
    return JobShape.model_validate(selectors.job(id, reveal=reveal)).answer()


def _tagged(request: Request, body: dict[str, Any], headers: dict[str, str]) -> Response:
    """Answer with an ETag of just this body, or that the caller has it already."""
    digest = hashlib.blake2b(JSONRenderer().render(body), digest_size=12).hexdigest()
    headers |= {"ETag": f'"{digest}"', "Cache-Control": "private, no-cache"}
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if "*" in known or f'"{digest}"' in [tag.removeprefix("W/") for tag in known]:
        return Response(status=304, headers=headers)
    return Response(body, headers=headers)
