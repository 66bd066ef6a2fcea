"""Who follows, mutes and blocks whom. Each change is one transaction; Redis follows when it commits.

Users may be given as objects or as ids.
"""

from .blocks import block, unblock
from .follows import follow, unfollow
from .import_rows import Row, import_follows
from .imports import follow_many
from .locks import blocks
from .mutes import mute, unmute

__all__ = [
    "Row",
    "block",
    "blocks",
    "follow",
    "follow_many",
    "import_follows",
    "mute",
    "unblock",
    "unfollow",
    "unmute",
]
