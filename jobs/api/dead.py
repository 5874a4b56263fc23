"""Dead letters."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import letters, selectors, services
from jobs.api.base import VIEW, Endpoint
from jobs.api.jobs import job_page
from jobs.api.openapi import KEYED_OPERATION, documented, parameters
from jobs.api.operations import previewed, replayed, start
from jobs.roles import check_operation
from jobs.selectors import JobFilter
from jobs.serializers.dead import DeadGroupList, RequeuedShape
from jobs.serializers.jobs import JobPage
from jobs.serializers.operations import PreviewShape
from jobs.serializers.queries import DeadQuery
from jobs.serializers.requests import Frozen, NoteRequest, Selection
from jobs.serializers.validation import read, read_query


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
        return job_page(query, self.scope)


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
        return previewed(services.preview("requeue", chosen, actor=self.actor))


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
        started = start(self, request, only="requeue")
        services.operate_at_once(started.id)
        found = selectors.operation(started.id)
        requeued = 0 if started.replayed else found.done
        answer = {"requeued": requeued, "operation": found.id, "state": found.state}
        return Response(RequeuedShape.model_validate(answer).answer(), headers=replayed(started))
