"""Settings of the site, from the environment and nothing else (see docs/SETTINGS.md).

Every one has a default that works on a laptop: SQLite and media under `var/`, Redis on its usual port.
"""

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from mydjangoapp import __version__
from mydjangoapp.conf import from_environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _kept_secret(file: Path) -> str:
    """A secret key of this machine's own, made at the first start, so that none stands in the repo."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return file.read_text()


VAR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or _kept_secret(VAR / "secret-key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "django_htmx",
    "mydjangoapp",
    "proj",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "proj.urls"
WSGI_APPLICATION = "proj.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    database: dict[str, Any] = dict(env.db_url("DATABASE_URL", default=f"sqlite:///{VAR / 'site.sqlite3'}"))
    database["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
    if database["ENGINE"] == "django.db.backends.sqlite3":
        Path(database["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        database["OPTIONS"] = {
            # A transaction that reads first and writes later fails under load with "database is
            # locked", whatever the timeout; one that asks for the write lock at once waits its turn.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        # Tests use the very file, so that worker processes beside them see the same rows.
        database["TEST"] = {"NAME": database["NAME"]}
    else:
        database["CONN_HEALTH_CHECKS"] = True
        if database["ENGINE"] == "django.db.backends.postgresql":
            # libpq's own defaults wait for minutes.
            database["OPTIONS"] = {
                "connect_timeout": 2,
                "tcp_user_timeout": 5_000,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 2,
            }
            if env.bool("DATABASE_PREPARES", default=True):
                # A query that a connection asks the fifth time is parsed and planned no more: a small
                # fan-out's row takes a quarter less time. Not behind a pooler that does not know it.
                database["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 5}
            if most := env.int("DATABASE_POOL", default=0):
                # Under ASGI each request has a thread of its own, whose connection would stay open for ever.
                database["CONN_MAX_AGE"] = 0
                database["OPTIONS"]["pool"] = {"min_size": 1, "max_size": most, "timeout": 5}
        # Named only by the tests: what has this name is dropped and made anew when they begin.
        if name := env.str("TEST_DATABASE_NAME", default=""):
            database["TEST"] = {"NAME": name}
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MYDJANGOAPP = from_environ(os.environ)
MYDJANGOAPP_PHOTO_MODEL = env.str("MYDJANGOAPP_PHOTO_MODEL", default="mydjangoapp.Photo")


def _cache() -> dict[str, Any]:
    """`CACHE_URL`: `redis://host:port/db` or `memcache://host:port`; else database 2 of the feeds' Redis."""
    feeds = urlsplit(MYDJANGOAPP.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    if feeds.scheme.endswith("+cluster") and "CACHE_URL" not in os.environ:
        raise ImproperlyConfigured(
            "CACHE_URL is not set, and database 2 of REDIS_URL does not exist: that is a cluster. "
            "Name a single Redis (redis://host:6379/2) or memcached (memcache://host:11211)."
        )
    beside = feeds._replace(path="/2").geturl() if feeds.scheme.startswith("redis") else "locmemcache://"
    cache: dict[str, Any] = dict(env.cache_url("CACHE_URL", default=beside))
    if cache["BACKEND"].endswith("RedisCache"):
        cache["BACKEND"] = "mydjangoapp.connections.redis_cache.RedisCache"
        cache["OPTIONS"] = {"socket_connect_timeout": 0.5, "socket_timeout": 0.8, "protocol": 2}
    elif ".memcached." in cache["BACKEND"]:
        cache["BACKEND"] = "django.core.cache.backends.memcached.PyMemcacheCache"
        cache["OPTIONS"] = {"connect_timeout": 0.5, "timeout": 0.8, "ignore_exc": True}
    return cache


CACHES = {"default": _cache()}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# Log-ins of the admin and for tokens: twenty wrong passwords for a name or from an address, then a pause.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 20
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_CLIENT_IP_CALLABLE = "mydjangoapp.api.throttles.address_of"
# A pause ends by itself, whoever goes on trying. Whoever tries may keep a name paused all the same:
# `manage.py axes_reset_username NAME` ends it, and a proxy can limit /admin/ to addresses of your own.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = False  # or one log-in as oneself would give the next twenty tries for another name
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

LOGIN_URL = "mydjangoapp_accounts:login"
LOGIN_REDIRECT_URL = "mydjangoapp_web:home"

STATIC_URL = "/static/"
# Where `manage.py collectstatic` puts static files, compressed and under names that a browser keeps for ever.
# Without it they are served from where they are.
COLLECTED = env.str("STATIC_ROOT", default="")
STATIC_ROOT = Path(COLLECTED) if COLLECTED else VAR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = not COLLECTED
_static = "whitenoise.storage.CompressedManifestStaticFilesStorage"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": _static if COLLECTED else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
MEDIA_URL = "/media/"
MEDIA_ROOT = env.str("MEDIA_ROOT", default=str(VAR / "media"))
SERVE_MEDIA = env.bool("SERVE_MEDIA", default=True)
SECURE_CONTENT_TYPE_NOSNIFF = True
# Scripts and styles are files of this site. Pictures may be anywhere, as photos may be kept elsewhere; tiny
# ones are in the page (data:), and one that is about to be uploaded is in the browser alone (blob:).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:", "https:", "http:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# HTTPS=true where users come by https only; BEHIND_PROXY=true where a proxy ends TLS, sets
# X-Forwarded-Proto itself and lets nobody else set it.
HTTPS = env.bool("HTTPS", default=False)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=365 * 24 * 3600 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^livez/$", r"^readyz/$", r"^metrics$"]  # asked from inside, without TLS
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    # So log-ins are counted by the client's address and not by the proxy's, which everybody shares.
    "NUM_PROXIES": 1 if BEHIND_PROXY else None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Home feeds",
    "DESCRIPTION": "Upload a photo; it is carried into every follower's home feed, exactly once.",
    "VERSION": __version__,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "mydjangoapp.api.schema.document_refusals",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Everything else that Celery needs: mydjangoapp/celery_defaults.py.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="redis://127.0.0.1:6379/1")
CELERY_TASK_DEFAULT_QUEUE_TYPE = env.str(
    "CELERY_TASK_DEFAULT_QUEUE_TYPE",
    default="quorum" if "amqp" in CELERY_BROKER_URL.split(":")[0] else "classic",
)
if seconds := env.int("CELERY_VISIBILITY_TIMEOUT", default=0):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": seconds}
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "celerybeat-schedule")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        # Two lines for each of a thousand links of a chain are work and tell nothing.
        "celery.app.trace": {"level": env.str("TASK_LOG_LEVEL", default="WARNING")},
        "celery.worker.strategy": {"level": env.str("TASK_LOG_LEVEL", default="WARNING")},
    },
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
}
