"""`manage.py migrate`: Django's, which may be repeated wherever it was interrupted.

MongoDB has no transaction around a migration, and a migration is recorded at its end: until then,
part of it is done. Workers and web processes that start first make collections too.
"""

from typing import Any

from django.core.management.commands import migrate
from django.db import DatabaseError, connections
from django_mongodb_backend.schema import DatabaseSchemaEditor
from pymongo.errors import CollectionInvalid, OperationFailure

INDEX_NOT_FOUND = 27


class RepeatableEditor(DatabaseSchemaEditor):  # type: ignore[misc]
    """Takes what is there already as made, and what is gone as removed. Renames are not covered.

    An index that is there is no matter: MongoDB makes none twice.
    """

    def create_model(self, model: Any) -> None:
        """Make the collection, unless it is there, and its indexes."""
        try:
            super().create_model(model)
        except DatabaseError as error:
            if not isinstance(error.__cause__, CollectionInvalid):
                raise
            self._create_model_indexes(model)
            for field in model._meta.local_many_to_many:
                if field.remote_field.through._meta.auto_created:
                    self.create_model(field.remote_field.through)

    def remove_index(self, model: Any, index: Any) -> None:
        """Remove the index, unless it is gone."""
        try:
            super().remove_index(model, index)
        except OperationFailure as error:
            if error.code != INDEX_NOT_FOUND:
                raise

    def effective_default(self, field: Any) -> Any:
        """Return what a new field gets in each document: the value that it has there, if any.

        The default would undo what was written since the first try. It goes into the `$set` of a
        pipeline, so that it may be an expression.
        """
        default = {"$literal": super().effective_default(field)}
        return {"$ifNull": [f"${field.column}", default]}


class Command(migrate.Command):
    """Django's, with the editor above and as much time as an index takes."""

    def handle(self, *args: Any, **options: Any) -> None:
        wrapper: Any = connections[options["database"]]
        wrapper.SchemaEditorClass = RepeatableEditor
        # The client is made on first use, here: it may wait for an index of many jobs.
        limits = wrapper.settings_dict["OPTIONS"]
        wrapper.settings_dict["OPTIONS"] = {**limits, "socketTimeoutMS": None}
        try:
            super().handle(*args, **options)
        finally:
            wrapper.settings_dict["OPTIONS"] = limits
