"""`/u/{id}/` and `/people/`: users, and how the reader stands to them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from .. import graph
from ..api.people import blocks_the_caller, shown_or_404, user_or_404
from ..exceptions import Blocked
from ..homefeed import reader
from ..models import Block, Follow, Mute, author_column, author_is, get_photo_model
from ..photos import rows
from .page import PHOTOS, Action, Page, back, wants_part
from .paging import page_of

SUGGESTED = 30
LOOKED_AT = 500  # newest photos whose authors are suggested


def relation_to(me: Any, user: Any) -> dict[str, bool]:
    """How the reader stands to a user."""
    return {
        "is_me": me.pk == user.pk,
        "is_followed": Follow.objects.filter(follower=me, followee=user).exists(),
        "is_muted": Mute.objects.filter(muter=me, muted=user).exists(),
        "is_blocked": Block.objects.filter(blocker=me, blocked=user).exists(),
    }


class ProfileView(Page):
    """A user and their photos, newest first. A user who blocks the reader is not there."""

    template_name = "mydjangoapp/profile.html"
    part_name = "mydjangoapp/_entries.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = shown_or_404(kwargs["user_id"], self.request)  # type: ignore[arg-type]  # asks for its user alone
        photos = get_photo_model()._default_manager.filter(author_is(user))
        relation = relation_to(self.request.user, user)
        page = page_of(photos.none() if relation["is_blocked"] else photos, self.request, PHOTOS)
        entries = reader.entries_of(self.request.user.pk, page.rows)
        return super().get_context_data(
            person=rows.of_author(user), entries=entries, before=page.before, **relation, **kwargs
        )


class PeopleView(Page):
    """Users to follow: those who have posted lately, then those who came lately."""

    template_name = "mydjangoapp/people.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        users = list(islice(self._suggested(), SUGGESTED))
        return super().get_context_data(people=[rows.of_author(user) for user in users], **kwargs)

    def _suggested(self) -> Any:
        me = self.request.user.pk
        newest = get_photo_model()._default_manager.order_by("-id").values_list(author_column(), flat=True)
        recent = list(dict.fromkeys(newest[:LOOKED_AT]))
        strangers = _strangers(me)
        found = strangers.filter(pk__in=recent).in_bulk()
        yield from (found[pk] for pk in recent if pk in found)
        yield from strangers.exclude(pk__in=found).order_by("-pk")[:SUGGESTED]


def _strangers(me: Any) -> QuerySet[Any]:
    """Users who can be followed, and are not."""
    blocked = Block.objects.filter(
        Q(blocker=me, blocked=OuterRef("pk")) | Q(blocker=OuterRef("pk"), blocked=me)
    )
    followed = Follow.objects.filter(follower=me, followee=OuterRef("pk"))
    muted = Mute.objects.filter(muter=me, muted=OuterRef("pk"))
    users = get_user_model()._default_manager.filter(is_active=True).exclude(pk=me)
    return users.exclude(Exists(followed)).exclude(Exists(muted)).exclude(Exists(blocked))


class _RelationView(Action):
    """The reader's relation to a user, made (`on` is 1) or ended; both may be repeated."""

    works_unseen: ClassVar[bool] = False
    make: ClassVar[Callable[[Any, Any], bool]]
    end: ClassVar[Callable[[Any, Any], bool]]

    def post(self, request: HttpRequest, user_id: str) -> HttpResponseBase:
        user = user_or_404(user_id)
        is_made = request.POST.get("on") == "1"
        if is_made and not self.works_unseen and blocks_the_caller(user, request):  # type: ignore[arg-type]  # as above
            raise Http404
        try:
            (type(self).make if is_made else type(self).end)(request.user, user)
        except Blocked:
            messages.error(request, _("You block this user: unblock them first."))
        except ValueError as error:
            messages.error(request, str(error))
        except IntegrityError as error:  # the user was deleted in this moment
            raise Http404 from error
        if wants_part(request):
            return self._part(request, user)
        return HttpResponseRedirect(back(request))

    def _part(self, request: HttpRequest, user: Any) -> HttpResponseBase:
        from django.shortcuts import render

        context = {"person": rows.of_author(user), **relation_to(request.user, user)}
        name = "_relations" if request.POST.get("part") == "relations" else "_follow"
        return render(request, f"mydjangoapp/{name}.html", context)


class FollowView(_RelationView):
    """Shows the user's photos in the reader's feed."""

    make, end = graph.follow, graph.unfollow


class MuteView(_RelationView):
    """Goes on following without seeing the user's photos."""

    make, end = graph.mute, graph.unmute


class BlockView(_RelationView):
    """Ends following both ways and keeps it so."""

    works_unseen = True
    make, end = graph.block, graph.unblock
