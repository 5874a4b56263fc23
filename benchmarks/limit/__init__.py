"""The limit: a bare loop of PyMongo and redis-py that does the same writes as this project.

Same documents, same indexes, same durability, three forked processes; no pages, no stop, no repair,
no give-back, no timeouts, nobody to take over from a dead process.
"""

import os
from typing import Any

import pymongo
import redis
from pymongo.collection import Collection
from pymongo.write_concern import WriteConcern

Document = dict[str, Any]
LINE = "limit:line"


def jobs() -> Collection[Document]:
    client: pymongo.MongoClient[Document] = pymongo.MongoClient(os.environ["MONGODB_URI"])
    durable = WriteConcern(w="majority", j=True)
    return client.get_default_database().get_collection("jobs", write_concern=durable)


def line() -> redis.Redis:
    return redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
