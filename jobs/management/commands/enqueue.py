"""`manage.py enqueue TYPE --payload JSON`: submit one job from a shell."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework.exceptions import ParseError

from jobs import services
from jobs.errors import IdempotencyConflict, InvalidRequest, ReadOnly
from jobs.management.outage import outage
from jobs.parsers import read_json
from jobs.registry import PRIORITIES
from jobs.serializers.requests import JobRequest
from jobs.serializers.validation import read


class Command(BaseCommand):
    help = "Submit one job and print its id. It is durable once the id is there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("type", help="a registered job type")
        parser.add_argument("--payload", default="{}", help="a JSON object (default {})")
        parser.add_argument("--priority", choices=PRIORITIES)
        parser.add_argument("--queue")
        parser.add_argument("--delay", type=float, help="not before so many seconds from now")
        parser.add_argument("--run-at", help="not before this time, as 2026-11-24T12:00:00Z")
        parser.add_argument("--max-attempts", type=int)
        parser.add_argument("--tag", action="append", default=[], dest="tags", help="repeatable")
        parser.add_argument(
            "--idempotency-key",
            metavar="KEY",
            help="a name for this request: the same within 24 hours prints the same id again",
        )

    def handle(self, *args: Any, payload: str, idempotency_key: str | None, **options: Any) -> None:
        if settings.READ_ONLY:
            raise CommandError(str(ReadOnly()))
        chosen = {name: options[name] for name in FIELDS}
        try:
            asked = read(JobRequest, {**chosen, "payload": read_json(payload)})
            with outage(KEYED if idempotency_key else UNKEYED):
                (id,) = services.enqueue_many([asked.request()], key=idempotency_key)
        except ParseError as error:
            raise CommandError(f"Nothing was stored.\n  payload: {error.detail}") from None
        except InvalidRequest as error:
            faults = "".join(f"\n  {fault.field}: {fault.message}" for fault in error.errors)
            raise CommandError(f"Nothing was stored.{faults}") from None
        except IdempotencyConflict as error:
            raise CommandError(str(error)) from None
        self.stdout.write(id)


UNKEYED = "Whether the job was stored is unknown: look for it before you retry."
KEYED = "Whether the job was stored is unknown: repeat this with the same key, nothing is doubled."
FIELDS = [name for name in JobRequest.model_fields if name != "payload"]
