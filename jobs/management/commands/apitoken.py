"""`manage.py apitoken NAME --role …`: a key to the API, for a program or a person."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import selectors, services
from jobs.errors import InvalidRequest, NotFound
from jobs.management.outage import outage
from jobs.models import ApiToken
from jobs.roles import ROLES, Role

ACTOR = "manage.py"
UNDONE = "No token was printed, so none can be used."


class Command(BaseCommand):
    help = "Make a token for the API, and its account if there is none. It is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="the account the token acts as")
        parser.add_argument("--role", choices=ROLES, help="what the token may, at most")
        parser.add_argument("--expires-in", type=float, metavar="DAYS", help="default: never")
        parser.add_argument(
            "--queue",
            action="append",
            default=[],
            dest="queues",
            metavar="Q",
            help="only jobs of this queue; repeatable; default: of all queues",
        )
        parser.add_argument("--list", action="store_true", help="list the tokens made last")
        parser.add_argument("--revoke", metavar="ID", help="end a token, by its id in the list")

    def handle(self, *args: Any, name: str | None, role: Role | None, **options: Any) -> None:
        asked = [bool(name), options["list"], options["revoke"] is not None]
        if sum(asked) != 1:
            raise CommandError("Say one of: NAME --role ROLE, --list, --revoke ID.")
        if options["list"]:
            self.list()
        elif name is None:
            self.revoke(options["revoke"])
        elif role is None:
            raise CommandError(f"--role: say what the token may: {', '.join(ROLES)}.")
        else:
            self.issue(name, role, options["expires_in"], options["queues"])

    def issue(self, name: str, role: Role, days: float | None, queues: list[str]) -> None:
        if days is not None and not 0 < days <= 36500:
            raise CommandError("--expires-in: use a number of days, more than 0, at most 36500.")
        try:
            with outage(UNDONE):
                until = selectors.now() + timedelta(days=days) if days else None
                token = services.issue_token_to(
                    name, role, actor=ACTOR, queues=queues, expires_at=until
                )
        except InvalidRequest as error:
            faults = "".join(f"\n  {fault.field}: {fault.message}" for fault in error.errors)
            raise CommandError(f"{UNDONE}{faults}") from None
        self.stdout.write(token)
        self.stderr.write(
            f"The token of {name} ({role}) is on the line above; it is not shown again.\n"
            "Send it as: Authorization: Token <it>. End it with: manage.py apitoken --revoke ID"
        )

    def list(self) -> None:
        with outage("Nothing was listed."):
            found, now = selectors.tokens(), selectors.now()
        self.stdout.write("ID        STATE    ROLE      QUEUES          LAST USED         NAME")
        for token in found:
            used = f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never"
            self.stdout.write(
                f"{token.public}  {token.state(now):<8} {token.role or '-':<9} "
                f"{','.join(token.queues) or 'all':<15} {used:<17} {token.name}"
            )

    def revoke(self, id: str) -> None:
        try:
            with outage("Whether the token was revoked is unknown: list them, then try again."):
                public = id.removeprefix("tq_").split("_")[0]
                found = ApiToken.objects.filter(public=public).first()
                said = services.revoke_token(str(found.pk) if found else id, actor=ACTOR)
        except NotFound as error:
            raise CommandError(f"{error} `manage.py apitoken --list` shows them.") from None
        self.stdout.write(f"{said} is revoked: whoever sends it gets 401.")
