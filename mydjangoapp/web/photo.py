"""`/p/{id}/`: a photo, and what can be done with it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from .. import likes
from ..connections import database
from ..homefeed import reader
from ..homefeed.reader import Entry
from ..models import get_photo_model
from ..photos.visibility import not_blocking
from .page import Action, Page, back, wants_part


def seen_photo(request: HttpRequest, photo_id: int) -> Any:
    """The photo, for somebody whom its author does not block; else 404."""
    photos = not_blocking(get_photo_model()._default_manager.all(), request.user)
    return get_object_or_404(photos, id=photo_id)


def entry_of(request: HttpRequest, photo_id: int) -> Entry:
    """The same as the reader gets it."""
    entries = reader.entries_of(request.user.pk, [seen_photo(request, photo_id)])
    if not entries:  # it or its author is being deleted in this moment
        raise Http404
    return entries[0]


def may_delete(user: Any, author_id: Any) -> bool:
    """Only the author and staff."""
    return bool(user.pk == author_id or user.is_staff)


class PhotoView(Page):
    """A photo with its description."""

    template_name = "mydjangoapp/photo.html"
    part_name = "mydjangoapp/_entry.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        entry = entry_of(self.request, kwargs["photo_id"])
        is_mine = may_delete(self.request.user, entry.photo.user_id)
        return super().get_context_data(entry=entry, may_delete=is_mine, **kwargs)


class LikeView(Action):
    """Likes a photo (`on` is 1) or no longer does. A script gets the button as it is then."""

    def post(self, request: HttpRequest, photo_id: int) -> HttpResponseBase:
        change = likes.like if request.POST.get("on") == "1" else likes.unlike
        try:
            change(request.user, seen_photo(request, photo_id).pk)
        except get_photo_model().DoesNotExist as error:
            raise Http404 from error
        if wants_part(request):
            return render(request, "mydjangoapp/_like.html", {"entry": entry_of(request, photo_id)})
        return HttpResponseRedirect(back(request))


class DeleteView(Action):
    """Deletes a photo of one's own."""

    def post(self, request: HttpRequest, photo_id: int) -> HttpResponseBase:
        photo = seen_photo(request, photo_id)
        if not may_delete(request.user, photo.author_key):
            return HttpResponse(_("Only its author deletes a photo."), status=403, content_type="text/plain")
        with database.atomic():
            # The lock first, as a like does: or the two would wait for each other.
            database.primary(get_photo_model()).select_for_update().filter(id=photo.pk).first()
            photo.delete()
        messages.success(request, _("The photo is deleted."))
        return HttpResponseRedirect(back(request))
