"""Everything that the app does with photos, done with the shop's posts. Run with TEST_ON=shop-photos."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from PIL import Image

from mydjangoapp import graph, likes, uploads
from mydjangoapp.circles import members
from mydjangoapp.connections import database
from mydjangoapp.exceptions import BadUpload
from mydjangoapp.homefeed import keys
from mydjangoapp.models import FanOut, Like, UploadKey, get_photo_model
from tests import servers
from tests.checker import wait_for_end
from tests.events.conftest import take
from tests.events.test_publishing import consumer_of
from tests.feeds import ids_of, logged_in, paged, publish, truth_of

pytestmark = [
    pytest.mark.usefixtures("redis", "transactional_db"),
    pytest.mark.skipif("shop-photos" not in servers.ON, reason="this run's photos are not the shop's"),
]


def picture() -> SimpleUploadedFile:
    """A small one."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(out, "PNG")
    return SimpleUploadedFile("holiday.png", out.getvalue(), "image/png")


def test_a_post_with_pictures_and_tags_reaches_its_followers(pair: Any, worker: Any, redis: Any) -> None:
    me, author = pair
    sent = {"text": "New shoes", "tags": ["red", "sale"], "pictures": [picture(), picture()]}
    answer = logged_in(author).post("/upload/", sent, format="multipart", headers={"Idempotency-Key": "1"})
    assert answer.status_code == 201, answer.content
    post = answer.json()["id"]
    again = logged_in(author).post("/upload/", {"text": "other"}, headers={"Idempotency-Key": "1"})
    assert (again.status_code, again.json()["id"]) == (201, post)
    assert wait_for_end(post, seconds=30) == "done"
    assert redis.lrange(keys.homefeed(me.pk), 0, -1) == [str(post).encode()]
    [entry] = logged_in(me).get("/feed/").json()["results"]
    assert (entry["text"], entry["tags"], entry["user_id"]) == ("New shoes", ["red", "sale"], author.pk)
    assert [one["file"][:30] for one in entry["pictures"]] == ["http://testserver/media/posts/"] * 2
    assert {"id", "created_at", "author", "like_count", "liked"} <= entry.keys()
    progress = logged_in(author).get(answer.json()["fanout"]).json()
    assert (progress["state"], progress["reached"]) == ("done", 1)


def test_an_upload_that_fails_leaves_no_file(
    pair: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_ROOT = tmp_path
    _, author = pair
    api = logged_in(author)
    api.raise_request_exception = False
    kept = {"text": "kept", "pictures": [picture()]}
    assert api.post("/upload/", kept, format="multipart").status_code == 201
    before = set(tmp_path.rglob("*.*"))
    assert len(before) == 1
    with monkeypatch.context() as patch:
        patch.setattr(UploadKey.objects, "create", broken)  # after all of the post has been written
        sent = {"text": "lost", "pictures": [picture(), picture()]}
        headers = {"Idempotency-Key": "2"}
        assert api.post("/upload/", sent, format="multipart", headers=headers).status_code == 500
    assert set(tmp_path.rglob("*.*")) == before
    assert [post.text for post in get_photo_model()._default_manager.all()] == ["kept"]


def broken(**_: Any) -> None:
    raise RuntimeError("a fault of the site's own")


def test_related_rows_that_change_are_seen_at_once(pair: Any) -> None:
    me, author = pair
    [post] = publish(author)
    reader = logged_in(me)
    assert reader.get("/feed/").json()["results"][0]["tags"] == []
    get_photo_model().objects.get(id=post).tags.create(name="late")
    assert reader.get("/feed/").json()["results"][0]["tags"] == ["late"]
    assert reader.get(f"/photos/{post}/").json()["tags"] == ["late"]
    assert reader.get(f"/users/{author.pk}/photos/").json()["results"][0]["tags"] == ["late"]


def test_a_page_costs_as_many_queries_for_fifty_posts_as_for_one(
    pair: Any, django_assert_num_queries: Any
) -> None:
    me, author = pair
    publish(author, 50)
    reader = logged_in(me)
    for limit in (50, 1, 50):
        reader.get(f"/feed/?limit={limit}")
    for limit in (1, 50):
        with django_assert_num_queries(3):  # posts, tags, pictures
            assert len(reader.get(f"/feed/?limit={limit}").json()["results"]) == limit


def test_bad_posts_are_refused_and_nothing_is_left(author: Any) -> None:
    client = logged_in(author)
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "text"),
        ({"text": "x" * 5_001}, "text"),
        ({"text": "x", "pictures": [SimpleUploadedFile("a.png", b"no image")]}, "pictures"),
        ({"text": "x", "circle_id": 99}, "circle_id"),
    ]
    for sent, field in cases:
        answer = client.post("/upload/", sent, format="multipart")
        assert (answer.status_code, list(answer.json())) == (400, [field])
    assert not get_photo_model().objects.exists()
    assert not FanOut.objects.exists()
    with pytest.raises(TypeError, match="description"):
        uploads.publish(author, description="a photo's")


def test_likes_circles_and_deletion(pair: Any, worker: Any, redis: Any) -> None:
    me, author = pair
    circle = members.create(author, name="shoes")
    post = uploads.publish(author, text="in a circle", circle=circle, idempotency_key="k")
    assert uploads.publish(author, text="again", idempotency_key="k") == post
    assert wait_for_end(post.pk, seconds=30) == "done"
    likes.like(me, post.pk)
    assert post.likes.count() == 0, "the shop's own likes are its own"
    entry = logged_in(me).get(f"/circles/{circle.pk}/photos/").json()["results"][0]
    assert (entry["id"], entry["circle_id"], entry["like_count"], entry["liked"]) == (
        post.pk,
        circle.pk,
        1,
        True,
    )
    day = datetime.now(UTC).date().isoformat()
    [ranked] = logged_in(me).get(f"/circles/{circle.pk}/hot/?day={day}").json()["results"]
    assert (ranked["id"], ranked["text"], ranked["score"]) == (post.pk, "in a circle", 2)
    call_command("rebuild_circles")
    assert redis.zrange(f"circle:{circle.pk}:photos", 0, -1) == [str(post.pk).encode()]
    circle.delete()
    post.refresh_from_db()
    assert post.circle_id is None
    assert logged_in(me).delete(f"/photos/{post.pk}/").status_code == 403
    assert logged_in(author).delete(f"/photos/{post.pk}/").status_code == 204
    assert ids_of(logged_in(me).get("/feed/")) == []
    assert not Like.objects.exists()
    assert not UploadKey.objects.exists()
    assert FanOut.objects.get(photo=post.pk).state == "done"


def test_a_circle_that_is_deleted_while_a_post_goes_in(author: Any) -> None:
    circle = members.create(author, name="shoes")
    circle_id = circle.pk
    circle.delete()
    with pytest.raises(BadUpload, match="There is no circle"), database.atomic():
        members.keep(circle_id)


def test_feeds_are_the_truth_and_verify_says_so(make_users: Any, worker: Any, redis: Any) -> None:
    me, author, other = make_users(3)
    graph.follow(me, author)
    graph.follow(me, other)
    posts = [*publish(author, 7), *publish(other, 5)]
    for post in posts:
        assert wait_for_end(post, seconds=30) == "done"
    assert paged(logged_in(me), 5) == truth_of(me) == sorted(posts, reverse=True)
    call_command("verify_feeds")
    graph.block(other, me)
    assert paged(logged_in(me), 5) == truth_of(me) == sorted(posts[:7], reverse=True)
    redis.lrem(keys.homefeed(me.pk), 0, posts[0])
    with pytest.raises(CommandError, match="--repair"):
        call_command("verify_feeds")
    call_command("verify_feeds", repair=True)
    call_command("verify_feeds")


def test_a_post_of_the_admin_is_delivered(pair: Any, admin_client: Any, worker: Any) -> None:
    me, author = pair
    answer = admin_client.post("/admin/shop/post/add/", {"user": author.pk, "text": "by hand"})
    assert answer.status_code == 302, answer.content
    post = get_photo_model().objects.get()
    assert wait_for_end(post.pk, seconds=30) == "done"
    for page in ("fanout", "uploadkey", "like", "circle"):
        assert admin_client.get(f"/admin/mydjangoapp/{page}/").status_code == 200
    assert admin_client.get("/admin/mydjangoapp/photo/").status_code == 404
    assert ids_of(logged_in(me).get("/feed/")) == [post.pk]


def test_events_carry_what_every_photo_has(author: Any, redis: Any) -> None:
    consumer = next(consumer_of("photos"))
    [post] = publish(author)
    [message] = take(consumer, 1)
    body = message.opened()
    assert body.pop("created_at")
    assert body == {"id": post, "user_id": author.pk, "circle_id": None, "text": "no. 0"}


def test_the_schema_shows_the_posts_own_fields(author: Any) -> None:
    schema = logged_in(author).get("/schema/?format=json").json()["components"]["schemas"]
    assert {"id", "text", "tags", "pictures", "author"} <= schema["Entry"]["properties"].keys()
    assert "photo_url" not in schema["Entry"]["properties"]


def test_in_whose_name_is_a_permission_of_the_shop(make_users: Any) -> None:
    backend, author = make_users(2)
    body = {"text": "x", "user_id": author.pk}
    assert logged_in(backend).post("/upload/", body).status_code == 403
    backend.user_permissions.add(Permission.objects.get(codename="upload_for_others"))
    backend = get_user_model().objects.get(pk=backend.pk)
    assert logged_in(backend).post("/upload/", body).json()["user_id"] == author.pk
