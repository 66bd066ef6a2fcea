"""Pictures for the demo, drawn: hills under a sky, no two alike."""

from __future__ import annotations

import io
import math
import random
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]


class Light(NamedTuple):
    """An hour of the day: the sky above and at the horizon, the disc in it, and the nearest hill."""

    name: str
    above: Colour
    horizon: Colour
    disc: Colour
    near: Colour


LIGHTS = [
    Light("Morning", (94, 148, 196), (250, 214, 186), (255, 243, 214), (38, 70, 66)),
    Light("Noon", (46, 120, 190), (176, 216, 240), (255, 250, 230), (44, 92, 52)),
    Light("Evening", (58, 46, 96), (244, 134, 92), (255, 214, 150), (34, 26, 48)),
    Light("Night", (10, 16, 40), (44, 62, 106), (236, 238, 226), (8, 12, 24)),
    Light("Fog", (150, 162, 172), (220, 222, 220), (240, 240, 236), (64, 76, 82)),
]
HILLS = 5


class Scene(NamedTuple):
    """`body`: a JPEG."""

    title: str
    shows: str
    body: bytes


def draw(number: int, size: tuple[int, int] = (1_600, 1_200)) -> Scene:
    """The scene of this number, always the same."""
    chance = random.Random(number)  # noqa: S311  # to be repeated, not to be secret
    light = LIGHTS[number % len(LIGHTS)]
    width, height = size
    picture = _sky(light, size)
    brush = ImageDraw.Draw(picture)
    if light.name == "Night":
        for _ in range(160):
            x, y, shade = chance.randrange(width), chance.randrange(height * 2 // 3), chance.randint(120, 230)
            brush.ellipse((x, y, x + 3, y + 3), fill=(shade, shade, shade))
    radius = chance.randint(height // 16, height // 9)
    x, y = chance.randint(width // 6, width * 5 // 6), chance.randint(height // 5, height // 2)
    if light.name != "Fog":
        glow = Image.new("L", size)
        ImageDraw.Draw(glow).ellipse(
            (x - 3 * radius, y - 3 * radius, x + 3 * radius, y + 3 * radius), fill=90
        )
        glow = (
            glow.resize((width // 8, height // 8)).filter(ImageFilter.GaussianBlur(radius / 6)).resize(size)
        )
        picture.paste(Image.new("RGB", size, light.disc), mask=glow)
    brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=light.disc)
    for hill in range(HILLS):
        _hill(brush, size, chance, hill, light)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    disc = "moon" if light.name == "Night" else "sun"
    shows = f"{'A pale' if light.name == 'Fog' else 'The'} {disc} over {HILLS} rows of hills"
    return Scene(f"{light.name}, no. {number + 1}", shows, out.getvalue())


def _sky(light: Light, size: tuple[int, int]) -> Image.Image:
    column = Image.new("RGB", (1, 64))
    for row in range(64):
        column.putpixel((0, row), _between(light.above, light.horizon, min(1.0, row / 44)))
    return column.resize(size, Image.Resampling.BICUBIC)


def _hill(
    brush: ImageDraw.ImageDraw, size: tuple[int, int], chance: random.Random, number: int, light: Light
) -> None:
    width, height = size
    base = height * (0.55 + 0.1 * number)
    waves = [
        (chance.uniform(0.6, 2.2) * 2**octave, chance.uniform(0, math.tau), height * 0.06 / 1.8**octave)
        for octave in range(4)
    ]
    edge = [
        (x, base + sum(tall * math.sin(math.tau * often * x / width + shift) for often, shift, tall in waves))
        for x in range(0, width + 8, 8)
    ]
    shade = _between(light.horizon, light.near, (number + 1) / HILLS)
    brush.polygon([(0, height), *edge, (width, height)], fill=shade)


def _between(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
