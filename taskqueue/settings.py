"""Every setting, in one flat file. Each is read from the environment; the unit is in its name."""

import logging
import os
import re
import secrets
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import parse_qs, urlsplit

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from taskqueue import logs, maps

maps.leave_out()

BASE_DIR = Path(__file__).resolve().parent.parent


def env_bool(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
        return value in ("1", "true", "yes", "on") if value else default
    raise ImproperlyConfigured(f"{name}={value!r}: use 1 or 0.")


def env_number(name: str, default: float, *, least: float = 0) -> float:
    value = os.environ.get(name, "")
    try:
        number = float(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name}={value!r}: use a number.") from None
    if not least <= number < float("inf"):
        raise ImproperlyConfigured(f"{name}={value!r}: use a number of at least {least:g}.")
    return number


def env_int(name: str, default: int, *, least: int = 0) -> int:
    number = env_number(name, default, least=least)
    if number != int(number):
        raise ImproperlyConfigured(f"{name}={number!r}: use a whole number.")
    return int(number)


def env_text(name: str, default: str = "") -> str:
    return os.environ.get(name) or default


def env_list(name: str, default: str) -> list[str]:
    return [item.strip() for item in env_text(name, default).split(",") if item.strip()]


def env_targets(name: str) -> dict[str, dict[str, float]]:
    """Seconds by queue and priority, "" for all: `mail=300/high=5` is 5 s for mail/high."""
    targets: dict[str, dict[str, float]] = {}
    for item in env_list(name, ""):
        queue, _, given = item.partition("=")
        by_priority = re.fullmatch(r"([\d.]+)((?:/(?:high|medium|low)=[\d.]+)*)", given)
        try:
            if not queue or not by_priority:
                raise ValueError
            pairs = [pair.split("=") for pair in by_priority[2].split("/")[1:]]
            targets[queue] = {"": float(by_priority[1])} | {of: float(to) for of, to in pairs}
            if min(targets[queue].values()) <= 0:
                raise ValueError
        except ValueError:
            example = "default=60,mail=300/high=5"
            raise ImproperlyConfigured(
                f"{name}: {item!r} is no target. Use seconds, for example {example}."
            ) from None
    return targets


def env_level(name: str, default: str) -> str:
    level = env_text(name, default).upper()
    if level not in (levels := logging.getLevelNamesMapping()):
        raise ImproperlyConfigured(f"{name}={level!r}: use one of {', '.join(levels)}.")
    return level


# --- Where things are -------------------------------------------------------------------------
DATA_DIR = Path(env_text("DATA_DIR") or BASE_DIR / ".data").resolve()


def of_running(name: str, default: str) -> str:
    """The environment's value, else that of the embedded stores which run on this DATA_DIR."""
    embedded = DATA_DIR / "embedded.env"
    lines = embedded.read_text().splitlines() if embedded.is_file() else []
    running = dict(line.split("=", 1) for line in lines if "=" in line)
    return os.environ.get(name) or running.get(name) or default


def secret_key() -> str:
    """The environment's key, else one made once and kept, readable by its owner alone."""
    if key := os.environ.get("SECRET_KEY"):
        return checked_key(key)
    path = DATA_DIR / "secret_key"
    try:
        if not path.exists():
            make_secret_key(path)
    except OSError as error:
        raise ImproperlyConfigured(f"Set SECRET_KEY: {path} cannot be written ({error}).") from None
    if kept := path.read_text():
        return kept
    raise ImproperlyConfigured(f"{path} is empty. Delete it: the next start makes a new key.")


def make_secret_key(path: Path) -> None:
    """Write a new key there, all of it or none; who was a moment earlier is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_urlsafe(50)
    with NamedTemporaryFile("w", dir=path.parent) as file:  # readable by its owner alone
        file.write(key)
        file.flush()
        try:
            os.link(file.name, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            write_secret_key(path, key)


def write_secret_key(path: Path, key: str) -> None:
    with (
        suppress(FileExistsError),
        open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file,
    ):
        file.write(key)


def checked_key(key: str) -> str:
    """A key that cannot be guessed; with DEBUG=1, any."""
    weak = len(key) < KEY_LENGTH or len(set(key)) < KEY_LETTERS or key.startswith("django-insecure")
    if weak and not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY could be guessed, and whoever does is any user. Use at least "
            f"{KEY_LENGTH} characters, as {MAKE_KEY} prints them."
        )
    return key


# --- Which kind of start this is --------------------------------------------------------------
# HTTPS=1 says production: browsers reach this by TLS alone, so nothing is left to chance there.
DEBUG = env_bool("DEBUG", False)
HTTPS = env_bool("HTTPS", False)
TRUSTED_PROXIES = env_int("TRUSTED_PROXIES", 0)
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]"}
MAKE_KEY = "`python3 -c 'import secrets; print(secrets.token_urlsafe(50))'`"
KEY_LENGTH, KEY_LETTERS = 50, 5  # as `manage.py check --deploy` wants them

if DEBUG and (HTTPS or not LOCAL_HOSTS.issuperset(ALLOWED_HOSTS)):
    raise ImproperlyConfigured(
        "DEBUG=1 shows code and settings to whoever causes an error: only with HTTPS=0 and the "
        f"ALLOWED_HOSTS {', '.join(sorted(LOCAL_HOSTS))}."
    )
if HTTPS and not os.environ.get("SECRET_KEY"):
    raise ImproperlyConfigured(
        "HTTPS=1 needs a SECRET_KEY, the same for every web process: set it to what "
        f"{MAKE_KEY} prints."
    )

# --- The two stores ---------------------------------------------------------------------------
MONGODB_URI = of_running("MONGODB_URI", "mongodb://127.0.0.1:27017/taskqueue")
MONGODB_DATABASE = urlsplit(MONGODB_URI).path.strip("/") or "taskqueue"
REDIS_URL = of_running("REDIS_URL", "redis://127.0.0.1:6379/0")
REDIS_PREFIX = env_text("REDIS_PREFIX", "taskqueue")

DATABASES = {
    "default": {
        "ENGINE": "django_mongodb_backend",
        "HOST": MONGODB_URI,
        "NAME": MONGODB_DATABASE,
        # Timeouts stay well under WORKER_LOST_SECONDS, so that an outage is noticed while it lasts.
        "OPTIONS": {
            "appname": parse_qs(urlsplit(MONGODB_URI).query).get("appName", ["taskqueue"])[0],
            "w": "majority",
            "journal": True,
            "wTimeoutMS": 5000,
            "serverSelectionTimeoutMS": 5000,
            "connectTimeoutMS": 5000,
            "socketTimeoutMS": 20000,
        },
    }
}
DEFAULT_AUTO_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"
MIGRATION_MODULES = {
    "admin": "taskqueue.migrations.admin",
    "auth": "taskqueue.migrations.auth",
    "axes": "taskqueue.migrations.axes",
    "contenttypes": "taskqueue.migrations.contenttypes",
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": f"{REDIS_PREFIX}:cache",
        "OPTIONS": {
            # The cache is disposable: with Redis down, pages are slower, not broken.
            "IGNORE_EXCEPTIONS": True,
            "SOCKET_CONNECT_TIMEOUT": 1,
            "SOCKET_TIMEOUT": 1,
        },
    }
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True

# --- Jobs -------------------------------------------------------------------------------------
JOB_MAX_ATTEMPTS = env_int("JOB_MAX_ATTEMPTS", 4, least=1)
JOB_BACKOFF_SECONDS = env_number("JOB_BACKOFF_SECONDS", 2)
JOB_TIMEOUT_SECONDS = env_number("JOB_TIMEOUT_SECONDS", 300, least=0.1)
JOB_MAX_CRASHES = env_int("JOB_MAX_CRASHES", 3, least=1)
JOB_RETENTION_DAYS = env_number("JOB_RETENTION_DAYS", 7)
JOB_PAYLOAD_MAX_BYTES = env_int("JOB_PAYLOAD_MAX_BYTES", 1024 * 1024, least=1)
JOB_RESULT_MAX_BYTES = env_int("JOB_RESULT_MAX_BYTES", 256 * 1024, least=1)
SECRET_NAMES = env_list(
    "SECRET_NAMES",
    "password,passwd,secret,token,api_?key,authorization,credential,private_?key,passphrase",
)
PAYLOAD_KEYS = env_list("PAYLOAD_KEYS", "")
BULK_MAX_JOBS = 10_000
BULK_MAX_BYTES = 32 * 1024 * 1024
QUEUE_TARGETS = env_targets("QUEUE_TARGETS")
DEMO_JOBS = env_bool("DEMO_JOBS", of_running("DEMO_JOBS", "0") == "1")

JOB_LINKS = env_text("JOB_LINKS")

# --- Workers ----------------------------------------------------------------------------------
WORKER_HEARTBEAT_SECONDS = env_number("WORKER_HEARTBEAT_SECONDS", 5, least=0.1)
WORKER_LOST_SECONDS = env_number("WORKER_LOST_SECONDS", 30, least=0.5)
WORKER_GRACE_SECONDS = env_number("WORKER_GRACE_SECONDS", 25)

# --- Django -----------------------------------------------------------------------------------
SECRET_KEY = secret_key()
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", "")
READ_ONLY = env_bool("READ_ONLY", False)
ENVIRONMENT = env_text("ENVIRONMENT")

INSTALLED_APPS = [
    "taskqueue.apps.MongoAdminConfig",
    "taskqueue.apps.MongoAuthConfig",
    "taskqueue.apps.MongoContentTypesConfig",
    "taskqueue.apps.MongoAxesConfig",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_mongodb_backend",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "taskqueue.management.TaskqueueConfig",
    "jobs",
    "workers",
]
MIDDLEWARE = [
    "jobs.polls.PollsMiddleware",
    # Around all else: files, redirects and errors get these headers too.
    "csp.middleware.CSPMiddleware",
    "jobs.middleware.HeadersMiddleware",
    "jobs.middleware.OriginMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "jobs.middleware.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "jobs.middleware.PeopleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "jobs.middleware.SessionAgeMiddleware",
    "jobs.middleware.ReadOnlyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "jobs.middleware.StoreDownMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "taskqueue.urls"
WSGI_APPLICATION = "taskqueue.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "jobs.middleware.site",
            ],
        },
    }
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
VALIDATORS = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{VALIDATORS}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{VALIDATORS}.UserAttributeSimilarityValidator"},
    {"NAME": f"{VALIDATORS}.CommonPasswordValidator"},
    {"NAME": f"{VALIDATORS}.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
# Read through Redis, kept in MongoDB: a FLUSHALL logs nobody out.
SESSION_ENGINE = "jobs.sessions"
SESSION_IDLE_SECONDS = env_int("SESSION_IDLE_SECONDS", 8 * 3600, least=60)
SESSION_MAX_SECONDS = env_int("SESSION_MAX_SECONDS", 7 * 86400, least=60)
SESSION_COOKIE_AGE = SESSION_MAX_SECONDS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Browsers take `__Host-` from this very host only, over TLS: a neighbour cannot plant one.
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
CSRF_COOKIE_HTTPONLY = True  # pages carry the token themselves
SECURE_SSL_REDIRECT = HTTPS
PROBES = ("/healthz", "/readyz")  # asked from beside, without the proxy, by any host
SECURE_REDIRECT_EXEMPT = [f"^{path[1:]}$" for path in PROBES]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS and TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 365 * 86400 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SILENCED_SYSTEM_CHECKS = ["security.W021"]  # preloading speaks for a whole domain: its owner's word
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
# A nonce is in the header of a page that asks for one: of Swagger and Redoc, which make styles.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
# Failed logins are kept in MongoDB: a lockout survives a restart and a FLUSHALL.
LOGIN_FAILURES = env_int("LOGIN_FAILURES", 6, least=1)
LOGIN_LOCK_SECONDS = env_int("LOGIN_LOCK_SECONDS", 900, least=1)
AXES_HANDLER = "jobs.logins.Handler"
AXES_FAILURE_LIMIT = LOGIN_FAILURES
AXES_COOLOFF_TIME = timedelta(seconds=LOGIN_LOCK_SECONDS)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "jobs.origin.address_of"
AXES_LOCKOUT_CALLABLE = "jobs.logins.locked"
AXES_ENABLE_ADMIN = False  # jobs.admin has one with our rights
AXES_VERBOSE = False
DATA_UPLOAD_MAX_MEMORY_SIZE = BULK_MAX_BYTES

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = Path(env_text("STATIC_ROOT") or DATA_DIR / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = DATA_DIR / "files"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- E-mail: SMTP where EMAIL_HOST is set, else files in DATA_DIR/outbox ----------------------
EMAIL_HOST = env_text("EMAIL_HOST")
EMAIL_PORT = env_int("EMAIL_PORT", 25)
EMAIL_HOST_USER = env_text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env_text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env_bool("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 30
EMAIL_FILE_PATH = DATA_DIR / "outbox"
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend" if EMAIL_HOST else "jobs.outbox.EmailBackend"
)
DEFAULT_FROM_EMAIL = env_text("DEFAULT_FROM_EMAIL", "taskqueue@localhost")

# --- Rate limits: in any minute, for each token or user; 0: none ------------------------------
RATE_LIMIT_SUBMIT = env_int("RATE_LIMIT_SUBMIT", 60 * 1000)  # jobs: a bulk of 100 counts as 100
RATE_LIMIT_READ = env_int("RATE_LIMIT_READ", 6000)
RATE_LIMIT_WRITE = env_int("RATE_LIMIT_WRITE", 1200)
RATE_LIMIT_UNKNOWN = env_int("RATE_LIMIT_UNKNOWN", 60)  # for each address, without a valid token

# --- API --------------------------------------------------------------------------------------
WAITERS = env_int("WAITERS", 2)  # requests of a process that may hold a thread with ?wait=
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "jobs.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["jobs.authentication.RolePermission"],
    "DEFAULT_PARSER_CLASSES": ["jobs.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "jobs.renderers.BrowsableRenderer",
    ],
    "DEFAULT_SCHEMA_CLASS": "jobs.api.openapi.Described",
    "EXCEPTION_HANDLER": "jobs.problems.handle",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "taskqueue",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",  # whose schemas are JSON Schema, as pydantic writes it
    "DESCRIPTION": "Submit jobs and steer the queue.",
    "SERVE_PERMISSIONS": ["jobs.authentication.RolePermission"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "jobs.api.payloads.describe_payloads",
    ],
}

METRICS_OPEN = env_bool("METRICS_OPEN", False)

# --- Logs -------------------------------------------------------------------------------------
LOGGING = logs.config(level=env_level("LOG_LEVEL", "INFO"), json_lines=env_bool("LOG_JSON", False))
