"""What a job's acceptance costs without its promises: FastAPI, a hash and a list in Redis."""

import json
import os
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from redis.asyncio import Redis

app = FastAPI()
redis: Any = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
LINE = "jobs"


class Job(BaseModel):
    type: str
    payload: dict[str, Any]


class Bulk(BaseModel):
    jobs: list[Job]


async def store(jobs: list[Job]) -> list[str]:
    ids = [uuid4().hex for _ in jobs]
    async with redis.pipeline(transaction=True) as pipeline:
        for id, job in zip(ids, jobs, strict=True):
            stored = {"type": job.type, "payload": json.dumps(job.payload), "status": "pending"}
            pipeline.hset(f"job:{id}", mapping=stored)
        pipeline.lpush(LINE, *ids)
        await pipeline.execute()
    return ids


@app.post("/api/v1/jobs/", status_code=201)  # type: ignore[untyped-decorator]
async def submit(job: Job) -> dict[str, Any]:
    (id,) = await store([job])
    return {"id": id, "status": "pending", **job.model_dump()}


@app.post("/api/v1/jobs/bulk/", status_code=201)  # type: ignore[untyped-decorator]
async def submit_many(bulk: Bulk) -> dict[str, list[str]]:
    return {"ids": await store(bulk.jobs)}


@app.get("/api/v1/jobs/{id}/")  # type: ignore[untyped-decorator]
async def show(id: str) -> dict[str, Any]:
    found = await redis.hgetall(f"job:{id}")
    if not found:
        raise HTTPException(404)
    return {"id": id, **found, "payload": json.loads(found["payload"])}
