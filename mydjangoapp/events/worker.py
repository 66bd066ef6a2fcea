"""A worker: one channel's handlers, by action."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from .message import Message

Handler = TypeVar("Handler", bound=Callable[..., Any])

ENDING = "_handler"


def action(*actions: str) -> Callable[[Handler], Handler]:
    """Marks a method, its name ending in `_handler`, as the handler of these actions."""
    if not actions or not all(isinstance(one, str) and one for one in actions):
        raise TypeError('action() takes the actions as text: @action("photo.published")')

    def mark(method: Handler) -> Handler:
        method.actions = actions  # type: ignore[attr-defined]
        return method

    return mark


class option:  # read as a word in the class that uses it
    """An option of a worker on the command line; in its methods the value under the attribute's name.

    Takes what `argparse.ArgumentParser.add_argument` takes: `index = option("--index", default="main")`.
    """

    def __init__(self, *flags: str, **keywords: Any) -> None:
        if not flags or not all(flag.startswith("--") for flag in flags):
            raise TypeError('option() takes a flag that begins with two hyphens: option("--index")')
        self.flags, self.keywords = flags, keywords
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return vars(instance).get(self.name, self.default)

    @property
    def default(self) -> Any:
        """What it is if nobody gives it."""
        absent = {"store_true": False, "store_false": True}.get(self.keywords.get("action", ""))
        return self.keywords.get("default", absent)

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Makes it an option of that command."""
        parser.add_argument(*self.flags, dest=self.name, **self.keywords)


class Worker:
    """Derive from it in an installed app's `workers/{topic}_{channel}_worker.py`.

    A handler takes a `Message`; returning finishes it, raising lets it come again. Actions without a
    handler are finished untouched. A message may come more than once if its worker is killed: once its
    handler has returned and that was noted, it never comes again.

    `timeout`: seconds after which a message that is not finished is given to another worker.
    `max_attempts`: deliveries before the dead letters. `from_beginning`: whether a channel that is made
    by this worker begins with the messages that are kept. None: as the settings say.
    """

    topic: ClassVar[str] = ""
    channel: ClassVar[str] = ""
    timeout: ClassVar[float | None] = None
    max_attempts: ClassVar[int | None] = None
    from_beginning: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._handlers = {}
        for name in dir(cls):
            for one in getattr(getattr(cls, name), "actions", ()):
                if not name.endswith(ENDING):
                    raise TypeError(
                        f"{cls.__name__}.{name} has an action, so its name has to end in {ENDING}."
                    )
                if other := cls._handlers.get(one):
                    raise TypeError(f"{cls.__name__}: both {other} and {name} take {one!r}.")
                cls._handlers[one] = name

    _handlers: ClassVar[dict[str, str]] = {}

    def __init__(self, **options: Any) -> None:
        known = {one.name for one in self.options()}
        if unknown := options.keys() - known:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(sorted(unknown))}.")
        vars(self).update(options)

    @classmethod
    def options(cls) -> list[option]:
        """Its own options, in the order they stand in."""
        found = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(value, option)
        }
        return list(found.values())

    def start(self) -> None:
        """Called before the first message."""

    def stop(self) -> None:
        """Called after the last."""

    def takes(self, action: str) -> bool:
        """Whether it has a handler for this action."""
        return action in self._handlers

    def handle(self, message: Message) -> None:
        """Calls the handler of the message's action."""
        getattr(self, self._handlers[message.action])(message)
