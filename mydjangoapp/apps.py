"""Django's entry to the app."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.utils.translation import gettext_lazy as _


class MyDjangoAppConfig(AppConfig):
    name = "mydjangoapp"
    verbose_name = _("Home feeds")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django reads the settings of swappable models by name, also in migrations, and knows no default
        # but its own for users.
        if not hasattr(settings, "MYDJANGOAPP_PHOTO_MODEL"):
            settings.MYDJANGOAPP_PHOTO_MODEL = "mydjangoapp.Photo"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401  # checks register themselves

        receivers.connect()
