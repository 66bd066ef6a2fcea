"""pytest's fixtures, found by pytest itself: `home_feeds`, `recorded_fanouts`, `feeds_from_sql`.

It is loaded by every run of pytest where the package is installed, so it imports nothing of the app.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import FanOutCall


@pytest.fixture
def home_feeds() -> Iterator[None]:
    """Keys of its own, and deliveries in place, to the last batch."""
    from .testing import deliveries_in_place, isolated_keys

    with isolated_keys(), deliveries_in_place():
        yield


@pytest.fixture
def recorded_fanouts() -> Iterator[list[FanOutCall]]:
    """Keys of its own; the fan-outs that would be delivered."""
    from .testing import isolated_keys, recorded_fanouts

    with isolated_keys(), recorded_fanouts() as calls:
        yield calls


@pytest.fixture
def feeds_from_sql() -> Iterator[None]:
    """No Redis: feeds come from SQL."""
    from .testing import feeds_from_sql

    with feeds_from_sql():
        yield
