"""Django's admin: for looking, for revoking tokens, for users and groups. Same rights as elsewhere.

Jobs are steered on the dashboard.
"""

from typing import Any, ClassVar
from urllib.parse import urlencode

from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html

from jobs import audit, services
from jobs.models import ApiToken, AuditEntry, Job, Queue, Worker
from jobs.roles import Right, may

COUNTED = 10_000  # rows; beyond, a list says that many and does not count on


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages that never count more than `COUNTED` rows, however many there are."""

    @cached_property
    def count(self) -> int:
        return len(self.object_list.values_list("pk")[:COUNTED])  # type: ignore[attr-defined]


def on_dashboard(text: str, address: str, **query: str) -> str:
    """Return a link from here to a page of the dashboard."""
    return format_html(
        '<a href="{}{}">{}</a>', address, "?" + urlencode(query) if query else "", text
    )


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Writes deletions into the audit: the admin's own log of them sends no signal."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for gone in queryset:
            target = f"{gone._meta.model_name} {gone}"
            audit.record(request.user.get_username(), "admin_delete", target)
        return super().log_deletions(request, queryset)


class ReadOnlyAdmin(AuditedAdmin):
    """Every change goes through the services; this is no way around them."""

    right: ClassVar[Right]
    show_full_result_count = False
    paginator = CappedPaginator
    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, self.right)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request.user, self.right)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    right = "view"
    list_display = ["id", "type", "status", "queue", "priority", "attempt", "created_at", "error"]
    list_filter = ["status"]  # by an index; a filter by type would have to collect all types first
    search_fields = ["type__exact"]
    search_help_text = "A job type, whole."
    exclude = ["payload", "result"]  # the dashboard shows them masked, and audits who reveals them
    readonly_fields = ["dashboard"]

    def dashboard(self, job: Job) -> str:
        """Where it is steered."""
        return on_dashboard("Timeline, payload, requeue", reverse("job", args=[job.pk]))

    def get_exclude(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return self.exclude if may(request.user, "view_payload") else [*self.exclude, "attempts"]


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    right = "view"
    list_display = ["id", "host", "pid", "version", "started_at", "heartbeat_at", "ended_at"]


@admin.register(Queue)
class QueueAdmin(ReadOnlyAdmin):
    right = "view"
    list_display = ["name", "paused_at", "paused_by", "paused_reason", "paused_until"]
    readonly_fields = ["dashboard"]

    def dashboard(self, queue: Queue) -> str:
        """Where it is paused and resumed."""
        return on_dashboard("Depth, rates, pause", reverse("queue", args=[queue.pk]))


@admin.register(AuditEntry)
class AuditAdmin(ReadOnlyAdmin):
    right = "view_audit"
    list_display = ["at", "actor", "action", "target", "detail", "refused", "via", "address"]


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Listed and revoked; made on the page of tokens, which shows one once."""

    right = "manage_tokens"
    list_display = ["name", "public", "user", "role", "created_at", "expires_at", "revoked_at"]
    list_select_related = ["user"]
    exclude = ["digest"]
    readonly_fields = ["dashboard"]
    actions = ["revoke"]

    def dashboard(self, token: ApiToken) -> str:
        """Where tokens are made, and what this one's user did."""
        did = on_dashboard("What it did", reverse("audit"), actor=token.user.get_username())
        return format_html("{} · {}", on_dashboard("Tokens", reverse("tokens")), did)

    @admin.action(description="Revoke: whoever sends them gets 401")
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> None:
        for token in chosen:
            said = services.revoke_token(str(token.pk), actor=request.user.get_username())
            self.message_user(request, f"{said} is revoked.")


@admin.register(AccessAttempt)
class FailedLoginAdmin(ReadOnlyAdmin):
    """Failed logins of late: what locks people out, and how to let them in."""

    right = "manage_users"
    list_display = ["username", "ip_address", "failures_since_start", "attempt_time"]
    fields = ["username", "ip_address", "user_agent", "failures_since_start", "attempt_time"]
    actions = ["unlock"]

    @admin.action(description="Unlock: forget the failed logins of these names")
    def unlock(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        for name in set(chosen.values_list("username", flat=True)):
            services.unlock(name, actor=request.user.get_username())
            self.message_user(request, f"{name} may try again.")


class ManagedAdmin(AuditedAdmin):
    """What needs the right to manage users, whatever is done with it."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, "manage_users")

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request.user, "manage_users")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request.user, "manage_users")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request.user, "manage_users")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request.user, "manage_users")


admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(ManagedAdmin, UserAdmin):  # type: ignore[type-arg]
    """People and programs; their groups are their roles."""

    readonly_fields = ["dashboard"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = super().get_fieldsets(request, obj)
        return [*shown, ("Dashboard", {"fields": ["dashboard"]})] if obj else shown

    def dashboard(self, user: User) -> str:
        """What they did."""
        return on_dashboard("What they did", reverse("audit"), actor=user.get_username())


@admin.register(Group)
class RoleAdmin(ManagedAdmin, GroupAdmin):
    """Roles; their permissions are what their members may do."""
