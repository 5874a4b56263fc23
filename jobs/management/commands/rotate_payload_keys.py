"""`manage.py rotate_payload_keys`: have every payload and result encrypted with the first key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from jobs import services
from jobs.management.outage import outage


class Command(BaseCommand):
    help = (
        "Encrypt with the first key of PAYLOAD_KEYS what is stored in clear or under an older one. "
        "It may run beside everything, and be repeated."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with outage("What was encrypted again stays so: repeat this for the rest."):
            rotated = services.rotate_payload_keys()
        self.stdout.write(f"{rotated.done} payloads and results are under the first key now.")
        if rotated.undecryptable:
            raise CommandError(
                f"{rotated.undecryptable} are under a key that PAYLOAD_KEYS does not have, so "
                "their jobs cannot run: add that key, and repeat this before you remove it."
            )
