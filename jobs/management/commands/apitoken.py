"""`manage.py apitoken NAME --role …`: a key to the API, for a program or a person."""

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import roles
from jobs.authentication import issue_token
from jobs.management.outage import outage
from jobs.roles import ROLES, Role


class Command(BaseCommand):
    help = "Make a token for the API, and its user if there is none. The token is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the user the token acts as; the audit names it")
        parser.add_argument("--role", choices=ROLES, required=True, help="becomes its only role")

    def handle(self, *args: Any, name: str, role: Role, **options: Any) -> None:
        with outage("No token was printed, so none can be used."):
            user = _user(name)
            roles.give(user, role)
            token = issue_token(user)
        self.stdout.write(token)
        may = "superuser: may do everything, whatever its role" if user.is_superuser else role
        self.stderr.write(
            f"The token of {name} ({may}) is on the line above; it is not shown again.\n"
            "Send it as: Authorization: Token <it>. Delete it in the admin to revoke it."
        )


def _user(name: str) -> User:
    """Return the user of that name, made without a password if missing. Raises `CommandError`."""
    user = User.objects.filter(username=name).first()
    if user is None:
        return _new_user(name)
    if not user.is_active:
        raise CommandError(f"{name} is not active, so its tokens are refused. Activate it first.")
    return user


def _new_user(name: str) -> User:
    user = User(username=name)
    user.set_unusable_password()
    try:
        user.clean_fields()
    except ValidationError as error:
        raise CommandError(f"NAME: {' '.join(error.messages)}") from None
    user.save()
    return user
