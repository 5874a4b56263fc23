"""Who may do what. Rights are Django permissions on jobs, given to groups; closed by default."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType

Right = Literal[
    "view",
    "view_payload",
    "submit",
    "retry",
    "cancel",
    "delete",
    "bulk",
    "pause_queue",
    "control_worker",
    "view_audit",
    "manage_tokens",
    "manage_users",
]
Role = Literal["viewer", "operator", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
ROLES: tuple[Role, ...] = get_args(Role)

READING: frozenset[Right] = frozenset({"view", "view_payload", "view_audit"})
CHANGING: frozenset[Right] = frozenset(RIGHTS) - READING

# What a group begins with; from then on its permissions decide, and an admin may change them.
AT_FIRST: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset({"view"}),
    "operator": frozenset(
        {"view", "submit", "retry", "cancel", "bulk", "pause_queue", "control_worker"}
    ),
    "admin": frozenset(RIGHTS),
}
NAMES: Mapping[Right, str] = {
    "view": "See jobs, queues and workers",
    "view_payload": "See what payloads keep secret",
    "submit": "Submit jobs",
    "retry": "Requeue jobs",
    "cancel": "Cancel and discard jobs",
    "delete": "Delete jobs",
    "bulk": "Act on many jobs at once",
    "pause_queue": "Pause and resume queues",
    "control_worker": "Control workers",
    "view_audit": "See the audit",
    "manage_tokens": "Manage API tokens",
    "manage_users": "Manage users and groups",
}


def may(user: Any, right: Right, queue: str = "") -> bool:
    """Return whether `user` may do this: the one check of pages, API, admin and commands."""
    return right in rights_of(user)


def rights_of(user: Any) -> frozenset[Right]:
    """Return what `user` may do; read once, then kept with the object. A superuser is an admin."""
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(RIGHTS)
    held = user.get_all_permissions()
    return frozenset(right for right in RIGHTS if f"jobs.{right}" in held)


def roles_of(user: User) -> list[str]:
    """Return the roles that `user` was given, strongest last; a superuser needs none."""
    given = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    return [role for role in ROLES if role in given]


def give(user: User, role: Role) -> None:
    """Make `role` the only role of `user`; its other groups stay. Raises `django.db.Error`."""
    given = group(role)
    user.groups.remove(*Group.objects.filter(name__in=ROLES).exclude(name=role))
    user.groups.add(given)


def group(role: Role) -> Group:
    """Return the group of a role. One that is missing is made, with the rights of `AT_FIRST`."""
    found, new = Group.objects.get_or_create(name=role)
    if new:
        found.permissions.set(_permission(right) for right in AT_FIRST[role])
    return found


def make_groups() -> None:
    """Make the groups, and give those of an older version their rights: once, when migrating."""
    for role in ROLES:
        group(role).permissions.add(*(_permission(right) for right in AT_FIRST[role]))


def _permission(right: Right) -> Permission:
    kind, _ = ContentType.objects.get_or_create(app_label="jobs", model="job")
    found, _ = Permission.objects.get_or_create(
        content_type=kind, codename=right, defaults={"name": NAMES[right]}
    )
    return found
