"""How a process starts: what production refuses, and what it turns on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskqueue.settings import make_secret_key

ROOT = Path(__file__).resolve().parents[2]
KEY = "0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-abcdef"
PRODUCTION = {"HTTPS": "1", "SECRET_KEY": KEY, "ALLOWED_HOSTS": "queue.example.org"}
PRINT = """
from django.conf import settings

from taskqueue.settings import make_secret_key
for name in %r: print(getattr(settings, name))
"""


def python(tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python with no other settings than these."""
    chosen = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), **env}
    chosen["DJANGO_SETTINGS_MODULE"] = "taskqueue.settings"
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=chosen, capture_output=True, text=True, timeout=60, check=False
    )


def values(tmp_path: Path, *names: str, **env: str) -> list[str]:
    done = python(tmp_path, "-c", PRINT % (names,), **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("env", "remedy"),
    [
        ({"SECRET_KEY": "changeme"}, "SECRET_KEY could be guessed"),
        ({"SECRET_KEY": "a" * 60}, "SECRET_KEY could be guessed"),
        ({"SECRET_KEY": f"django-insecure-{KEY}"}, "SECRET_KEY could be guessed"),
        ({**PRODUCTION, "SECRET_KEY": ""}, "HTTPS=1 needs a SECRET_KEY"),
        ({**PRODUCTION, "DEBUG": "1"}, "DEBUG=1 shows code"),
        ({"DEBUG": "1", "ALLOWED_HOSTS": "localhost,queue.example.org"}, "DEBUG=1 shows code"),
        ({"DEBUG": "1", "ALLOWED_HOSTS": "*"}, "DEBUG=1 shows code"),
    ],
)
def test_an_unsafe_start_is_refused_with_the_remedy(
    tmp_path: Path, env: dict[str, str], remedy: str
) -> None:
    done = python(tmp_path, "-c", PRINT % (("DEBUG",),), **env)
    assert done.returncode != 0
    assert remedy in done.stderr.splitlines()[-1]
    assert env.get("SECRET_KEY", "") not in done.stderr or not env.get("SECRET_KEY")


GUNICORN = ("-m", "gunicorn", "--check-config", "taskqueue.wsgi")
REFUSED = {
    "PAYLOAD_KEYS": ("notakey", "PAYLOAD_KEYS: key 1 is no Fernet key. Make one: python -c"),
    "SECRET_NAMES": ("(", "SECRET_NAMES: '(' is no regular expression"),
    "JOB_LINKS": ("no.such.function", "Name a function by its module"),
    "WORKER_LOST_SECONDS": ("1", "WORKER_LOST_SECONDS is 1: live workers would be reaped."),
    "JOB_RESULT_MAX_BYTES": ("16000000", "Use 15000000 at most"),
}


def test_gunicorn_does_not_start_with_what_the_checks_refuse(tmp_path: Path) -> None:
    done = python(tmp_path, *GUNICORN, **{name: value for name, (value, _) in REFUSED.items()})
    assert done.returncode != 0
    said = done.stderr.partition("ImproperlyConfigured: ")[2]
    assert [remedy for _, remedy in REFUSED.values() if remedy not in said] == []
    assert "notakey" not in done.stderr


def test_gunicorn_starts_without_asking_a_store(tmp_path: Path) -> None:
    away = {"MONGODB_URI": "mongodb://127.0.0.1:1/taskqueue", "REDIS_URL": "redis://127.0.0.1:1/0"}
    done = python(tmp_path, *GUNICORN, **away, **PRODUCTION)
    assert done.returncode == 0, done.stderr


def test_the_check_for_deployment_finds_nothing(tmp_path: Path) -> None:
    options = ["check", "--deploy", "--fail-level", "WARNING"]
    done = python(tmp_path, "manage.py", *options, **PRODUCTION)
    assert done.returncode == 0, done.stderr


def test_cookies_are_of_this_host_over_tls_alone(tmp_path: Path) -> None:
    names = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "SESSION_COOKIE_SECURE")
    found = values(tmp_path, *names, **PRODUCTION)
    assert found == ["__Host-sessionid", "__Host-csrftoken", "True"]
    names = ("CSRF_COOKIE_SECURE", "SESSION_COOKIE_PATH", "SESSION_COOKIE_DOMAIN")
    assert values(tmp_path, *names, **PRODUCTION) == ["True", "/", "None"]


def test_a_proxy_is_believed_only_where_there_is_one(tmp_path: Path) -> None:
    assert values(tmp_path, "SECURE_PROXY_SSL_HEADER", **PRODUCTION) == ["None"]
    (header,) = values(tmp_path, "SECURE_PROXY_SSL_HEADER", **PRODUCTION, TRUSTED_PROXIES="1")
    assert header == "('HTTP_X_FORWARDED_PROTO', 'https')"


def test_on_this_machine_it_needs_no_setting_at_all(tmp_path: Path) -> None:
    names = ("HTTPS", "DEBUG", "SECURE_SSL_REDIRECT", "SESSION_COOKIE_NAME", "SECURE_HSTS_SECONDS")
    assert values(tmp_path, *names) == ["False", "False", "False", "sessionid", "0"]
    (key,) = values(tmp_path, "SECRET_KEY")
    assert len(key) >= 50
    assert values(tmp_path, "SECRET_KEY") == [key]
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


def test_targets_are_seconds_by_queue_and_priority(tmp_path: Path) -> None:
    (targets,) = values(
        tmp_path, "QUEUE_TARGETS", QUEUE_TARGETS="default=60, mail=300/high=5/low=900"
    )
    assert targets == str({"default": {"": 60.0}, "mail": {"": 300.0, "high": 5.0, "low": 900.0}})


@pytest.mark.parametrize(
    "bad", ["mail", "=5", "mail=", "mail=soon", "mail=0", "mail=5/urgent=1", "a=1.2.3"]
)
def test_a_target_that_is_none_stops_the_process_with_an_example(tmp_path: Path, bad: str) -> None:
    done = python(tmp_path, "-c", PRINT % (("DEBUG",),), QUEUE_TARGETS=bad)
    assert done.returncode != 0
    assert f"QUEUE_TARGETS: {bad!r} is no target" in done.stderr
    assert "mail=300/high=5" in done.stderr


def test_an_empty_secret_key_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("")
    said = python(tmp_path, "-c", "from django.conf import settings; settings.DEBUG").stderr
    assert f"{tmp_path / 'secret_key'} is empty. Delete it" in said


def test_starts_at_the_same_moment_agree_on_one_secret_key(tmp_path: Path) -> None:
    code = "from django.conf import settings; print(settings.SECRET_KEY)"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "taskqueue.settings", "DATA_DIR": str(tmp_path)}
    env.pop("SECRET_KEY", None)
    starts = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    keys = {one.communicate()[0].strip() for one in starts}
    assert len(keys) == 1
    assert len(keys.pop()) > 50
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_folder_without_links_has_a_secret_key_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_link)
    make_secret_key(tmp_path / "key")
    kept = (tmp_path / "key").read_text()
    make_secret_key(tmp_path / "key")
    assert (tmp_path / "key").read_text() == kept
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert len(kept) > 50


def test_no_start_looks_for_map_libraries() -> None:
    code = "import django, sys; django.setup(); print(*sys.modules)"
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "taskqueue.settings"}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "django_mongodb_backend.base" in loaded
    assert "django.contrib.gis.gdal.libgdal" not in loaded
