"""A real web process on a row's stores, and a client of its API that repeats what got a 503."""

import functools
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection

from taskqueue.embedded import die_with_parent, free_port
from taskqueue.run import ROOT, WEB
from tests.system.faults.stores import wait_until
from tests.system.faults.world import World

MODELS = (ContentType, Permission, Group, User, Session)


class Web:
    """gunicorn, and one person's token; ends with the world."""

    def __init__(self, world: World) -> None:
        self.port = free_port()
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self.headers = {
            "Authorization": f"Token {_token(world)}",
            "Content-Type": "application/json",
        }
        command = [*WEB, "--bind", f"127.0.0.1:{self.port}"]
        die = functools.partial(die_with_parent, os.getpid(), signal.SIGKILL)
        with (world.folder / "web.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=world.env(), stdout=log, stderr=log, preexec_fn=die
            )
        world.also.callback(self.stop)
        wait_until(self._ready, 60, "the web process answers")

    def submit(self, tag: str, **payload: Any) -> str:
        """Submit one job, again under the same key after each 503; return its id."""
        key = str(uuid.uuid4())
        while True:
            status, headers, answer = self.post(
                {"type": "work", "payload": payload, "tags": [tag]}, key
            )
            assert status in (201, 503), (status, answer)
            if status == 201:
                return str(answer["id"])
            assert int(headers["Retry-After"]) > 0
            time.sleep(0.3)  # sooner than it asks for: harder on the server

    def post(self, body: Any, key: str) -> tuple[int, Any, Any]:
        began = time.monotonic()
        headers = {**self.headers, "Idempotency-Key": key}
        answer = self._ask("POST", "/api/v1/jobs/", json.dumps(body), headers)
        self.answers[answer[0]] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        return (*answer[:2], json.loads(answer[2]))

    def _ask(self, *request: Any) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(*request)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def _ready(self) -> bool:
        try:
            return self._ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _token(world: World) -> str:
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)
    command = [sys.executable, "manage.py", "apitoken", "load", "--role", "operator"]
    made = subprocess.run(command, cwd=ROOT, env=world.env(), capture_output=True, check=True)
    return made.stdout.decode().strip()
