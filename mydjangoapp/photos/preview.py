"""A picture as some hundred bytes, which a page shows until the picture is there."""

from __future__ import annotations

import base64
import io

from PIL import Image

LONGEST = 16  # pixels of its longer side
QUALITY = 30


def as_data_url(picture: Image.Image) -> str:
    """`data:image/webp;base64,…`, some 150 characters. The picture has been decoded, and stays as it is."""
    longest = max(picture.size)
    size = (max(1, picture.width * LONGEST // longest), max(1, picture.height * LONGEST // longest))
    tiny = in_eight_bits(picture.resize(size, way_for(picture), reducing_gap=2.0))
    out = io.BytesIO()
    tiny.save(out, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def way_for(picture: Image.Image) -> Image.Resampling:
    """How a picture is made smaller: between the numbers of a palette there is nothing, and of 16-bit greys
    Pillow makes no mean."""
    in_between = picture.mode not in ("P", "1") and not picture.mode.startswith("I;")
    return Image.Resampling.LANCZOS if in_between else Image.Resampling.NEAREST


def in_eight_bits(picture: Image.Image) -> Image.Image:
    """The same as RGB, or as RGBA where some of it is transparent: what WebP and AVIF can have."""
    if picture.mode.startswith("I"):
        # Pillow would cut off what is above 255.
        picture = picture.convert("F").point(lambda value: value * (1 / 256) + 0).convert("L")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
