"""Articles in the API."""

from __future__ import annotations

from rest_framework import serializers

from mydjangoapp.api.serializers import UploadFields

from .models import Article


class ArticleSerializer(serializers.ModelSerializer[Article]):
    """What a page shows of an article."""

    class Meta:
        model = Article
        fields = ("title", "published")


class ArticleUploadSerializer(UploadFields, serializers.ModelSerializer[Article]):
    """What comes in."""

    class Meta:
        model = Article
        fields = ("title", "published")
