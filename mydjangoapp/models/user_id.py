"""The type of a user's primary key."""

from __future__ import annotations

from typing import Any, TypeAlias

UserId: TypeAlias = Any
"""The primary key of a user: an integer, a text, a UUID; whatever the site's user model has.

An alias that says what is meant. No narrower type fits: type checkers know the user model of one site, and
take every other site's keys for errors.
"""
