"""Django's entry to the app."""

from django.apps import AppConfig


class MyDjangoAppConfig(AppConfig):
    name = "mydjangoapp"
    verbose_name = "Home feeds"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401  # checks register themselves

        receivers.connect()
