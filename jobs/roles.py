"""Who may do what: three roles, kept as Django groups. Closed by default."""

from typing import Literal, get_args

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, User

Action = Literal["view", "operate", "administer"]
Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

ALLOWED: dict[str, frozenset[Action]] = {
    "viewer": frozenset({"view"}),
    "operator": frozenset({"view", "operate"}),
    "admin": frozenset({"view", "operate", "administer"}),
}


def may(user: AbstractBaseUser | AnonymousUser, action: Action) -> bool:
    """Return whether `user` may do this. A superuser is an admin; whoever has no role may nothing.

    view: read everything. operate: also submit, requeue, cancel, pause and resume.
    administer: also what concerns other people, such as their tokens and the audit.
    """
    if not isinstance(user, User) or not user.is_active:
        return False
    return user.is_superuser or any(action in ALLOWED[role] for role in roles_of(user))


def roles_of(user: User) -> list[str]:
    """Return the roles that `user` was given, strongest last; a superuser needs none."""
    given = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    return [role for role in ROLES if role in given]


def give(user: User, role: Role) -> None:
    """Make `role` the only role of `user`; its other groups stay. Raises `django.db.Error`."""
    group, _ = Group.objects.get_or_create(name=role)
    user.groups.remove(*Group.objects.filter(name__in=ROLES).exclude(name=role))
    user.groups.add(group)
