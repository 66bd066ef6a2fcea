"""Posts in the API: how they come in, and how they are shown."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from mydjangoapp.api.serializers import CleanImageField, UploadFields

from .models import Picture, Post, Tag


class PictureSerializer(serializers.ModelSerializer[Picture]):
    """One picture."""

    class Meta:
        model = Picture
        fields = ("file", "alt")


class PostSerializer(serializers.ModelSerializer[Post]):
    """What a page shows of a post."""

    tags: Any = serializers.SlugRelatedField("name", many=True, read_only=True)
    pictures = PictureSerializer(many=True)

    class Meta:
        model = Post
        fields = ("text", "tags", "pictures")

    @classmethod
    def prefetch(cls, posts: QuerySet[Post]) -> QuerySet[Post]:
        """Two more queries a page, however many posts are on it."""
        return posts.prefetch_related("tags", "pictures")


class PostUploadSerializer(UploadFields, serializers.ModelSerializer[Post]):
    """A text, and up to four pictures."""

    tags = serializers.ListField(child=serializers.CharField(max_length=40), required=False)
    pictures = serializers.ListField(child=CleanImageField(), max_length=4, required=False)

    class Meta:
        model = Post
        fields = ("text", "tags", "pictures", "circle_id", "user_id")

    def create(self, validated_data: dict[str, Any]) -> Post:
        tags, pictures = validated_data.pop("tags", []), validated_data.pop("pictures", [])
        post: Post = super().create(validated_data)
        post.tags.set([Tag._default_manager.get_or_create(name=name)[0] for name in tags])
        for picture in pictures:
            Picture._default_manager.create(post=post, file=picture)
        return post
