"""Django's entry to the app."""

from django.apps import AppConfig


class MyDjangoAppConfig(AppConfig):
    name = "mydjangoapp"
    verbose_name = "Home feeds"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.conf import settings
        from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

        from . import checks, graph, uploads  # noqa: F401  # checks register themselves
        from .circles import members
        from .models import Circle, CircleMembership, Photo

        post_save.connect(
            members.membership_was_saved, sender=CircleMembership, dispatch_uid="mydjangoapp.member_joined"
        )
        post_delete.connect(
            members.membership_was_deleted, sender=CircleMembership, dispatch_uid="mydjangoapp.member_left"
        )
        post_delete.connect(
            members.circle_was_deleted, sender=Circle, dispatch_uid="mydjangoapp.circle_was_deleted"
        )

        post_save.connect(uploads.photo_was_saved, sender=Photo, dispatch_uid="mydjangoapp.photo_was_saved")
        post_delete.connect(
            uploads.photo_was_deleted, sender=Photo, dispatch_uid="mydjangoapp.photo_was_deleted"
        )
        pre_save.connect(
            graph.user_is_saved, sender=settings.AUTH_USER_MODEL, dispatch_uid="mydjangoapp.user_is_saved"
        )
        post_save.connect(
            graph.user_was_saved, sender=settings.AUTH_USER_MODEL, dispatch_uid="mydjangoapp.user_was_saved"
        )
        pre_delete.connect(
            graph.user_is_deleted, sender=settings.AUTH_USER_MODEL, dispatch_uid="mydjangoapp.user_is_deleted"
        )
