"""Checking an image that a stranger sent, and making a clean one of it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from PIL import Image, ImageCms, ImageOps

from ..conf import conf
from ..exceptions import BadUpload, UploadsBusy
from . import decoding, preview

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
QUALITY = 92  # of JPEG and WebP: no loss that is seen, at about the size that cameras write


class CleanImage(ContentFile):  # type: ignore[type-arg]  # generic in the stubs only
    """An image of our own making, with its measures in pixels and what a page shows until it is there (see
    `preview.py`)."""

    def __init__(self, content: bytes, name: str, *, width: int, height: int, placeholder: str) -> None:
        super().__init__(content, name=name)
        self.width = width
        self.height = height
        self.placeholder = placeholder


def clean(upload: UploadedFile[bytes]) -> CleanImage:
    """A fresh file of the same picture: decoded, turned upright, written anew without metadata.

    Bytes, format and pixels are checked in this order before anything is decoded. Written anew, in
    sRGB, so that nothing but pixels gets through: no position or camera in EXIF or XMP, no
    HTML or archive hidden behind the picture. Raises `BadUpload` naming `image`, and `UploadsBusy` when this
    process has no memory left for it.
    """
    if upload.size is None or upload.size > conf.UPLOAD_MAX_BYTES:
        raise BadUpload(
            "image",
            _("The file has more than %(most)s bytes.")
            % {"most": number_format(conf.UPLOAD_MAX_BYTES, force_grouping=True)},
        )
    with decoded(upload) as (picture, kind):
        return _written_anew(picture, kind)


@contextmanager
def decoded(file: Any) -> Iterator[tuple[Image.Image, str]]:
    """The picture in a file, upright and in sRGB, and its format, one of `FORMATS`. For as long as the block
    runs, its memory is accounted for.

    Raises `BadUpload` naming `image`, also for what goes wrong in the block, and `UploadsBusy`.
    """
    try:
        with warnings.catch_warnings(), Image.open(file, formats=list(FORMATS)) as picture:
            warnings.simplefilter("ignore")  # Pillow's own pixel warning; the limit that counts follows
            _check_before_decoding(picture)
            pixels, kind = picture.width * picture.height, str(picture.format)
            with decoding.memory_for(pixels, kind, picture.mode, progressive=_is_progressive(picture)):
                picture.load()
                ImageOps.exif_transpose(picture, in_place=True)  # a copy would take as much memory again
                # Phones append a preview or a depth map to a JPEG; Pillow calls that MPO. Its first frame is
                # the photo.
                yield _in_srgb(picture), "JPEG" if kind == "MPO" else kind
    except (BadUpload, UploadsBusy):
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(conf.UPLOAD_MAX_PIXELS) from error
    except Exception as error:  # Pillow's decoders raise whatever they like at a broken file
        raise BadUpload("image", _("This is not a readable JPEG, PNG or WebP image.")) from error


def _check_before_decoding(picture: Image.Image) -> None:
    most = decoding.most_pixels(str(picture.format), picture.mode, progressive=_is_progressive(picture))
    if picture.width * picture.height > most:
        raise _too_many_pixels(most)
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise BadUpload("image", _("Animated images are not taken; send a single frame."))


def _is_progressive(picture: Image.Image) -> bool:
    return bool(picture.info.get("progressive"))


def _written_anew(clean: Image.Image, kind: str) -> CleanImage:
    clean.info = {key: clean.info[key] for key in ("transparency",) if key in clean.info}
    out = io.BytesIO()
    if kind == "PNG":
        clean.save(out, kind)
    else:
        clean.save(out, kind, quality=QUALITY, exif=b"", xmp=b"")
    return CleanImage(
        out.getvalue(),
        f"image.{FORMATS[kind]}",
        width=clean.width,
        height=clean.height,
        placeholder=preview.as_data_url(clean),
    )


def _in_srgb(picture: Image.Image) -> Image.Image:
    """The same colours without a profile of its own: a profile is a place to hide anything in."""
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            picture = converted or picture
        except ImageCms.PyCMSError:
            pass  # not a profile: the picture's numbers are taken as they are
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def _too_many_pixels(most: int) -> BadUpload:
    problem = _("The image has more than %(most)s pixels, the limit for images of its kind.")
    return BadUpload("image", problem % {"most": number_format(most, force_grouping=True)})
