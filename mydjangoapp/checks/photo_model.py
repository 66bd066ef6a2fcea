"""The photo model, where it is the site's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.db.models import IntegerField

from ..conf import conf
from ..exceptions import BadSetting
from ..models import AbstractPhoto, Photo, get_photo_model
from .urls import includes


@register("mydjangoapp")
def photo_model_fits(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """E009: no `AbstractPhoto`. E010: its ids are no whole numbers. W004: an index is missing. W005: the API
    has no serializer for it."""
    model = get_photo_model()
    if model is Photo:
        return []
    if not issubclass(model, AbstractPhoto):
        problem = f"MYDJANGOAPP_PHOTO_MODEL names {model._meta.label}, which is not an AbstractPhoto."
        hint = "Let it inherit mydjangoapp.models.AbstractPhoto, and run makemigrations."
        return [Error(problem, hint=hint, id="mydjangoapp.E009")]
    if not isinstance(model._meta.pk, IntegerField) or model._meta.pk.name != "id":
        problem = f"{model._meta.label} needs a primary key `id` of whole numbers that grow."
        hint = "Use AutoField or BigAutoField: feeds are ordered by it."
        return [Error(problem, hint=hint, id="mydjangoapp.E010")]
    return [*_index(model), *_serializer(model)]


def _index(model: type[AbstractPhoto]) -> list[CheckMessage]:
    author = model._meta.get_field(model.AUTHOR_FIELD)
    for index in model._meta.indexes:
        names = [name.lstrip("-") for name in index.fields]
        if names[0] in (author.name, model.author_column()) and names[1:2] == ["id"] and not index.condition:
            return []
    problem = f"{model._meta.label} has no index on author and id: feeds read from SQL will be slow."
    hint = f"class Meta: indexes = photo_indexes(author={model.AUTHOR_FIELD!r}), and run makemigrations."
    return [Warning(problem, hint=hint, id="mydjangoapp.W004")]


def _serializer(model: type[AbstractPhoto]) -> list[CheckMessage]:
    try:
        missing = [name for name in ("PHOTO_SERIALIZER", "UPLOAD_SERIALIZER") if getattr(conf, name) is None]
    except BadSetting:
        return []  # E002 says so
    if not missing or not includes("mydjangoapp"):
        return []
    problem = f"The API does not know the fields of {model._meta.label}: MYDJANGOAPP lacks {missing}."
    hint = "Name serializers there: see docs/ADOPTING.md."
    return [Warning(problem, hint=hint, id="mydjangoapp.W005")]
