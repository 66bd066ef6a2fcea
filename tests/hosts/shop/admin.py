"""The shop's posts in the admin; one that is added here is delivered like any other."""

from django.contrib import admin

from .models import Post


@admin.register(Post)
class PostAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Text and author."""

    list_display = ("id", "user", "text")
    fields = ("user", "text")
