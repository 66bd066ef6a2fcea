"""One photo over HTTP: look, like, delete; and what a deletion leaves in the lists."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from rest_framework.test import APIClient

from devtools.servers import Server, wait_until
from mydjangoapp import graph, uploads
from mydjangoapp.homefeed import keys, removal
from mydjangoapp.models import Like, Photo
from tests.checker import fill, outcome, wait_for_end
from tests.feeds import ids_of, logged_in, publish, username

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")
People = Callable[[int], list[Any]]


def test_a_photo_is_shown_with_its_author(api: APIClient, make_users: People) -> None:
    [other] = make_users(1)
    [photo] = publish(other)
    answer = api.get(f"/photos/{photo}/")
    assert answer.status_code == 200
    assert answer.json()["author"]["username"] == username(other)
    assert api.get("/photos/999999/").status_code == 404
    assert APIClient().get(f"/photos/{photo}/").status_code == 401


def test_a_like_counts_once_however_often_it_is_given(
    api: APIClient, author: Any, make_users: People
) -> None:
    [other] = make_users(1)
    graph.follow(author, other)
    [photo] = publish(other)
    shown = logged_in(other)
    assert ids_of(shown.get("/feed/")) == [photo]
    for given, verb in ((1, api.put), (1, api.put), (0, api.delete), (0, api.delete)):
        assert verb(f"/photos/{photo}/like/").status_code == 204
        assert Like.objects.count() == given
        assert shown.get("/feed/").json()["results"][0]["like_count"] == given, "shown at once"
        assert api.get(f"/photos/{photo}/").json()["liked"] is bool(given)
    for liked, verb in ((False, api.delete), (True, api.put), (False, api.delete)):
        verb(f"/photos/{photo}/like/")
        assert api.get("/feed/").json()["results"][0]["liked"] is liked, "in one's own feed at once"
    assert api.put("/photos/999999/like/").status_code == 404


def test_likes_of_many_at_once_are_all_counted(make_users: People, author: Any) -> None:
    [photo] = publish(author)
    users = make_users(12)

    def give(user: Any) -> int:
        try:
            return int(logged_in(user).put(f"/photos/{photo}/like/").status_code)
        finally:
            database.close()

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(give, users)) == [204] * 12
    assert Photo.objects.get(id=photo).like_count == Like.objects.filter(photo=photo).count() == 12


def test_only_the_author_and_staff_delete(api: APIClient, author: Any, make_users: People) -> None:
    other, staff = make_users(2)
    [theirs], [mine] = publish(other), publish(author)
    assert api.delete(f"/photos/{theirs}/").status_code == 403
    assert Photo.objects.filter(id=theirs).exists()
    assert api.delete(f"/photos/{mine}/").status_code == 204
    assert api.delete(f"/photos/{mine}/").status_code == 404
    staff.is_staff = True
    staff.save()
    assert logged_in(staff).delete(f"/photos/{theirs}/").status_code == 204
    assert not Photo.objects.exists()


def test_a_deleted_photo_is_gone_for_readers_at_once_and_its_file_too(
    author: Any, make_users: People, settings: Any
) -> None:
    from io import BytesIO

    from django.core.files.uploadedfile import SimpleUploadedFile
    from PIL import Image

    [me] = make_users(1)
    graph.follow(me, author)
    picture = BytesIO()
    Image.new("RGB", (3, 3)).save(picture, "PNG")
    image = SimpleUploadedFile("x.png", picture.getvalue())
    photo = uploads.publish(author, description="with a file", image=image)
    file = Path(settings.MEDIA_ROOT) / str(photo.image.name)
    client = logged_in(me)
    assert ids_of(client.get("/feed/")) == [photo.pk]
    assert file.exists()
    assert logged_in(author).delete(f"/photos/{photo.pk}/").status_code == 204
    assert ids_of(client.get("/feed/")) == []
    assert not file.exists()


def test_the_removal_takes_the_id_out_of_every_list_in_batches(
    author: Any, settings: Any, redis: Any
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "BATCH_SIZE": 60}
    users = fill(author.pk, 150)
    photos = publish(author, 2)
    for user in [author.pk, *users]:
        redis.rpush(keys.homefeed(user), *photos[::-1])
    cursor: int | None = 0
    links = []
    while cursor is not None:
        links.append(cursor)
        cursor = removal.remove(photos[0], author.pk, cursor)
    assert links == [0, 60, 120]
    assert outcome(photos[0], [], absent=[author.pk, *users]).unexpected == 0
    assert outcome(photos[1], [author.pk, *users]).lost == 0


def test_a_worker_takes_deleted_photos_out_of_the_lists(author: Any, worker: Server, redis: Any) -> None:
    users = fill(author.pk, 300)
    [photo] = publish(author)
    assert wait_for_end(photo) == "done"
    assert outcome(photo, users).lost == 0
    assert logged_in(author).delete(f"/photos/{photo}/").status_code == 204
    wait_until(
        lambda: outcome(photo, [], absent=[author.pk, *users]).unexpected == 0,
        seconds=20,
        what="the id is out of all lists",
    )
