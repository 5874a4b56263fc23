"""`manage.py embedded`: MongoDB and Redis for this DATA_DIR, in the foreground."""

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from taskqueue.embedded import EmbeddedError, Stores


class Command(BaseCommand):
    help = "Runs MongoDB and Redis on DATA_DIR until Ctrl-C; other commands find them there."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        asked = threading.Event()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: asked.set())
        stores = Stores(settings.DATA_DIR)
        try:
            for name, url in stores.start().items():
                self.stdout.write(f"{name}={url}")
            self.stdout.write("Ctrl-C stops both.")
            self.stdout.flush()
            while not asked.wait(1):
                stores.check()
        except EmbeddedError as error:
            raise CommandError(str(error)) from None
        finally:
            stores.stop()
