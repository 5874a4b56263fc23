"""An index that makes MongoDB delete documents by themselves: Django has no word for it."""

from datetime import timedelta
from typing import Any

from django.db import models
from pymongo import IndexModel


class TTLIndex(models.Index):
    """Delete a document `after` its date field has passed; one without a date stays for ever.

    MongoDB looks once a minute. https://www.mongodb.com/docs/manual/core/index-ttl/
    """

    suffix = "ttl"

    def __init__(self, *, after: timedelta = timedelta(0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after = after

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "after": self.after}

    def get_pymongo_index_model(
        self,
        model: type[models.Model],
        schema_editor: Any,
        field: Any = None,
        unique: bool = False,
        column_prefix: str = "",
    ) -> IndexModel:
        """Called by django_mongodb_backend's schema editor for each index of a migration."""
        (column,) = self.fields
        return IndexModel(
            [(column_prefix + column, 1)],
            name=self.name,
            expireAfterSeconds=int(self.after.total_seconds()),
            partialFilterExpression={column: {"$type": "date"}},
        )
