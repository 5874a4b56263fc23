import gc

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from jobs import registry


class JobsConfig(AppConfig):
    name = "jobs"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from jobs import checks, services, signals  # noqa: F401 - models must be loaded first

        registry.bind(services.enqueue_payload)
        autodiscover_modules("tasks")
        # It stays: looking through it again and again took a tenth of the time of enqueueing many.
        gc.freeze()
