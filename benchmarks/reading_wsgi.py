"""`proj.wsgi` with the views that the reading benchmark compares with."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.ROOT_URLCONF = "benchmarks.reading_urls"
application = get_wsgi_application()
