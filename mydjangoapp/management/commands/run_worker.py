"""`manage.py run_worker TOPIC CHANNEL [options, and the worker's own]`"""

import argparse
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mydjangoapp.conf import conf
from mydjangoapp.events.discovery import find
from mydjangoapp.events.running import Runner
from mydjangoapp.events.worker import Worker

from ._events import add_topic_and_channel, carrier, said


class Command(BaseCommand):
    help = (
        "Runs the worker workers/{topic}_{channel}_worker.py of an installed app until SIGTERM. "
        "`run_worker TOPIC CHANNEL --help` shows the worker's own options."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_topic_and_channel(parser)
        _add_options(parser)
        parser.add_argument("own", nargs=argparse.REMAINDER, help="options of the worker")

    def handle(self, *args: Any, topic: str, channel: str, own: list[str], **options: Any) -> None:
        transport = carrier(topic, channel)
        with said():
            kind = find(topic, channel)
        chosen = _parsed(kind, own, options)
        timeout = kind.timeout or conf.EVENTS_TIMEOUT
        most = chosen.max_in_flight
        with said():
            beginning = chosen.from_beginning or kind.from_beginning
            transport.subscribe(topic, channel, from_beginning=beginning)
            consumer = transport.consumer(topic, channel, timeout=timeout)
        worker = kind(**{one.name: getattr(chosen, one.name) for one in kind.options()})
        runner = Runner(worker, consumer, max_in_flight=most, timeout=timeout)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: runner.stop())
        self.stderr.write(f"{kind.__name__} takes {topic} for {channel}")
        runner.run(until_idle=chosen.until_idle)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-in-flight", type=int, default=256, metavar="N", help="most messages in hand")
    parser.add_argument(
        "--from-beginning", action="store_true", help="a new channel gets the messages that are kept, too"
    )
    parser.add_argument(
        "--until-idle", type=float, metavar="SECONDS", help="end when no message has come for so long"
    )


def _parsed(kind: type[Worker], own: list[str], before: dict[str, Any]) -> argparse.Namespace:
    """The options behind the channel; those before it are the defaults."""
    parser = argparse.ArgumentParser(
        prog=f"manage.py run_worker {kind.topic} {kind.channel}", description=kind.__doc__
    )
    _add_options(parser)
    parser.add_argument("-v", "--verbosity", help=argparse.SUPPRESS)
    for flag in ("--settings", "--pythonpath"):
        parser.add_argument(flag, help=argparse.SUPPRESS)
    for flag in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(**{name: before[name] for name in ("max_in_flight", "from_beginning", "until_idle")})
    try:
        for one in kind.options():
            one.add_to(parser)
    except argparse.ArgumentError as error:
        raise CommandError(f"{kind.__name__} has an option that run_worker has already: {error}") from error
    chosen = parser.parse_args(own)
    if chosen.max_in_flight < 1:
        raise CommandError("--max-in-flight: must be 1 or more.")
    return chosen
