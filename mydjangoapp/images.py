"""Checking an image that a stranger sent, and making a clean one of it."""

from __future__ import annotations

import io
import warnings
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from PIL import Image, ImageOps

from .conf import conf
from .exceptions import BadUpload

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
JPEG_QUALITY = 90  # of an image that has to be turned; others keep their own tables


def clean(upload: UploadedFile[Any]) -> ContentFile[bytes]:
    """A fresh file of the same picture: decoded, turned upright, written anew without metadata.

    Bytes, format and pixels are checked in this order before anything is decoded. Written anew so
    that nothing but pixels and colour profile gets through: no position or camera in EXIF or XMP, no
    HTML or archive hidden behind the picture. Raises `BadUpload` naming `image`.
    """
    if upload.size is None or upload.size > conf.UPLOAD_MAX_BYTES:
        raise BadUpload("image", f"The file has more than {conf.UPLOAD_MAX_BYTES:,} bytes.")
    try:
        with warnings.catch_warnings(), Image.open(upload, formats=list(FORMATS)) as picture:
            warnings.simplefilter("ignore")  # Pillow's own pixel warning; the limit that counts follows
            _check_before_decoding(picture)
            return _written_anew(picture)
    except BadUpload:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels() from error
    except Exception as error:  # Pillow's decoders raise whatever they like at a broken file
        raise BadUpload("image", "This is not a readable JPEG, PNG or WebP image.") from error


def _check_before_decoding(picture: Image.Image) -> None:
    if picture.width * picture.height > conf.UPLOAD_MAX_PIXELS:
        raise _too_many_pixels()
    if getattr(picture, "n_frames", 1) > 1:
        raise BadUpload("image", "Animated images are not taken; send a single frame.")


def _written_anew(picture: Image.Image) -> ContentFile[bytes]:
    kind = str(picture.format)
    options: dict[str, Any] = {"icc_profile": picture.info.get("icc_profile")}
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if kind == "JPEG":
        turned = picture.getexif().get(0x0112, 1) != 1
        options |= {"quality": JPEG_QUALITY} if turned else {"quality": "keep"}
        upright = upright if turned else picture
        upright.info.pop("comment", None)
    elif kind == "WEBP":
        options |= {"quality": 90, "method": 4}
    else:
        upright.info = {key: upright.info[key] for key in ("transparency", "gamma") if key in upright.info}
    out = io.BytesIO()
    upright.save(out, kind, exif=b"", **options)
    return ContentFile(out.getvalue(), name=f"image.{FORMATS[kind]}")


def _too_many_pixels() -> BadUpload:
    return BadUpload("image", f"The image has more than {conf.UPLOAD_MAX_PIXELS:,} pixels.")
