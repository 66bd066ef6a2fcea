"""Topics, channels and workers: what other systems hang on.

    from mydjangoapp.events import publish
    publish("orders", "order.paid", {"id": 7})

`publish` and `publish_many` may be called anywhere; `Worker`, `action` and `option` make a worker.
"""

from typing import TYPE_CHECKING, Any

from .worker import Worker, action, option

if TYPE_CHECKING:
    from .message import Message
    from .publishing import publish, publish_many

__all__ = ["Message", "Worker", "action", "option", "publish", "publish_many"]

_LATER = {"Message": "message", "publish": "publishing", "publish_many": "publishing"}


def __getattr__(name: str) -> Any:
    # Models can be imported only when Django has loaded its apps; an app's own module may want this before.
    from importlib import import_module

    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(name)
