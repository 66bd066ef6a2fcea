"""Who may see what."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from ..models import AbstractPhoto


class IsAuthorOrStaff(IsAuthenticated):
    """For what concerns a photo's author alone."""

    message = _("Only the photo's author and staff may see this.")

    def has_object_permission(self, request: Request, view: APIView, obj: AbstractPhoto) -> bool:
        return obj.author_key == request.user.pk or bool(getattr(request.user, "is_staff", False))


class IsAuthorOrStaffToChange(IsAuthorOrStaff):
    """Everybody may look; only the photo's author and staff may change it."""

    message = _("Only the photo's author and staff may delete it.")

    def has_object_permission(self, request: Request, view: APIView, obj: AbstractPhoto) -> bool:
        return request.method in SAFE_METHODS or super().has_object_permission(request, view, obj)
