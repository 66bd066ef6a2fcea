"""The site of `proj`, with a transaction round each request."""

from proj.settings import *  # noqa: F403
from proj.settings import DATABASES

DATABASES["default"]["ATOMIC_REQUESTS"] = True
