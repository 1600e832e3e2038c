"""Django's settings: everything that differs between machines comes from the platform's env file."""

import os
from urllib.parse import urlsplit, urlunsplit

import dj_database_url


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f"{name} is not set; make env SERVICE=django writes it")
    return value


SECRET_KEY = _required("DJANGO_SECRET_KEY")
DEBUG = os.environ.get("DJANGO_DEBUG") == "true"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "*").split(",")

INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "orders"]
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "lightwave.urls"
WSGI_APPLICATION = "lightwave.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

# docs: begin database
DATABASES = {
    "default": dj_database_url.parse(
        _required("DATABASE_URL"),
        # Below PgBouncer's client_idle_timeout, so that this side closes an idle connection first.
        conn_max_age=60,
        # A connection that the pooler closed is replaced before the request, not in it.
        conn_health_checks=True,
        # The pooler pools by transaction: a cursor WITH HOLD does not outlive one.
        disable_server_side_cursors=os.environ.get("DISABLE_SERVER_SIDE_CURSORS") == "true",
    )
}
# Seconds: without it a connection attempt waits for TCP to give up, which takes minutes.
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 10)
# No OPTIONS with search_path: PgBouncer refuses startup parameters, and the role's own search_path is set.

# Tests run in a database of their own, which `make up` makes; where there is none, the runner refuses.
DATABASES["default"]["TEST"] = {"NAME": os.environ.get("DATABASE_TEST_NAME")}
TEST_RUNNER = "lightwave.testing.Runner"
# docs: end database

# docs: begin cache
REDIS_URL = os.environ.get("REDIS_URL", "")
# Seconds. While Valkey's pod is replaced, packets to the old one get no answer: without them, a request that sends a
# task waits for two minutes (Celery's default), one that reads the cache until TCP gives up.
REDIS_TIMEOUTS = {"socket_connect_timeout": 2, "socket_timeout": 5}
if REDIS_URL:
    # Another database than Celery's: cache.clear() empties the one that it is in.
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": urlunsplit(urlsplit(REDIS_URL)._replace(path="/1")),
            "OPTIONS": REDIS_TIMEOUTS,
            "TIMEOUT": 300,
        }
    }

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_RESULT_BACKEND = REDIS_URL or "cache+memory://"
CELERY_RESULT_EXPIRES = 3600  # seconds; what has no time to live is never evicted
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = REDIS_TIMEOUTS
CELERY_REDIS_SOCKET_CONNECT_TIMEOUT = REDIS_TIMEOUTS["socket_connect_timeout"]
CELERY_REDIS_SOCKET_TIMEOUT = REDIS_TIMEOUTS["socket_timeout"]
# A worker that dies hands its task back, so tasks must be idempotent.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# docs: end cache

PAYLOAD_API_URL = _required("PAYLOAD_API_URL")
