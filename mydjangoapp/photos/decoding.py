"""How much memory pictures may take while they are decoded, in one process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from ..conf import conf
from ..exceptions import UploadsBusy

PER_PIXEL = 8  # bytes: what a pixel of a JPEG takes at most; UPLOAD_MAX_PIXELS counts such pixels
MOST_WAITING = 2  # uploads; more would take all threads of the web server
WAIT_SECONDS = 5.0

_MEASURED = {"1": 2, "L": 2, "P": 2, "I;16": 4, "CMYK": 12}
_WEBP = 32
_PROGRESSIVE = 10  # libjpeg keeps all coefficients until the last scan

_changed = Condition()
_in_use = 0
_waiting = 0


def bytes_per_pixel(kind: str, mode: str, *, progressive: bool = False) -> int:
    """What a pixel of such a picture takes from the file to the new file, measured with Pillow 13: decoded,
    turned and written; libwebp keeps several copies."""
    if kind == "WEBP":
        return _WEBP
    return max(_MEASURED.get(mode, PER_PIXEL), _PROGRESSIVE if progressive else 0)


def most_pixels(kind: str, mode: str, *, progressive: bool = False) -> int:
    """How many pixels such a picture may have: `UPLOAD_MAX_PIXELS`, or fewer where each takes more."""
    return (
        conf.UPLOAD_MAX_PIXELS
        * PER_PIXEL
        // max(PER_PIXEL, bytes_per_pixel(kind, mode, progressive=progressive))
    )


@contextmanager
def memory_for(pixels: int, kind: str, mode: str, *, progressive: bool = False) -> Iterator[None]:
    """Holds memory for one picture; all pictures of this process together get as much as the largest one.

    Raises `UploadsBusy` when it does not become free, or when others wait for it already.
    """
    cost = pixels * bytes_per_pixel(kind, mode, progressive=progressive)
    _take(cost)
    try:
        yield
    finally:
        _give_back(cost)


def _take(cost: int) -> None:
    global _in_use, _waiting
    budget = conf.UPLOAD_MAX_PIXELS * PER_PIXEL
    with _changed:
        if _in_use and _in_use + cost > budget:
            if _waiting >= MOST_WAITING:
                raise UploadsBusy
            _waiting += 1
            try:
                until = time.monotonic() + WAIT_SECONDS
                while _in_use and _in_use + cost > budget:
                    if not _changed.wait(max(0.0, until - time.monotonic())):
                        raise UploadsBusy
            finally:
                _waiting -= 1
        _in_use += cost


def _give_back(cost: int) -> None:
    global _in_use
    with _changed:
        _in_use -= cost
        _changed.notify_all()
