"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from jobs import views

urlpatterns = [
    path("login/", views.LoginPage.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", views.overview, name="overview"),
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/new/", views.job_new, name="job_new"),
    path("jobs/<str:id>/", views.job, name="job"),
    path("jobs/<str:id>/reveal/", views.job_reveal, name="job_reveal"),
    path("jobs/<str:id>/requeue/", views.job_requeue, name="job_requeue"),
    path("jobs/<str:id>/cancel/", views.job_cancel, name="job_cancel"),
    path("dead/", views.dead, name="dead"),
    path("dead/preview/", views.dead_preview, name="dead_preview"),
    path("dead/requeue/", views.dead_requeue, name="dead_requeue"),
    path("operations/", views.operations, name="operations"),
    path("operations/<str:id>/", views.operation, name="operation"),
    path("operations/<str:id>/stop/", views.operation_stop, name="operation_stop"),
    path("operations/<str:id>/resume/", views.operation_resume, name="operation_resume"),
    path("queues/", views.queues, name="queues"),
    path("queues/<str:name>/pause/", views.queue_pause, name="queue_pause"),
    path("queues/<str:name>/resume/", views.queue_resume, name="queue_resume"),
    path("workers/", views.workers, name="workers"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<str:id>/revoke/", views.token_revoke, name="token_revoke"),
    path("audit/", views.audit, name="audit"),
    path("audit/export.<str:form>", views.audit_export, name="audit_export"),
]
