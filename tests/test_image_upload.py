"""Images over HTTP: which are taken, what is kept of them, and that the refused leave nothing behind."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from PIL import Image, ImageCms

from mydjangoapp.models import Photo
from tests.checker import nothing_was_saved

if TYPE_CHECKING:
    from rest_framework.test import APIClient

pytestmark = pytest.mark.usefixtures("redis")


def picture(kind: str = "JPEG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, kind, **options)
    return out.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header names that size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def send_image(api: APIClient, body: bytes, name: str = "holiday.jpg") -> Any:
    image = SimpleUploadedFile(name, body, "image/jpeg")
    return api.post("/upload/", {"description": "an image", "image": image}, format="multipart")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_image_is_stored_under_a_random_name_without_its_position(
    db: None, api: APIClient, kind: str, settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010F] = "SecretCam"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"SecretProfile"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>SecretPlace</x:xmpmeta>"
    options: dict[str, Any] = {"comment": b"SecretComment"} if kind == "JPEG" else {}
    original = picture(kind, exif=exif, xmp=xmp, icc_profile=icc, **options)
    answer = send_image(api, original + b"<script>SecretTail</script>", "my secret holiday.jpg")
    assert answer.status_code == 201, answer.content
    photo = Photo.objects.get()
    assert answer.json()["photo_url"] == f"http://testserver/media/{photo.image.name}"
    assert "secret" not in str(photo.image.name)
    with photo.image.open() as file:
        stored = file.read()
    assert b"Secret" not in stored
    with Image.open(io.BytesIO(stored)) as found:
        assert found.format == kind
        assert found.size == (30, 40), "turned upright"
        assert not found.getexif()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(png_that_claims(30_000, 30_000), id="900 megapixels in a few bytes"),
        pytest.param(png_that_claims(2**31 - 1, 2**31 - 1), id="more pixels than Pillow counts"),
        pytest.param(b"\x89PNG\r\n\x1a\n<html><script>alert(1)</script></html>", id="HTML with a PNG header"),
        pytest.param(picture()[:400], id="cut off"),
        pytest.param(b"GIF89a" + b"\0" * 100, id="GIF"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"\0" * 2_000, id="NUL bytes"),
        pytest.param(b"", id="empty"),
        pytest.param(
            picture("PNG", save_all=True, append_images=[Image.new("RGB", (40, 30))]), id="animated"
        ),
    ],
)
def test_bad_images_are_refused_before_anything_is_stored(
    transactional_db: None, api: APIClient, broker: Any, body: bytes, settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    answer = send_image(api, body)
    assert answer.status_code == 400, answer.content
    assert set(answer.json()) == {"image"}
    assert nothing_was_saved(broker)
    assert not list(tmp_path.rglob("*.*"))


@override_settings(MYDJANGOAPP={"UPLOAD_MAX_BYTES": 500, "REDIS_URL": "redis://127.0.0.1:1"})
def test_an_image_of_too_many_bytes_is_refused(db: None, api: APIClient) -> None:
    answer = send_image(api, picture(size=(400, 400)))
    assert answer.status_code == 400
    assert "500 bytes" in answer.json()["image"][0]


def test_both_photo_url_and_image_are_too_much(db: None, api: APIClient) -> None:
    body = {"description": "x", "photo_url": "https://example.com/x"}
    image = SimpleUploadedFile("a.jpg", picture())
    answer = api.post("/upload/", {**body, "image": image}, format="multipart")
    assert answer.status_code == 400
    assert set(answer.json()) == {"photo_url"}


def test_a_phones_jpeg_with_a_preview_behind_it_is_taken(
    db: None, api: APIClient, settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path
    body = picture("MPO", save_all=True, append_images=[Image.new("RGB", (4, 3))])
    answer = send_image(api, body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["photo_url"].endswith(".jpg")
