"""Users: profile, photos, who follows whom; and follow, mute, block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.db.models import Exists, OuterRef
from django.http import Http404
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from .. import graph
from ..connections import database
from ..exceptions import Blocked
from ..homefeed import reader
from ..models import Block, Follow, Mute, author_is, get_photo_model
from ..photos import rows
from .answers import entries_data
from .pagination import MOST, NewestFirst
from .serializers import FeedPageSerializer, PeoplePageSerializer, ProfileSerializer
from .throttles import ChangeThrottle
from .views import View

PAGED = [
    OpenApiParameter("limit", int, description=f"Rows a page, 1 to {MOST}."),
    OpenApiParameter("cursor", description="From `next` or `previous`."),
]


def user_or_404(user_id: str) -> Any:
    """The user with this id, whatever type the site's ids have."""
    if "\0" in user_id:  # no database has a text with it, and PostgreSQL refuses to look for one
        raise Http404
    try:
        return get_object_or_404(get_user_model()._default_manager.all(), pk=user_id)
    except Http404:
        raise Http404 from None  # in the same words as for a user who blocks the caller


def shown_or_404(user_id: str, request: Request) -> Any:
    """The same, for a caller who wants to look at them: a user who blocks the caller is not there."""
    user = user_or_404(user_id)
    if blocks_the_caller(user, request):
        raise Http404
    return user


def blocks_the_caller(user: Any, request: Request) -> bool:
    """Whether the user blocks the caller."""
    return database.primary(Block).filter(blocker=user, blocked=request.user.pk).exists()


class ProfileView(View):
    """The public part of a user, and how the caller stands to them."""

    @extend_schema(responses=ProfileSerializer)
    def get(self, request: Request, user_id: str) -> Response:
        user, me = shown_or_404(user_id, request), request.user.pk
        return Response(
            {
                **rows.of_author(user).shown(),
                "following": Follow.objects.filter(follower=me, followee=user).exists(),
                "muted": Mute.objects.filter(muter=me, muted=user).exists(),
                "blocked": Block.objects.filter(blocker=me, blocked=user).exists(),
            }
        )


class PhotosView(View):
    """A user's photos, newest first."""

    @extend_schema(responses=FeedPageSerializer, parameters=PAGED)
    def get(self, request: Request, user_id: str) -> Response:
        author = shown_or_404(user_id, request)
        photos = get_photo_model()._default_manager.filter(author_is(author))
        pages = NewestFirst()
        entries = reader.entries_of(request.user.pk, pages.paginate_queryset(photos, request) or [])
        return pages.get_paginated_response(entries_data(entries, request))


class _FollowsView(View):
    """The followers or the followees of a user, without those who block the
    caller."""

    whose: ClassVar[str]
    others: ClassVar[str]

    @extend_schema(responses=PeoplePageSerializer, parameters=PAGED)
    def get(self, request: Request, user_id: str) -> Response:
        follows = Follow.objects.filter(**{self.whose: shown_or_404(user_id, request)})
        blocks_me = Block.objects.filter(blocker=OuterRef(self.others), blocked=request.user.pk)
        pages = NewestFirst()
        page = pages.paginate_queryset(
            follows.exclude(Exists(blocks_me)).select_related(self.others), request
        )
        users = [rows.of_author(getattr(row, self.others)) for row in page or []]
        return pages.get_paginated_response([user.shown() for user in users])


class FollowersView(_FollowsView):
    """Who follows a user, latest first."""

    whose, others = "followee", "follower"


class FollowingView(_FollowsView):
    """Whom a user follows, latest first."""

    whose, others = "follower", "followee"


class _RelationView(View):
    """The caller's relation to a user; making and ending it may be repeated.

    A user who blocks the caller is not there, as everywhere, so that nobody can find out who blocks them:
    also where something was done (a relation of the caller's own is ended, a block is made) the answer is
    404.
    """

    throttle_classes = (ChangeThrottle,)
    works_unseen: ClassVar[bool] = False
    make: ClassVar[Callable[[Any, Any], bool]]
    end: ClassVar[Callable[[Any, Any], bool]]

    @extend_schema(request=None, responses={204: None})
    def put(self, request: Request, user_id: str) -> Response:
        try:
            if not self.works_unseen:
                shown_or_404(user_id, request)
            user = user_or_404(user_id)
            type(self).make(request.user, user)
        except Blocked as error:
            shown_or_404(user_id, request)  # they may have blocked the caller in this moment
            raise PermissionDenied(_("You block this user: unblock them first.")) from error
        except ValueError as error:
            raise ValidationError({"user_id": [str(error)]}) from error
        except IntegrityError as error:  # the user was deleted in this moment
            raise Http404 from error
        return self._answer(user, request)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, user_id: str) -> Response:
        user = user_or_404(user_id)
        type(self).end(request.user, user)
        return self._answer(user, request)

    @staticmethod
    def _answer(user: Any, request: Request) -> Response:
        if blocks_the_caller(user, request):
            # Not by an exception: with ATOMIC_REQUESTS that would take back what was done.
            return Response({"detail": NotFound.default_detail}, status.HTTP_404_NOT_FOUND)
        return Response(status=status.HTTP_204_NO_CONTENT)


class FollowView(_RelationView):
    """Shows the user's photos in the caller's feed."""

    make, end = graph.follow, graph.unfollow


class MuteView(_RelationView):
    """Go on following without seeing the user's photos."""

    make, end = graph.mute, graph.unmute


class BlockView(_RelationView):
    """End following both ways and keep it so."""

    works_unseen = True
    make, end = graph.block, graph.unblock
