"""A broker that is away for a while, and one that is a black hole."""

from __future__ import annotations

import signal
import time

import pytest

from devtools.installed_servers import RabbitServer
from devtools.servers import RedisServer
from tests.faults.trial import Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Broker = RedisServer | RabbitServer


@pytest.mark.row(4, "the broker is killed in mid-chain and comes back some seconds later")
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_the_broker_is_killed_and_comes_back(trial: Trial, broker_server: Broker, seconds: int) -> None:
    trial.get_under_way()
    broker_server.kill()
    try:
        trial.upload()
        time.sleep(seconds)  # the fault itself
    finally:
        broker_server.start()
    trial.healed()
    trial.judge()


@pytest.mark.slow
@pytest.mark.row(4, "the broker is a black hole for 15 s")
def test_the_broker_is_a_black_hole(trial: Trial, broker_server: Broker) -> None:
    trial.get_under_way()
    broker_server.signal(signal.SIGSTOP)
    try:
        trial.upload()
        time.sleep(15)  # the fault itself
    finally:
        broker_server.signal(signal.SIGCONT)
    trial.healed()
    trial.judge()
