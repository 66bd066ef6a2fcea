"""The truth, in SQL. What Redis holds is made from these and can be thrown away."""

from .fanout import FanOut
from .follow import Follow
from .photo import Photo
from .upload_key import UploadKey

__all__ = ["FanOut", "Follow", "Photo", "UploadKey"]
