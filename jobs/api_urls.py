"""The addresses under /api/."""

from django.urls import path

from jobs import api

app_name = "api"
urlpatterns = [
    path("", api.Versions.as_view(), name="versions"),
    path("schema/", api.Schema.as_view(), name="schema"),
    path("docs/", api.Docs.as_view(url_name="api:schema"), name="docs"),
    path("redoc/", api.Redoc.as_view(url_name="api:schema"), name="redoc"),
    path("v1/", api.Endpoints.as_view(), name="v1"),
    path("v1/jobs/", api.Jobs.as_view(), name="jobs"),
    path("v1/jobs/bulk/", api.Bulk.as_view(), name="bulk"),
    path("v1/jobs/<str:id>/", api.JobDetail.as_view(), name="job"),
    path("v1/jobs/<str:id>/requeue/", api.Requeue.as_view(), name="requeue"),
    path("v1/jobs/<str:id>/resubmit/", api.Resubmit.as_view(), name="resubmit"),
    path("v1/jobs/<str:id>/cancel/", api.Cancel.as_view(), name="cancel"),
    path("v1/jobs/<str:id>/run/", api.Run.as_view(), name="run"),
    path("v1/jobs/<str:id>/why/", api.WhyDetail.as_view(), name="why"),
    path("v1/dead/", api.Dead.as_view(), name="dead"),
    path("v1/dead/groups/", api.DeadGroups.as_view(), name="dead-groups"),
    path("v1/dead/groups/<str:fingerprint>/note/", api.DeadGroupNote.as_view(), name="group-note"),
    path("v1/dead/preview/", api.DeadPreview.as_view(), name="dead-preview"),
    path("v1/dead/requeue/", api.DeadRequeue.as_view(), name="dead-requeue"),
    path("v1/operations/", api.Operations.as_view(), name="operations"),
    path("v1/operations/preview/", api.OperationPreview.as_view(), name="operation-preview"),
    path("v1/operations/<str:id>/", api.OperationDetail.as_view(), name="operation"),
    path("v1/operations/<str:id>/stop/", api.OperationStop.as_view(), name="operation-stop"),
    path("v1/operations/<str:id>/resume/", api.OperationResume.as_view(), name="operation-resume"),
    path("v1/stats/", api.Stats.as_view(), name="stats"),
    path("v1/stats/minutes/", api.Minutes.as_view(), name="minutes"),
    path("v1/queues/", api.Queues.as_view(), name="queues"),
    path("v1/queues/<str:name>/", api.QueueDetail.as_view(), name="queue"),
    path("v1/queues/<str:name>/backlog/", api.QueueBacklog.as_view(), name="backlog"),
    path("v1/queues/<str:name>/pause/", api.Pause.as_view(), name="pause"),
    path("v1/queues/<str:name>/resume/", api.Resume.as_view(), name="resume"),
    path("v1/workers/", api.Workers.as_view(), name="workers"),
    path("v1/workers/<str:id>/quiet/", api.WorkersQuiet.as_view(), name="workers-quiet"),
    path("v1/workers/<str:id>/resume/", api.WorkersResume.as_view(), name="workers-resume"),
    path("v1/workers/<str:id>/stop/", api.WorkersStop.as_view(), name="workers-stop"),
    path("v1/system/", api.System.as_view(), name="system"),
    path("v1/audit/", api.Audit.as_view(), name="audit"),
    path("v1/types/", api.Types.as_view(), name="types"),
    path("v1/types/<str:name>/", api.TypeDetail.as_view(), name="type"),
    path("<path:path>", api.elsewhere),
]
