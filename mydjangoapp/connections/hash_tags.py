"""Which slot of a cluster a key lies in, and how another key gets into the same slot.

A slot is CRC16 of the key, or of its hash tag: what stands between its first `{` and the next `}`, unless
that is empty (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags).
"""

from __future__ import annotations

import re
from binascii import crc_hqx

SLOTS = 16_384
_TAG = re.compile(r"[^{]*\{([^}]+)\}", re.DOTALL)

# CRC16 is linear: in a text of the letters @ and A to O, each bit of the letters' numbers turns certain bits
# of the slot. Here, for each bit of the slot, the lowest first: the letters' bits that turn it alone.
_LETTERS_OF_BIT = (6906, 1773, 10107, 4364, 10897, 14784, 8035, 10111, 4356, 8712, 7146, 1229, 9019, 6540)
_SLOT_OF_NO_LETTERS = 13_881  # of @@@@


def tag_of(key: str) -> str | None:
    """The hash tag of a key; None if it has none."""
    found = _TAG.match(key)
    return found[1] if found else None


def slot_of(key: str | bytes) -> int:
    """The slot of a key, from 0 to 16,383."""
    text = key if isinstance(key, str) else key.decode(errors="surrogateescape")
    return crc_hqx((tag_of(text) or text).encode(errors="surrogateescape"), 0) % SLOTS


def beside(word: str, key: str, rest: str = "") -> str:
    """A key that begins with `word`, lies in the slot of `key` and carries the whole of `key`.

    `floor:{homefeed:1990}` for most; what a key with braces of its own becomes is told below. `word` has no
    braces, or the same hash tag as `key`. `lua/private_key.lua` does the same.
    """
    if "}" not in key:
        return f"{word}:{{{key}}}{rest}"
    if tag_of(key) is not None:
        return f"{word}:{key}{rest}"  # it brings its hash tag along
    # All of it is hashed, and no tag can hold it: a short text of the same slot stands for it.
    return f"{word}:{{{text_in(slot_of(key))}}}:{key}{rest}"


def text_in(slot: int) -> str:
    """Four letters that lie in this slot."""
    turned = slot ^ _SLOT_OF_NO_LETTERS
    numbers = 0
    for bit, letters in enumerate(_LETTERS_OF_BIT):
        if turned >> bit & 1:
            numbers ^= letters
    return "".join(chr(ord("@") + (numbers >> shift & 15)) for shift in (12, 8, 4, 0))
