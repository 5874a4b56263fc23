"""The system: stores, counts, stewards, versions, settings."""

from datetime import datetime

from jobs.serializers.base import Shape
from jobs.system import System


class StoreShape(Shape):
    """MongoDB or Redis; sizes in bytes, null where it does not say."""

    name: str
    up: bool
    down_since: datetime | None
    version: str
    round_trip_ms: float | None
    memory: int | None
    memory_limit: int | None
    stored: int | None
    connections: int | None
    error: str


class DriftShape(Shape):
    """The totals that are shown, against how many jobs MongoDB says it stores.

    `examined_at`: when `manage.py audit` last compared every job; null: never. `wrong`: by check.
    """

    counted: int
    stored: int
    difference: int
    examined_at: datetime | None
    examined: int
    wrong: dict[str, int]


class ChoreShape(Shape):
    """Something that a steward does again and again."""

    name: str
    ran_at: datetime
    failing: bool
    late: bool


class StewardShape(Shape):
    """A steward, as it said itself last; the leading one works for all."""

    id: str
    host: str
    pid: int
    leading: bool
    live: bool
    at: datetime
    chores: list[ChoreShape]


class WorkerVersionShape(Shape):
    """How many live workers run a version; `same`: the web process runs it too."""

    version: str
    workers: int
    same: bool


class SettingShape(Shape):
    """A setting, and what it means."""

    name: str
    value: str
    means: str


class SystemShape(Shape):
    """How the system itself is."""

    stores: list[StoreShape]
    drift: DriftShape
    stewards: list[StewardShape]
    version: str
    packages: dict[str, str]
    worker_versions: list[WorkerVersionShape]
    settings: list[SettingShape]

    @classmethod
    def of(cls, system: System) -> "SystemShape":
        return cls.model_validate(system)
