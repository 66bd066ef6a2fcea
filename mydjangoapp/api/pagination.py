"""Cursors: opaque, signed, and of no use to anybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core import signing
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from ..homefeed.ranking import Place

LIMIT, MOST = 20, 100


def limit_of(request: Request) -> int:
    """`?limit=`, 1 to 100. Raises `ValidationError` naming it."""
    text = request.query_params.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and 1 <= int(text) <= MOST):
        raise ValidationError({"limit": [_("Give a whole number from 1 to %(most)s.") % {"most": MOST}]})
    return int(text)


def cursors_for(user: Any) -> Callable[[int | Place], str]:
    """Makes cursors: places in this user's feed, by photo id. They stay valid when the photo is deleted."""
    signer = signing.TimestampSigner(salt=_salt(user))

    def cursor_of(place: int | Place) -> str:
        if isinstance(place, int):
            return signer.sign_object(place)
        gaps = [place.below, *(place.below - photo_id for photo_id in place.shown)]
        return signer.sign_object(gaps, compress=True)

    return cursor_of


def below(place: int | Place) -> int:
    """The photo id of a place."""
    return place if isinstance(place, int) else place.below


def place_of(request: Request, name: str) -> int | Place | None:
    """The place in the query parameter `name`, None if it is not given.

    Raises `ValidationError` naming it where it was not made for this user's feed.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        place = signing.loads(text, salt=_salt(request.user))
        if isinstance(place, list):
            return Place(place[0], tuple(place[0] - gap for gap in place[1:]))
        return int(place)
    except (signing.BadSignature, ValueError, TypeError) as error:
        problem = _("Not a %(name)s of your feed: take it from next or previous of a page, as it is.")
        raise ValidationError({name: [problem % {"name": name}]}) from error


def _salt(user: Any) -> str:
    return f"mydjangoapp.feed:{user.pk}"


class NewestFirst(CursorPagination):
    """Pages of rows by id, newest first; rows that come or go meanwhile do not shift them."""

    ordering = "-id"

    def get_page_size(self, request: Request) -> int:
        return limit_of(request)

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                int(cursor.position)
            return cursor
        except (NotFound, ValueError) as error:
            raise ValidationError({"cursor": [_("Not a cursor of this list.")]}) from error
