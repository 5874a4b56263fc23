"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from jobs.views import (
    audit,
    dead,
    job_list,
    jobs,
    login,
    operations,
    overview,
    queues,
    tokens,
    workers,
)

urlpatterns = [
    path("login/", login.LoginPage.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", overview.overview, name="overview"),
    path("jobs/", job_list.jobs, name="jobs"),
    path("jobs/suggest/", job_list.job_suggest, name="job_suggest"),
    path("jobs/export.<str:form>", job_list.job_export, name="job_export"),
    path("jobs/views/", job_list.job_view_save, name="job_view_save"),
    path("jobs/views/<str:id>/delete/", job_list.job_view_delete, name="job_view_delete"),
    path("jobs/new/", jobs.job_new, name="job_new"),
    path("jobs/<str:id>/", jobs.job, name="job"),
    path("jobs/<str:id>/reveal/", jobs.job_reveal, name="job_reveal"),
    path("jobs/<str:id>/requeue/", jobs.job_requeue, name="job_requeue"),
    path("jobs/<str:id>/cancel/", jobs.job_cancel, name="job_cancel"),
    path("dead/", dead.dead, name="dead"),
    path("dead/groups/<str:alike>/", dead.dead_group, name="dead_group"),
    path("dead/groups/<str:alike>/note/", dead.dead_note, name="dead_note"),
    path("operations/", operations.operations, name="operations"),
    path("operations/preview/", operations.operation_preview, name="operation_preview"),
    path("operations/start/", operations.operation_start, name="operation_start"),
    path("operations/<str:id>/", operations.operation, name="operation"),
    path("operations/<str:id>/stop/", operations.operation_stop, name="operation_stop"),
    path("operations/<str:id>/resume/", operations.operation_resume, name="operation_resume"),
    path("queues/", queues.queues, name="queues"),
    path("queues/<str:name>/", queues.queue, name="queue"),
    path("queues/<str:name>/pause/", queues.queue_pause, name="queue_pause"),
    path("queues/<str:name>/resume/", queues.queue_resume, name="queue_resume"),
    path("workers/", workers.workers, name="workers"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<str:id>/revoke/", tokens.token_revoke, name="token_revoke"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export.<str:form>", audit.audit_export, name="audit_export"),
]
