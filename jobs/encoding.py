"""New jobs as BSON, put together from parts: most of a job is as in the one before it.

To encode each from a dictionary is half of what many take in Python. See bsonspec.org.
"""

import struct
from dataclasses import dataclass

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from jobs.clients import Document
from jobs.registry import Lane
from jobs.states import State

ID = b"\x07_id\x00"  # what stands before an ObjectId that is called so
COUNTED = 1 << 24  # an id's counter begins anew there
UNCOUNTED = b"\x08uncounted\x00\x01"  # a field that is true


@dataclass(slots=True)
class Beginning:
    """What jobs that are asked for alike have in common: all but an id and a payload."""

    type: str
    lane: Lane
    status: State
    fields: bytes


@dataclass(slots=True)
class NewJob:
    """A job that is accepted, but not stored."""

    id: ObjectId
    begins: Beginning
    payload: bytes

    def document(self, *more: bytes) -> RawBSONDocument:
        """Return it as it is stored, with more fields."""
        fields = b"".join((ID, self.id.binary, self.begins.fields, self.payload, *more))
        return RawBSONDocument(struct.pack("<i", len(fields) + 5) + fields + b"\x00")


def fields(document: Document) -> bytes:
    """Return a document's fields without what makes them one; raises as `bson.encode`."""
    return bson.encode(document)[4:-1]


def ids(count: int) -> list[ObjectId]:
    """Return new ids, as so many `ObjectId()` in a row, in a third of the time."""
    begins = ObjectId().binary[:9]  # seconds and process; a counter takes the other three bytes
    # The driver's own: another could meet ids that the driver makes in the same second.
    with ObjectId._inc_lock:
        first = ObjectId._inc
        ObjectId._inc = (first + count) % COUNTED
    return [
        ObjectId(begins + (number % COUNTED).to_bytes(3, "big"))
        for number in range(first, first + count)
    ]
