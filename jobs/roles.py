"""Who may do what. Rights are Django permissions on jobs, given to groups; closed by default."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied

from jobs.clients import collection
from jobs.mongodb import repeated

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

RIGHTS_OF_ACTIONS: Mapping[str, Right] = {
    "requeue": "retry",
    "cancel": "cancel",
    "delete": "delete",
}
OF = ("jobs", "job")  # the model whose permissions they are
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


HELD, BOUNDS = "_rights", "_bounds"  # kept with the object of a user, for one request


@dataclass(frozen=True)
class Bounds:
    """What a token leaves of its user's rights; `None` and no queue: all."""

    rights: frozenset[Right] | None
    queues: frozenset[str]


def may(user: Any, right: Right, queue: str = "") -> bool:
    """Return whether `user` may do this: the one check of pages, API, admin and commands.

    `queue` asks about the jobs of that queue; without, the question is not about a queue.
    """
    within = scope_of(user)
    return right in rights_of(user) and (not queue or within is None or queue in within)


def may_operate(user: Any, action: str) -> bool:
    """Return whether `user` may do this to many jobs: who may not do it to one may not either."""
    return may(user, "bulk") and may(user, RIGHTS_OF_ACTIONS[action])


def check_operation(user: Any, action: str) -> None:
    """The one door of bulk operations: raises `PermissionDenied` unless `may_operate`."""
    if not may_operate(user, action):
        raise PermissionDenied


def rights_of(user: Any) -> frozenset[Right]:
    """Return what `user` may do, read once for each object of a user. A superuser is an admin.

    Raises `StoreDown`.
    """
    if not isinstance(user, User) or not user.is_active:
        return frozenset()
    held: frozenset[Right] | None = getattr(user, HELD, None)
    if held is None:
        held = frozenset(RIGHTS) if user.is_superuser else _rights_of_user(user)
        setattr(user, HELD, held)
    bounds: Bounds | None = getattr(user, BOUNDS, None)
    if bounds and bounds.rights is not None:
        held &= bounds.rights
    return held - CHANGING if settings.READ_ONLY else held


def scope_of(user: Any) -> frozenset[str] | None:
    """Return the queues whose jobs are all that `user` sees and changes; `None`: every queue."""
    bounds: Bounds | None = getattr(user, BOUNDS, None)
    return bounds.queues or None if bounds else None


def bind(user: User, role: str, queues: Iterable[str]) -> None:
    """Let `user` do no more than a role may, in these queues; empty: no such bound. `StoreDown`."""
    rights = _rights_of_role(role) if role else None
    setattr(user, BOUNDS, Bounds(rights, frozenset(queues)))


# Raw: of Django's own two questions each joins every permission there is, which takes 8 ms.
_TABLES = {
    "groups": User.groups.through._meta.db_table,
    "of_groups": Group.permissions.through._meta.db_table,
    "of_users": User.user_permissions.through._meta.db_table,
    "permissions": Permission._meta.db_table,
    "kinds": ContentType._meta.db_table,
}


def _rights_of_user(user: User) -> frozenset[Right]:
    table = User._meta.db_table
    return _granted(
        table,
        {"_id": user.pk},
        _joined("groups", "_id", "user_id"),
        _joined("of_groups", "groups.group_id", "group_id"),
        _joined("of_users", "_id", "user_id"),
    )


def _rights_of_role(role: str) -> frozenset[Right]:
    return _granted(Group._meta.db_table, {"name": role}, _joined("of_groups", "_id", "group_id"))


def _joined(name: str, here: str, there: str) -> dict[str, Any]:
    joined = {"from": _TABLES[name], "localField": here, "foreignField": there, "as": name}
    return {"$lookup": joined}


@repeated
def _granted(table: str, who: Mapping[str, Any], *joins: dict[str, Any]) -> frozenset[Right]:
    """Return the rights that permissions of the joined tables give: one read."""
    pipeline = [
        {"$match": who},
        *joins,
        {"$set": {"ids": {"$concatArrays": [_ids("of_groups"), _ids("of_users")]}}},
        _joined("permissions", "ids", "_id"),
        _joined("kinds", "permissions.content_type_id", "_id"),
        {"$project": {"permissions": 1, "kinds": 1}},
    ]
    given: set[str] = set()
    for found in collection(table).aggregate(pipeline):
        kinds = [kind["_id"] for kind in found["kinds"] if (kind["app_label"], kind["model"]) == OF]
        given |= {
            permission["codename"]
            for permission in found["permissions"]
            if permission["content_type_id"] in kinds
        }
    return frozenset(right for right in RIGHTS if right in given)


def _ids(name: str) -> dict[str, Any]:
    return {"$ifNull": [f"${name}.permission_id", []]}


def may_give(user: Any, role: Role) -> bool:
    """Return whether `user` may all that `role` may: nobody gives more than they have."""
    group(role)
    return _rights_of_role(role) <= rights_of(user)


def roles_of(user: User) -> list[str]:
    """Return the roles that `user` was given, strongest last; a superuser needs none."""
    given = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    return [role for role in ROLES if role in given]


def has_at_least(user: User, role: Role) -> bool:
    """Return whether `user` was given this role or a stronger one."""
    return not set(roles_of(user)).isdisjoint(ROLES[ROLES.index(role) :])


def give(user: User, role: Role) -> None:
    """Make `role` the only role of `user`; its other groups stay. Raises `django.db.Error`."""
    given = group(role)
    user.groups.remove(*Group.objects.filter(name__in=ROLES).exclude(name=role))
    user.groups.add(given)


def group(role: Role) -> Group:
    """Return the group of a role. One that is missing is made, with the rights of `AT_FIRST`."""
    found, new = Group.objects.get_or_create(name=role)
    if new:
        found.permissions.set(_permissions(AT_FIRST[role]))
    return found


def make_groups() -> None:
    """Make the groups, and give those of an older version their rights: once, when migrating."""
    for role in ROLES:
        group(role).permissions.add(*_permissions(AT_FIRST[role]))


def _permissions(rights: Iterable[Right]) -> list[Permission]:
    app, model = OF
    kind, _ = ContentType.objects.get_or_create(app_label=app, model=model)
    there = {each.codename: each for each in Permission.objects.filter(content_type=kind)}
    return [there.get(right) or _permission(kind, right) for right in rights]


def _permission(kind: ContentType, right: Right) -> Permission:
    found, _ = Permission.objects.get_or_create(
        content_type=kind, codename=right, defaults={"name": NAMES[right]}
    )
    return found
