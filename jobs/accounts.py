"""Users as an admin sees them, and what an admin does to them. Each change is in the audit."""

from dataclasses import dataclass
from typing import Literal

from bson import ObjectId
from django.contrib.auth.models import User

from jobs import audit, logins, roles
from jobs.errors import FieldError, IllegalMove, InvalidRequest, NotFound
from jobs.logins import Lock
from jobs.roles import ROLES, Role

MOST = 500  # users that a page shows
Kind = Literal["person", "program"]


@dataclass(frozen=True)
class Account:
    """A person or a program, with its strongest role and why it may not log in now."""

    user: User
    role: str  # empty: none
    lock: Lock | None

    @property
    def kind(self) -> Kind:
        """A program has no password: it comes with tokens."""
        return "person" if self.user.has_usable_password() else "program"


def accounts() -> list[Account]:
    """Return the users by name, at most `MOST` of them."""
    held = {
        id: role
        for role in ROLES  # the strongest last
        for id in User.objects.filter(groups__name=role).values_list("pk", flat=True)
    }
    users = User.objects.order_by("username")[:MOST]
    locks = logins.locks(user.get_username() for user in users)
    return [Account(user, held.get(user.pk, ""), locks.get(user.get_username())) for user in users]


def give_role(id: str, role: str, *, actor: str) -> str:
    """Make `role` the only role of a user; return their name. Raises `NotFound`, `InvalidRequest`.

    Raises `IllegalMove` for one's own: so one admin always stays.
    """
    user = _other(id, actor)
    if role not in ROLES:
        raise InvalidRequest(FieldError("role", f"Use one of: {', '.join(ROLES)}."))
    before = roles.roles_of(user)
    given: Role = next(each for each in ROLES if each == role)
    if before != [given]:
        roles.give(user, given)
        name, after = user.get_username(), {"roles": [given]}
        audit.record(actor, "give_role", name, before={"roles": before}, after=after)
    return user.get_username()


def set_active(id: str, active: bool, *, actor: str) -> str:
    """Let a user in again, or out of every session and token at once; return their name.

    Raises `NotFound`, `IllegalMove`.
    """
    user = _other(id, actor)
    if user.is_active != active:
        user.is_active = active
        user.save(update_fields=["is_active"])
        audit.record(actor, "activate" if active else "deactivate", user.get_username())
    return user.get_username()


def name_of(id: str) -> str:
    """Return a user's name. Raises `NotFound`."""
    found = User.objects.filter(pk=ObjectId(id)).first() if ObjectId.is_valid(id) else None
    if found is None:
        raise NotFound(f"There is no user {id}.")
    return found.get_username()


def _other(id: str, actor: str) -> User:
    name = name_of(id)
    if name == actor:
        raise IllegalMove("Nobody changes their own role or access: ask another admin.")
    return User.objects.get(username=name)
