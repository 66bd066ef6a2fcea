"""The truth, in SQL. What Redis holds is made from these and can be thrown away."""

from .block import Block
from .circle import Circle, CircleMembership
from .fanout import FanOut
from .follow import Follow
from .like import Like
from .mute import Mute
from .past_follow import PastFollow
from .pending_change import PendingChange
from .photo import Photo
from .publication import Publication
from .upload_key import UploadKey
from .user_id import UserId

__all__ = [
    "Block",
    "Circle",
    "CircleMembership",
    "FanOut",
    "Follow",
    "Like",
    "Mute",
    "PastFollow",
    "PendingChange",
    "Photo",
    "Publication",
    "UploadKey",
    "UserId",
]
