"""Images over HTTP: which are taken, what is kept of them, and that the refused leave nothing behind."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError
from django.test import override_settings
from PIL import Image, ImageCms
from rest_framework.authtoken.models import Token

from devtools.servers import LOOPBACK, ROOT, free_port, in_use, web_server
from mydjangoapp import uploads
from mydjangoapp.models import Photo, UploadKey
from mydjangoapp.photos import decoding, images
from tests import servers
from tests.checker import nothing_was_saved

if TYPE_CHECKING:
    from rest_framework.test import APIClient

pytestmark = pytest.mark.usefixtures("redis")


NOBODY = "00000000-0000-0000-0000-000000000000" if "uuid-users" in servers.ON else 10**9


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


def test_an_image_whose_transaction_fails_leaves_no_file(
    transactional_db: None, author: Any, settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIA_ROOT = tmp_path

    def publish(by: Any = author) -> Photo:
        image = images.clean(SimpleUploadedFile("p.png", picture("PNG"), "image/png"))
        photo: Photo = uploads.publish(by, description="x", image=image, idempotency_key="1")
        return photo

    def broken(**_: Any) -> None:
        raise IntegrityError("a fault of the database's")

    with monkeypatch.context() as patch:
        patch.setattr(UploadKey.objects, "create", broken)  # the last row of an upload
        with pytest.raises(IntegrityError):
            publish()
    assert not list(tmp_path.rglob("*.*"))
    with pytest.raises(IntegrityError):
        publish(type(author)(pk=NOBODY))  # shows at the commit: foreign keys are checked there

    def two(**fields: Any) -> Photo:
        publish()
        raise RuntimeError("the second one fails")

    with pytest.raises(RuntimeError):
        uploads.publish_with(two, author)
    assert not list(tmp_path.rglob("*.*"))
    assert not Photo.objects.exists()
    publish()
    assert len(list(tmp_path.rglob("*.*"))) == 1


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


PEAK = """
import io, resource, sys
import django; django.setup()
from django.core.files.uploadedfile import SimpleUploadedFile
from mydjangoapp.photos import images
file = SimpleUploadedFile("x", open(sys.argv[1], "rb").read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images.clean(file)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


EXIF = Image.Exif()
EXIF[0x0112] = 6  # to be turned upright


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"exif": EXIF}),
        ("JPEG", "RGB", {"exif": EXIF, "progressive": True, "subsampling": 0}),
        ("JPEG", "CMYK", {"exif": EXIF}),
        ("PNG", "RGBA", {"exif": EXIF}),
        ("PNG", "I;16", {}),
        ("WEBP", "RGBA", {"exif": EXIF}),
    ],
    ids=["jpeg", "progressive", "cmyk", "png", "png16", "webp"],
)
def test_the_largest_image_of_each_kind_takes_no_more_memory_than_the_setting_says(
    tmp_path: Path, kind: str, mode: str, options: dict[str, Any]
) -> None:
    """Eight bytes times UPLOAD_MAX_PIXELS, measured in a process of its own."""
    most = 12_000_000
    with override_settings(MYDJANGOAPP={"UPLOAD_MAX_PIXELS": most}):
        pixels = decoding.most_pixels(kind, mode, progressive="progressive" in options)
    side = int(pixels**0.5)
    file = tmp_path / "image"
    Image.new(mode, (side, side)).save(file, kind, **options)
    environ = {**os.environ, "MYDJANGOAPP_UPLOAD_MAX_PIXELS": str(most)}
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, file], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) <= decoding.PER_PIXEL * most * 1.1


def test_a_few_bytes_of_webp_that_claim_many_pixels_are_refused_before_they_are_decoded(
    db: None, api: APIClient
) -> None:
    """34 bytes cost a gigabyte and three seconds."""
    bits = (16_383 - 1) | (3_000 - 1) << 14
    chunk = b"VP8L" + (13).to_bytes(4, "little") + b"\x2f" + bits.to_bytes(4, "little") + bytes(9)
    body = b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk
    assert len(body) == 34
    answer = send_image(api, body, "small.webp")
    assert answer.status_code == 400
    assert "more than 12,500,000 pixels" in answer.json()["image"][0]


def test_while_large_images_are_decoded_others_are_told_to_come_again(
    db: None, api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "WAIT_SECONDS", 0.01)
    with decoding.memory_for(49_000_000, "JPEG", "RGB"):
        assert send_image(api, picture(size=(40, 30))).status_code == 201, "a small one has room beside it"
        answer = send_image(api, picture("PNG", size=(2_000, 1_000)))
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert "Try again in some seconds" in answer.json()["detail"]
        assert Photo.objects.count() == 1
    assert send_image(api, picture("PNG", size=(2_000, 1_000))).status_code == 201


def test_a_hundred_large_uploads_at_once_leave_the_site_answering(
    transactional_db: None, author: Any, redis: Any, tmp_path: Path
) -> None:
    out = io.BytesIO()
    Image.new("RGB", (4_000, 3_000)).save(out, "WEBP", quality=1, method=0)
    edge = "feedsfeedsfeeds"
    parts = [f'--{edge}\r\nContent-Disposition: form-data; name="description"\r\n\r\nx\r\n'.encode()]
    parts += [f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'.encode()]
    body = b"".join([*parts, out.getvalue(), f"\r\n--{edge}--\r\n".encode()])
    headers = {
        "Authorization": f"Token {Token.objects.create(user=author).key}",
        "Content-Type": f"multipart/form-data; boundary={edge}",
    }
    port = free_port()

    def upload(_: int) -> int:
        return call(port, "/upload/", body, headers)

    with web_server(tmp_path / "web.log", servers.ENVIRON, port) as web:
        web.wait_for(lambda: in_use(port), seconds=60, what="the site answers")
        with ThreadPoolExecutor(100) as threads:
            uploads = [threads.submit(upload, number) for number in range(100)]
            answered = 0
            while not all(one.done() for one in uploads):
                assert call(port, "/livez/", None, {}) == 200
                answered += 1
        statuses = Counter(one.result() for one in uploads)
    assert answered > 0
    assert set(statuses) <= {201, 503}, statuses
    assert statuses[201] > 0


def call(port: int, path: str, body: bytes | None, headers: dict[str, str]) -> int:
    """The status that our own site answers."""
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", body, headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=120) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
