"""`/livez/` and `/readyz/`, on django-health-check."""

from __future__ import annotations

import dataclasses
from typing import Any

from django.http import HttpRequest, JsonResponse
from health_check.base import HealthCheck
from health_check.checks import Database
from health_check.exceptions import ServiceUnavailable, ServiceWarning
from health_check.views import HealthCheckView

from ..conf import conf
from ..connections import broker
from ..events.registry import all_there_are
from ..exceptions import DATABASE_AWAY, FeedError
from ..fanout import progress
from ..homefeed import feeds_redis


@dataclasses.dataclass
class FeedsRedis(HealthCheck):  # type: ignore[misc]  # comes without types
    """The feeds' Redis answers, does not evict, and writes down what it has."""

    def run(self) -> None:
        try:
            feeds_redis.ping()
            policy = feeds_redis.eviction_policy()
            persists = feeds_redis.persists()
        except FeedError as error:
            raise ServiceUnavailable(str(error)) from error
        wrong = []
        if policy not in (None, "noeviction"):
            wrong.append(f"maxmemory-policy is {policy}: feeds may be dropped. Set noeviction.")
        if persists is False:
            wrong.append("appendonly is no: a restart empties all feeds. Set appendonly yes.")
        if wrong:
            raise ServiceWarning(" ".join(wrong))


@dataclasses.dataclass
class Broker(HealthCheck):  # type: ignore[misc]  # comes without types
    """Celery's broker accepts a connection."""

    def run(self) -> None:
        if why := broker.problem():
            raise ServiceUnavailable(f"Celery's broker does not answer ({why}).")


@dataclasses.dataclass
class Deliveries(HealthCheck):  # type: ignore[misc]  # comes without types
    """Fan-outs are taken up in time, and none has been given up."""

    def run(self) -> None:
        try:
            waiting, silent = progress.longest_wait(), progress.longest_silence()
            failed = progress.failed_ones()
        except DATABASE_AWAY as error:
            raise ServiceWarning("unknown without the database") from error
        wrong = []
        if waiting > conf.LEASE_SECONDS + GRACE:
            wrong.append(
                f"The oldest waiting fan-out has waited for {waiting:.0f} s, longer than the lease: "
                "see that a worker and beat are running."
            )
        if silent > conf.LEASE_SECONDS + GRACE:
            wrong.append(
                f"A fan-out under way has stood still for {silent:.0f} s, longer than the lease: "
                "see that a worker and beat are running."
            )
        if failed:
            wrong.append(f"{failed} failed: see last_error in the admin, then manage.py fanouts --retry.")
        if wrong:
            raise ServiceWarning(" ".join(wrong))


@dataclasses.dataclass
class Events(HealthCheck):  # type: ignore[misc]  # comes without types
    """Events can be carried, every channel is served, and none has dead letters."""

    def run(self) -> None:
        try:
            channels = [one for transport in all_there_are() for one in transport.channels()]
        except FeedError as error:
            raise ServiceWarning(str(error)) from error
        wrong = [
            f"{one.channel} of {one.topic} is {one.lag:,} messages behind: run its worker, or unsubscribe it."
            for one in channels
            if one.lag > conf.EVENTS_BEHIND
        ]
        wrong += [
            f"{one.channel} of {one.topic} has {one.dead:,} dead letters: see manage.py dead_letters."
            for one in channels
            if one.dead
        ]
        if wrong:
            raise ServiceWarning(" ".join(wrong))


class ReadyView(HealthCheckView):  # type: ignore[misc]  # comes without types
    """200 if this process can answer requests, 503 if it cannot: the database is away. The site works, from
    SQL, while Redis or the broker is away, so a load balancer must not take it out then.

    Names each part and what is wrong with it. `?strict` answers 503 for anything wrong: for alarms and for
    what waits until everything has started.
    """

    checks = (Database, FeedsRedis, Broker, Deliveries, Events)

    async def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> JsonResponse:
        with self.get_executor() as executor:
            results = [await check.get_result(executor) for check in self.get_checks()]
        parts = {
            _NAMES[type(result.check)]: str(result.error) if result.error else "ok" for result in results
        }
        wrong = {type(result.check) for result in results if result.error}
        ready = Database not in wrong and not (wrong and "strict" in request.GET)
        return JsonResponse({"ready": ready, **parts}, status=200 if ready else 503)


GRACE = 10  # seconds that a rescue may take to come round

_NAMES = {
    Database: "database",
    FeedsRedis: "redis",
    Broker: "broker",
    Deliveries: "fanouts",
    Events: "events",
}


def livez(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"live": True})
