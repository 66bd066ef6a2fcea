"""Users as sites have them: by UUID and by text of any kind, without `username`, with log-in by e-mail."""

from __future__ import annotations

import secrets
import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class People(BaseUserManager[Any]):
    """Makes users by e-mail."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> Any:
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> Any:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class ByEmail(AbstractBaseUser, PermissionsMixin):
    """Logs in by e-mail."""

    email = models.EmailField(unique=True)
    first_name = models.CharField(max_length=50, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    USERNAME_FIELD = "email"
    objects: ClassVar[Any] = People()

    class Meta:
        abstract = True

    def get_full_name(self) -> str:
        """As Django's documentation had it once: the address itself where there is no name."""
        return self.first_name or self.email


class Person(ByEmail):
    """With a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)

    class Meta:
        swappable = "AUTH_USER_MODEL"


def any_text() -> str:
    """An id with whatever may break a key, a URL or a cache."""
    return f"a:b %41 {{c}}d}} é {secrets.token_hex(6)}"


class Handle(ByEmail):
    """With a text."""

    id = models.CharField(primary_key=True, max_length=60, default=any_text, editable=False)

    class Meta:
        swappable = "AUTH_USER_MODEL"
