import os

from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "workers"

    def ready(self) -> None:
        if crash_at := os.environ.get("CRASH_AT"):  # fault tests only
            from workers import crash_points

            crash_points.install(crash_at)
