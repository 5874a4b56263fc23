"""The project's own commands, which need it to be an installed app."""

from django.apps import AppConfig


class TaskqueueConfig(AppConfig):
    name = "taskqueue"
