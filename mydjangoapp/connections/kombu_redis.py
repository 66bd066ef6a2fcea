"""Celery's Redis transport, for workers that outlive a restart of their broker.

When the connection to the broker is lost, Celery 5.7 collects it, which takes it away from its channels,
and then closes the channels. Those that have messages in hand try to give them back over a connection
that is None: an AttributeError that nobody expects, and the worker ends ("Unrecoverable error"). Here it is
the connection error that it should be, which everybody expects: the worker connects again, and the
messages come back after their visibility time-out, or the rescue sends them sooner.

Put to use by `use()`, before the first connection, where the site makes its Celery app.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """A channel that knows when its connection has been taken away."""

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        if self.connection.client is None:
            raise ConnectionResetError("The connection to the broker was lost.")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]  # not in kombu's stubs


class Transport(redis.Transport):
    """The same with such channels."""

    Channel = Channel


def use() -> None:
    """Lets `redis://` and `rediss://` mean this transport, in this process."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
