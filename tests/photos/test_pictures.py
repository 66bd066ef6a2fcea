"""Measures, preview and smaller files of a photo's file: made in the background, gone with the photo."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.utils import timezone
from PIL import Image, features

from devtools.servers import wait_until
from mydjangoapp import outbox, pictures, uploads
from mydjangoapp.models import PendingChange, Photo, Picture
from mydjangoapp.photos import images, sizes
from tests.feeds import logged_in
from tests.photos.test_image_upload import picture, send_image

pytestmark = pytest.mark.usefixtures("redis", "transactional_db")

FORMATS = ["avif", "webp"]


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def cleaned(body: bytes) -> Any:
    return images.clean(SimpleUploadedFile("photo", body))


def uploaded(author: Any, size: tuple[int, int] = (1_600, 1_200), kind: str = "JPEG") -> Any:
    return uploads.publish(author, description="a file", image=cleaned(picture(kind, size)))


def row_of(photo: Any) -> Any:
    return Picture.objects.get(photo=photo)


def shown(photo: Any, user: Any) -> Any:
    """The photo as the API shows it."""
    answer = logged_in(user).get(f"/photos/{photo.pk}/")
    assert answer.status_code == 200, answer.content
    return answer.json()


def stored(media: Path) -> set[str]:
    return {str(file.relative_to(media)) for file in media.rglob("*.*")}


def test_a_photo_has_measures_and_a_preview_at_once_and_its_sizes_soon(
    author: Any, workers: Any, media: Path
) -> None:
    client = logged_in(author)
    at_once = uploaded(author)
    first = client.get("/feed/").json()["results"][0]
    assert (first["width"], first["height"], first["alt_text"]) == (1_600, 1_200, "")
    kind, _, body = first["placeholder"].partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as tiny:
        assert tiny.size == (16, 12)
    workers(MEDIA_ROOT=str(media))
    wait_until(lambda: bool(shown(at_once, author)["sizes"]), seconds=30, what="a worker has made the sizes")
    found = client.get("/feed/").json()["results"][0]["sizes"]
    assert [(size["type"], size["width"], size["height"]) for size in found] == [
        (f"image/{kind}", width, width * 3 // 4) for kind in FORMATS for width in (320, 640, 1_280)
    ]
    for size in found:
        prefix = "http://testserver/media/"
        assert size["url"].startswith(prefix)
        with default_storage.open(size["url"].removeprefix(prefix)) as file, Image.open(file) as made:
            assert made.format == size["type"].removeprefix("image/").upper()
            assert made.size == (size["width"], size["height"])
        served: Any = client.get(size["url"].removeprefix("http://testserver"))
        assert served.headers["Content-Type"] == size["type"]
        served.close()


@pytest.mark.parametrize(
    ("measures", "widths"),
    [((200, 100), [200]), ((640, 10), [320, 640]), ((900, 500), [320, 640, 900]), ((1, 4_000), [1])],
)
def test_no_size_is_larger_than_the_original(
    author: Any, measures: tuple[int, int], widths: list[int]
) -> None:
    photo = uploaded(author, measures)
    assert pictures.make(photo.pk, 0)
    width, height = measures
    assert [size[:3] for size in row_of(photo).sizes] == [
        [one, max(1, round(one * height / width)), kind] for kind in FORMATS for one in widths
    ]


def test_a_very_tall_picture_fits_into_webp(author: Any, settings: Any) -> None:
    [*_, last] = sizes.planned("photos/a.png", 1_000, 100_000)
    assert (last.width, last.height) == (163, 16_300)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_picture(author: Any, mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (400, 300)).save(out, "JPEG" if mode == "CMYK" else "PNG")
    photo = uploads.publish(author, description="x", image=cleaned(out.getvalue()))
    assert pictures.make(photo.pk, 0)
    for *_, kind, name in row_of(photo).sizes:
        with default_storage.open(name) as file, Image.open(file) as made:
            assert made.mode == ("RGBA" if mode in ("RGBA", "LA") else "RGB"), kind


def test_grey_of_sixteen_bits_stays_grey(author: Any) -> None:
    out = io.BytesIO()
    Image.new("I;16", (64, 64), 0x8000).save(out, "PNG")
    photo = uploads.publish(author, description="x", image=cleaned(out.getvalue()))
    assert pictures.make(photo.pk, 0)
    with default_storage.open(row_of(photo).sizes[0][3]) as file, Image.open(file) as made:
        pixel: Any = made.convert("L").getpixel((32, 32))
    assert abs(pixel - 128) < 4


def test_without_avif_there_is_webp(author: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    photo = uploaded(author)
    assert pictures.make(photo.pk, 0)
    assert {kind for *_, kind, _ in row_of(photo).sizes} == {"webp"}


def test_a_photo_kept_elsewhere_is_never_fetched(author: Any) -> None:
    photo = uploads.publish(author, description="x", photo_url="http://127.0.0.1:9/none.jpg")
    assert not Picture.objects.exists()
    found = shown(photo, author)
    assert (found["width"], found["height"], found["placeholder"], found["sizes"]) == (None, None, "", [])
    assert found["photo_url"] == "http://127.0.0.1:9/none.jpg"


def test_a_site_may_make_no_sizes(author: Any, settings: Any) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "PICTURE_WIDTHS": ()}
    photo = uploaded(author)
    assert not Picture.objects.exists()
    assert shown(photo, author)["sizes"] == []


def test_alt_text_comes_with_the_upload(api: Any, author: Any) -> None:
    url = "https://example.com/p.jpg"
    body = {"description": "x", "photo_url": url, "alt_text": "A dog in the snow"}
    made = api.post("/upload/", body, format="json")
    assert made.status_code == 201
    assert api.get(f"/photos/{made.json()['id']}/").json()["alt_text"] == "A dog in the snow"
    refused = api.post("/upload/", {**body, "alt_text": "x" * 1_501}, format="json")
    assert refused.status_code == 400
    assert set(refused.json()) == {"alt_text"}
    assert Photo.objects.count() == 1


def test_a_message_that_is_lost_is_sent_again(author: Any) -> None:
    photo = uploaded(author)
    sent: list[tuple[int, int]] = []

    def send(*message: int) -> None:
        sent.append(message)  # type: ignore[arg-type]  # a photo and an attempt

    assert pictures.send_due(send) == 0, "it is on its way"
    make_due()
    assert pictures.send_due(send) == 1
    assert pictures.send_due(send) == 0, "not at each round"
    assert sent == [(photo.pk, 0)]
    assert pictures.make(*sent[0])
    make_due()
    assert pictures.send_due(send) == 0
    assert not pictures.make(*sent[0]), "the first message comes after all"


def make_due() -> None:
    Picture.objects.exclude(due_at=None).update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_worker_that_dies_over_it_is_followed_by_another(
    author: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = uploaded(author)
    files = iter([1, 2])

    def dies(*_: Any) -> Any:
        if next(files) == 2:
            raise KeyboardInterrupt
        return store(*_)

    store = sizes.store
    with monkeypatch.context() as patch:
        patch.setattr(sizes, "store", dies)
        with pytest.raises(KeyboardInterrupt):
            pictures.make(photo.pk, 0)
    assert len(stored(media)) == 2, "the photo, and a size that nobody knows of"
    assert not pictures.make(photo.pk, 0), "a second message of the attempt that died"
    make_due()
    sent: list[Any] = []
    pictures.send_due(lambda *message: sent.append(message))
    assert sent == [(photo.pk, 1)]
    assert pictures.make(*sent[0])
    assert stored(media) == {photo.image.name, *(name for *_, name in row_of(photo).sizes)}


def test_a_storage_that_fails_is_tried_again_and_given_up_some_day(
    author: Any, settings: Any, media: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "MAX_ATTEMPTS": 2}
    photo = uploaded(author)
    (media / photo.image.name).rename(media / "away")
    for attempt in range(2):
        assert not pictures.make(photo.pk, attempt)
        make_due()
        pictures.send_due(lambda *_: None)
        make_due()
    pictures.send_due(lambda *_: None)
    assert (row_of(photo).sizes, row_of(photo).due_at) == ([], None)
    assert "given up" in caplog.text
    (media / "away").rename(media / photo.image.name)
    call_command("make_sizes", "--all")
    make_due()
    assert pictures.make(photo.pk, 0)
    assert row_of(photo).sizes


def test_a_file_that_is_no_picture_stays_as_it_is(author: Any, caplog: pytest.LogCaptureFixture) -> None:
    photo = Photo.objects.create(user=author, description="x", image=ContentFile(b"no picture", "a.jpg"))
    assert pictures.make(photo.pk, 0)
    row = row_of(photo)
    assert (row.sizes, row.due_at, row.width) == ([], None, None)
    assert "stays without smaller files" in caplog.text
    assert shown(photo, author)["sizes"] == []


@pytest.fixture
def all_done(settings: Any) -> Iterator[None]:
    """The outbox has everything done at once."""
    settings.MYDJANGOAPP = {**settings.MYDJANGOAPP, "SETTLE_SECONDS": 0.001}
    yield
    assert outbox.catch_up() >= 0


def catch_up() -> None:
    wait_until(
        lambda: outbox.catch_up() >= 0 and not PendingChange.objects.exists(),
        seconds=20,
        what="everything is done",
    )


def test_the_files_go_with_the_photo(author: Any, media: Path) -> None:
    photo = uploaded(author)
    pictures.make(photo.pk, 0)
    assert len(stored(media)) == 7
    photo.delete()
    catch_up()
    assert not stored(media)
    assert not Picture.objects.exists()


def test_a_photo_that_is_deleted_while_its_sizes_are_made(
    author: Any, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = uploaded(author)
    make = sizes.make

    def deleted_meanwhile(*arguments: Any) -> Any:
        made = make(*arguments)
        Photo.objects.get().delete()
        catch_up()
        return made

    monkeypatch.setattr(sizes, "make", deleted_meanwhile)
    assert not pictures.make(photo.pk, 0)
    assert not stored(media)


def test_a_photo_gets_another_file(author: Any, media: Path) -> None:
    photo = uploaded(author)
    pictures.make(photo.pk, 0)
    old = {name for *_, name in row_of(photo).sizes}
    photo.image = cleaned(picture("PNG", (200, 100)))
    photo.save()
    assert (shown(photo, author)["width"], shown(photo, author)["sizes"]) == (200, [])
    pictures.make(photo.pk, 0)
    catch_up()
    assert not old & stored(media)
    assert [size["width"] for size in shown(photo, author)["sizes"]] == [200, 200]
    photo.description = "the same file"
    photo.save()
    assert shown(photo, author)["sizes"], "nothing was made anew"


def test_a_changed_photo_is_made_in_place_of_the_one_that_was_under_way(author: Any, media: Path) -> None:
    photo = uploaded(author)
    seen = row_of(photo)
    photo.image = cleaned(picture("PNG", (200, 100)))
    photo.save()
    assert not pictures._end(seen, sizes=[["of the old file"]])
    assert row_of(photo).sizes is None


def test_old_photos_get_their_sizes_by_a_command(author: Any, capsys: Any) -> None:
    photo = uploaded(author)
    elsewhere = uploads.publish(author, description="x", photo_url="https://example.com/p.jpg")
    Picture.objects.all().delete()  # as it is after an upgrade
    call_command("make_sizes")
    assert "1 " in capsys.readouterr().out
    sent: list[Any] = []
    make_due()
    pictures.send_due(lambda *message: sent.append(message))
    assert sent == [(photo.pk, 0)]
    pictures.make(photo.pk, 0)
    call_command("make_sizes")
    assert row_of(photo).sizes, "what is there stays"
    assert not Picture.objects.filter(photo=elsewhere).exists()


def test_a_page_of_files_costs_one_query_more_and_none_when_warm(
    author: Any, django_assert_num_queries: Any
) -> None:
    from mydjangoapp.photos import row_cache, rows

    ids = [uploaded(author, (40, 30)).pk for _ in range(3)]
    with django_assert_num_queries(2):
        [first] = row_cache.fetch((rows.PHOTOS, ids))
    with django_assert_num_queries(0):
        [second] = row_cache.fetch((rows.PHOTOS, ids))
    assert first == second
    pictures.make(ids[0], 0)
    [third] = row_cache.fetch((rows.PHOTOS, ids))
    assert third[ids[0]].sizes[0].url.endswith("/40.avif")
    assert third[ids[0]]._replace(sizes=None) == second[ids[0]], "all else is as it was"


def test_an_upload_over_http_is_the_same(api: Any, author: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = send_image(api, picture("JPEG", (800, 600)))
    assert answer.status_code == 201
    assert (Picture.objects.get().width, Picture.objects.get().height) == (800, 600)
