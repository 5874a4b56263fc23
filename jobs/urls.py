"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from jobs.views import (
    audit,
    dead,
    job,
    job_new,
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
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/new/", job_new.job_new, name="job_new"),
    path("jobs/<str:id>/", job.job, name="job"),
    path("jobs/<str:id>/reveal/", job.job_reveal, name="job_reveal"),
    path("jobs/<str:id>/requeue/", job.job_requeue, name="job_requeue"),
    path("jobs/<str:id>/edit/", job_new.job_edit, name="job_edit"),
    path("jobs/<str:id>/run/", job.job_run, name="job_run"),
    path("jobs/<str:id>/cancel/", job.job_cancel, name="job_cancel"),
    path("jobs/<str:id>/delete/", job.job_delete, name="job_delete"),
    path("dead/", dead.dead, name="dead"),
    path("dead/preview/", dead.dead_preview, name="dead_preview"),
    path("dead/requeue/", dead.dead_requeue, name="dead_requeue"),
    path("operations/", operations.operations, name="operations"),
    path("operations/<str:id>/", operations.operation, name="operation"),
    path("operations/<str:id>/stop/", operations.operation_stop, name="operation_stop"),
    path("operations/<str:id>/resume/", operations.operation_resume, name="operation_resume"),
    path("queues/", queues.queues, name="queues"),
    path("queues/<str:name>/", queues.queue, name="queue"),
    path("queues/<str:name>/pause/", queues.queue_pause, name="queue_pause"),
    path("queues/<str:name>/resume/", queues.queue_resume, name="queue_resume"),
    path("workers/", workers.workers, name="workers"),
    path("workers/<str:id>/quiet/", workers.workers_quiet, name="workers_quiet"),
    path("workers/<str:id>/resume/", workers.workers_resume, name="workers_resume"),
    path("workers/<str:id>/stop/", workers.workers_stop, name="workers_stop"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<str:id>/revoke/", tokens.token_revoke, name="token_revoke"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export.<str:form>", audit.audit_export, name="audit_export"),
]
