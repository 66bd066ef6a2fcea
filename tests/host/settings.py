"""A host site: `HOST_USER` names its user model; what the app must not depend on is set to something else."""

import os

from proj.settings import *  # noqa: F403
from proj.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "tests.host.apps.HostConfig"]
AUTH_USER_MODEL = os.environ.get("HOST_USER", "host.Person")
ROOT_URLCONF = "tests.host.urls"
DATABASES["default"]["ATOMIC_REQUESTS"] = True
APPEND_SLASH = False
USE_I18N = True
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
MIDDLEWARE = [*MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "DEFAULT_VERSION": "7.0",
    "ALLOWED_VERSIONS": ["7.0"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 1,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.FormParser"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"anon": "1/day"},
}
LOGIN_URL = "shop:mydjangoapp_accounts:login"
LOGIN_REDIRECT_URL = "shop:mydjangoapp_web:home"
