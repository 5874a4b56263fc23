"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from jobs.views import (
    audit,
    dead,
    jobs,
    login,
    operations,
    overview,
    people,
    queues,
    system,
    tokens,
    workers,
)

urlpatterns = [
    path("login/", login.LoginPage.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", overview.overview, name="overview"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/new/", jobs.job_new, name="job_new"),
    path("jobs/<str:id>/", jobs.job, name="job"),
    path("jobs/<str:id>/reveal/", jobs.job_reveal, name="job_reveal"),
    path("jobs/<str:id>/requeue/", jobs.job_requeue, name="job_requeue"),
    path("jobs/<str:id>/cancel/", jobs.job_cancel, name="job_cancel"),
    path("dead/", dead.dead, name="dead"),
    path("dead/preview/", dead.dead_preview, name="dead_preview"),
    path("dead/requeue/", dead.dead_requeue, name="dead_requeue"),
    path("operations/", operations.operations, name="operations"),
    path("operations/<str:id>/", operations.operation, name="operation"),
    path("operations/<str:id>/stop/", operations.operation_stop, name="operation_stop"),
    path("operations/<str:id>/resume/", operations.operation_resume, name="operation_resume"),
    path("queues/", queues.queues, name="queues"),
    path("queues/<str:name>/pause/", queues.queue_pause, name="queue_pause"),
    path("queues/<str:name>/resume/", queues.queue_resume, name="queue_resume"),
    path("workers/", workers.workers, name="workers"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<str:id>/revoke/", tokens.token_revoke, name="token_revoke"),
    path("people/", people.people, name="people"),
    path("people/<str:id>/role/", people.person_role, name="person_role"),
    path("people/<str:id>/deactivate/", people.person_deactivate, name="person_deactivate"),
    path("people/<str:id>/activate/", people.person_activate, name="person_activate"),
    path("people/<str:id>/unlock/", people.person_unlock, name="person_unlock"),
    path("system/", system.system, name="system"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export.<str:form>", audit.audit_export, name="audit_export"),
]
