"""Which model the site's photos are of, as Django does it for users."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

SETTING = "MYDJANGOAPP_PHOTO_MODEL"
DEFAULT = "mydjangoapp.Photo"


def photo_model_name() -> str:
    """`app_label.Model` of the site's photo model, for foreign keys and migrations."""
    return str(getattr(settings, SETTING, DEFAULT))


def get_photo_model() -> Any:
    """The site's photo model: `mydjangoapp.Photo`, or the `AbstractPhoto` that the setting names.

    `Any`, because type checkers know the photo model of one site, and take every other site's for an error.

    Raises `ImproperlyConfigured` if there is no such model.
    """
    name = photo_model_name()
    try:
        return apps.get_model(name, require_ready=False)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{SETTING} must be of the form 'app_label.Model', not {name!r}."
        ) from error
    except LookupError as error:
        raise ImproperlyConfigured(
            f"{SETTING} names {name!r}, which is not a model of an installed app."
        ) from error


def author_is(author: Any, lookup: str = "exact") -> Q:
    """Photos by this author; with `lookup` `in`, by these."""
    return Q(**{f"{get_photo_model().AUTHOR_FIELD}__{lookup}": author})


def author_column() -> str:
    """The name in `values_list` and `OuterRef` that holds the author's id."""
    return str(get_photo_model().author_column())
