"""`python -m taskqueue.run`: the whole system on this machine until Ctrl-C. `make run` calls it."""

import errno
import functools
import http.client
import multiprocessing
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import honcho.manager
import honcho.printer
import honcho.process

from taskqueue.embedded import EmbeddedError, Stores, die_with_parent

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
ENDED_BY_SIGNAL = {known["rc"] for known in honcho.manager.SIGNALS.values()}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

WEB = [
    *(sys.executable, "-m", "gunicorn", "taskqueue.wsgi", "--workers", "2", "--threads", "4"),
    *("--worker-class", "gthread", "--graceful-timeout", "10", "--no-control-socket"),
    *("--log-level", "warning"),
]
WORKERS = [sys.executable, "manage.py", "runworkers"]


class RunError(Exception):
    """The system cannot start; the message is a sentence for the person who started it."""


class Output(honcho.printer.Printer):  # type: ignore[misc]
    """Prefixed lines on the terminal; when that has gone, everything is asked to stop."""

    def write(self, message: Any) -> None:
        try:
            super().write(message)
        except RuntimeError:  # honcho prints in its signal handler, perhaps amid another line
            pass
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getpid(), signal.SIGTERM)


class Process(honcho.process.Process):  # type: ignore[misc]
    """honcho's process, of which nothing survives a kill -9 of the runner."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.runner = os.getpid()

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        die_with_parent(self.runner, signal.SIGKILL)
        self._child_ctor = functools.partial(
            honcho.process.Popen, shell=False, preexec_fn=functools.partial(begin, os.getpid())
        )
        super().run(events, ignore_signals)


def begin(parent: int) -> None:
    """Called in a child before it becomes the program: heed signals, die with the parent."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    # By force: the stores go at the same moment, so there is nothing left to drain into.
    die_with_parent(parent, signal.SIGKILL)


class Manager(honcho.manager.Manager):  # type: ignore[misc]
    """honcho's manager; asked to stop before it knows its children, it stops them once it does."""

    def __init__(self, watch: threading.Thread) -> None:
        super().__init__(Output(sys.stdout))
        self._process_ctor = Process
        self.watch = watch
        self.asked = False

    def _start(self) -> None:
        super()._start()
        self.watch.start()  # after the forks: no thread may exist before them

    def terminate(self) -> None:
        self.asked = True

    def abandon(self) -> None:
        """End what an error in the loop left; the kernel ends their programs."""
        for known in self._processes.values():
            if "process" in known:
                known["process"].kill()

    def _all_started(self) -> bool:
        for known in self._processes.values():
            if known["process"].exitcode:  # killed: it cannot tell how its program ended
                known.setdefault("returncode", 1)
        started = bool(super()._all_started())
        if started and self.asked:
            super().terminate()
        return started


def prepare() -> None:
    """Migrate, collect the static files, make the operator; prints whether it made one."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskqueue.settings")
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    if not User.objects.filter(username="admin").exists():
        User.objects.create_superuser("admin", password=os.environ["ADMIN_PASSWORD"])
        print("created")


def set_up() -> str:
    """Run `prepare` in a process of its own; returns the operator's password if it is new.

    Of its own, because the drivers' threads must not exist when honcho forks.
    """
    password = secrets.token_urlsafe(12)
    done = subprocess.run(
        [sys.executable, "-c", "from taskqueue.run import prepare; prepare()"],
        env=os.environ | {"ADMIN_PASSWORD": password},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=functools.partial(begin, os.getpid()),
    )
    if done.returncode:
        raise RunError("The database could not be prepared; the lines above say why.")
    return password if "created" in done.stdout else ""


def address() -> tuple[str, int]:
    """HOST and PORT, checked to be free."""
    host, value = os.environ.get("HOST") or "127.0.0.1", os.environ.get("PORT") or "8000"
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise RunError(f"PORT={value!r}: use a number from 1 to 65535.")
    try:
        socket.create_server((host, int(value))).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RunError(
                f"Port {value} is taken by another program (`ss -ltnp` names it): stop that, "
                f"or use another port: make run PORT={int(value) % 65535 + 1}"
            ) from None
        raise RunError(f"Cannot listen on {host}:{value}: {error.strerror}.") from None
    return host, int(value)


def wait_ready(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by a proxy
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with direct.open(f"{url}readyz", timeout=5):
                return True
        except (OSError, http.client.HTTPException):
            time.sleep(0.2)
    return False


def summary(url: str, data_dir: Path, password: str) -> str:
    own = "" if data_dir == ROOT / ".data" else f"DATA_DIR={data_dir} "
    manage = f"{own}.venv/bin/python manage.py"
    sign_in = f"admin / {password}   (shown this once)"
    if not password:
        sign_in = f"admin, password shown on the first run; reset: {manage} changepassword admin"
    return f"""
  taskqueue   {url}
  Sign in     {sign_in}
  API         {url}api/docs/
  API token   {manage} apitoken NAME --role operator
  Data        {data_dir}
  Ctrl-C stops everything.
"""


def watch(url: str, text: str, shown: threading.Event, stores: Stores) -> None:
    """Print the summary once the system answers; stop everything if a store or stdout dies."""
    if not wait_ready(url):
        text = f"\n  Not ready after {READY_SECONDS} s; the lines above may say why.{text}"
    terminal = sys.stdout.isatty()
    try:
        print(text, flush=True)
        shown.set()
        while sys.stdout.isatty() == terminal:  # the hang-up of a terminal goes to make alone
            stores.check()
            time.sleep(1)
    except (OSError, EmbeddedError):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run(stores: Stores, host: str, port: int) -> int:
    """Start everything and wait for its end; returns the exit code."""
    os.environ |= stores.start()
    password = set_up()
    # The workers drain for WORKER_GRACE_SECONDS first; the settings have been checked by now.
    honcho.manager.KILL_WAIT = float(os.environ.get("WORKER_GRACE_SECONDS") or 25) + 15
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/"  # noqa: S104
    text, shown = summary(url, stores.data_dir, password), threading.Event()
    manager = Manager(threading.Thread(target=watch, args=(url, text, shown, stores), daemon=True))
    manager.add_process("web", [*WEB, "--bind", f"{host}:{port}"], cwd=ROOT)
    manager.add_process("workers", WORKERS, cwd=ROOT)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        manager.loop()
    finally:
        manager.abandon()
    if password and not shown.is_set():
        print(text)
    stores.check()
    return 0 if manager.returncode in ENDED_BY_SIGNAL else 1


def stop(*_: object) -> None:
    raise SystemExit(0)


def main() -> int:
    for signum in SIGNALS:
        if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # nohup
            signal.signal(signum, stop)
    multiprocessing.set_start_method("fork")
    data_dir = Path(os.environ.get("DATA_DIR") or ROOT / ".data").resolve()
    os.environ |= {"DATA_DIR": str(data_dir), "PYTHONUNBUFFERED": "1"}
    os.environ.setdefault("DEMO_JOBS", "1")
    stores = Stores(
        data_dir,
        mongodb=not os.environ.get("MONGODB_URI"),
        redis=not os.environ.get("REDIS_URL"),
        demo_jobs=os.environ["DEMO_JOBS"],
    )
    try:
        return run(stores, *address())
    except (RunError, EmbeddedError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        stores.stop()


if __name__ == "__main__":
    sys.exit(main())
