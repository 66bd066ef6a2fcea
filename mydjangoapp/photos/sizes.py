"""Smaller files of a photo's file, so that pages never send the original."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from PIL import Image, features

from ..conf import conf
from . import images, preview

# AVIF comes first: at equal looks it takes three quarters of the bytes. At these speeds 1,280 pixels take a
# tenth of a second in either.
OPTIONS: dict[str, dict[str, Any]] = {
    "avif": {"quality": 55, "speed": 8},
    "webp": {"quality": 78, "method": 4},
}
TALLEST = 16_383  # pixels: WebP cannot have more


class Size(NamedTuple):
    """One file. `format`: `avif` or `webp`; `name`: in the storage."""

    width: int
    height: int
    format: str
    name: str


@dataclass(frozen=True)
class Made:
    """Measures and preview of a file, and the files that are to stand for it, with their content."""

    width: int
    height: int
    placeholder: str
    files: list[tuple[Size, bytes]]


def planned(file: str, width: int, height: int) -> list[Size]:
    """The files to be made of one of this name and these measures: each of `PICTURE_WIDTHS` in each format
    that this Pillow can write. None is larger than the original, so of a small one there are fewer."""
    highest = max(1, min(width, TALLEST * width // height))
    widths = sorted({min(wanted, highest) for wanted in conf.PICTURE_WIDTHS})
    folder = PurePosixPath(file).with_suffix("")
    return [
        Size(one, max(1, round(height * one / width)), kind, f"{folder}/{one}.{kind}")
        for kind in filter(features.check, OPTIONS)
        for one in widths
    ]


def make(content: Any, name: str) -> Made:
    """Makes all that is planned of a file, which is open for reading and has this name in its storage.

    Decoded within the limits of uploads, since a photo model of the site's own may hold anything. Raises
    `BadUpload` where it is no picture, or too large; `UploadsBusy` when this process has no memory left.
    """
    with images.decoded(content) as (picture, _):
        plan = planned(name, *picture.size)
        made = {}
        for measures in {(size.width, size.height) for size in plan}:
            smaller = picture.resize(measures, preview.way_for(picture), reducing_gap=3.0)
            made[measures] = preview.in_eight_bits(smaller)
        files = [(size, _written(made[size.width, size.height], size.format)) for size in plan]
        return Made(*picture.size, preview.as_data_url(picture), files)


def _written(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    picture.info.clear()  # nothing but pixels
    picture.save(out, kind, **OPTIONS[kind])
    return out.getvalue()


def store(storage: Storage, size: Size, content: bytes) -> Size:
    """Puts a file into the storage, in the place of one of that name. The storage may choose another name."""
    storage.delete(size.name)  # one that a killed worker has left would stay beside the new one
    return size._replace(name=storage.save(size.name, ContentFile(content)))
