"""The truth, in SQL. What Redis holds is made from these and can be thrown away."""

from .abstract_photo import AbstractPhoto, photo_indexes
from .block import Block
from .circle import Circle, CircleMembership
from .fanout import FanOut
from .follow import Follow
from .like import Like
from .mute import Mute
from .node_history import NodeHistory
from .past_follow import PastFollow
from .pending_change import PendingChange
from .photo import Photo
from .photo_model import author_column, author_is, get_photo_model, photo_model_name
from .picture import Picture
from .publication import Publication
from .upload_key import UploadKey
from .user_id import UserId

__all__ = [
    "AbstractPhoto",
    "Block",
    "Circle",
    "CircleMembership",
    "FanOut",
    "Follow",
    "Like",
    "Mute",
    "NodeHistory",
    "PastFollow",
    "PendingChange",
    "Photo",
    "Picture",
    "Publication",
    "UploadKey",
    "UserId",
    "author_column",
    "author_is",
    "get_photo_model",
    "photo_indexes",
    "photo_model_name",
]
