"""What Django tells about people: logins, logouts, changes in the admin go into the audit."""

from typing import Any

import structlog
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver
from pymongo.errors import PyMongoError

from jobs import audit, people
from jobs.errors import StoreDown
from jobs.models import ApiToken

log = structlog.get_logger(__name__)


@receiver(user_logged_in)
def logged_in(sender: Any, user: User, **_: Any) -> None:
    _write(user.get_username(), "login", user.get_username())


@receiver(user_logged_out)
def logged_out(sender: Any, user: User | None, **_: Any) -> None:
    if user is not None:
        _write(user.get_username(), "logout", user.get_username())


@receiver(user_login_failed)
def login_failed(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    """Names that no user has are one kind of refusal, however many somebody thinks up."""
    name = str(credentials.get("username", ""))[:150]
    known = User.objects.filter(username=name).exists()
    actor, said = (name, "") if known else ("", "There is no such user.")
    try:
        audit.refuse(actor, "login", name if known else "", route="login", detail=said)
    except (StoreDown, PyMongoError) as error:
        log.error("audit.unwritten", action="login", actor=actor, error=str(error))


VERBS = {ADDITION: "admin_add", CHANGE: "admin_change"}  # deletions: see jobs.admin


@receiver(post_save, sender=LogEntry)
def changed_in_admin(sender: Any, instance: LogEntry, **_: Any) -> None:
    """Users, groups with their permissions, tokens: whatever the admin itself keeps a log of."""
    if instance.action_flag not in VERBS:
        return
    verb = VERBS[instance.action_flag]
    kind = instance.content_type.model if instance.content_type else "?"
    target = f"{kind} {instance.object_repr}"
    _write(instance.user.get_username(), verb, target, instance.get_change_message())


def _write(actor: str, action: str, target: str, detail: str = "") -> None:
    audit.record(actor, action, target, detail=detail)


@receiver([post_save, post_delete], sender=User)
@receiver([post_save, post_delete], sender=Group)
@receiver([post_save, post_delete], sender=ApiToken)
def person_changed(sender: Any, update_fields: Any = None, **_: Any) -> None:
    """Have everybody asked for anew; that somebody logs in changes nobody."""
    if update_fields != frozenset({"last_login"}):
        people.changed()


@receiver(m2m_changed, sender=User.groups.through)
@receiver(m2m_changed, sender=User.user_permissions.through)
@receiver(m2m_changed, sender=Group.permissions.through)
def rights_changed(sender: Any, action: str, **_: Any) -> None:
    if action.startswith("post_"):
        people.changed()
