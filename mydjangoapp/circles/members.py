"""Making circles, joining and leaving them."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from ..connections import database
from ..exceptions import BadUpload, NotAMember
from ..models import Circle, CircleMembership, get_photo_model


def create(user: Any, *, name: str, description: str = "") -> Circle:
    """Makes a circle with this user as its first member."""
    with database.atomic():
        circle = Circle.objects.create(name=name, description=description)
        join(user, circle)
    return circle


def join(user: Any, circle: Any) -> bool:
    """Makes the user a member; False if they were. Raises `IntegrityError` for a circle that is not there."""
    _, made = CircleMembership.objects.get_or_create(
        circle_id=getattr(circle, "pk", circle), user_id=getattr(user, "pk", user)
    )
    return made


def leave(user: Any, circle: Any) -> bool:
    """Ends the membership; False if they were not a member. Their photos stay in the circle."""
    gone, _ = database.primary(CircleMembership).filter(circle=circle, user=user).delete()
    return bool(gone)


def is_member(user: Any, circle: Any) -> bool:
    """Whether they may post there."""
    return database.primary(CircleMembership).filter(circle=circle, user=user).exists()


def keep(circle_id: int) -> None:
    """Keeps a circle from being deleted until the open transaction ends, where the photo's own reference to
    it does not: photos of a model of the site's own have none. Raises `BadUpload` if it is gone."""
    if any(field.attname == "circle_id" and field.is_relation for field in get_photo_model()._meta.fields):
        return
    circle = Circle.objects.using(database.writer()).filter(pk=circle_id)
    if circle.select_for_update().first() is None:
        raise _no_circle(circle_id)


def check_may_post(user: Any, circle: Any) -> int:
    """The circle's id. Raises `BadUpload` if there is no such circle, `NotAMember` for a non-member."""
    id_ = getattr(circle, "pk", circle)
    if not database.primary(Circle).filter(pk=id_).exists():
        raise _no_circle(id_)
    if not is_member(user, id_):
        raise NotAMember("circle_id", _("Only members of a circle post into it: join it first."))
    return int(id_)


def _no_circle(id_: Any) -> BadUpload:
    return BadUpload("circle_id", _("There is no circle %(id)s.") % {"id": id_})
