"""Messages that are lost, doubled and late."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.utils import timezone
from kombu import Queue

from devtools.installed_servers import RabbitServer
from devtools.servers import ROOT, RedisServer, Server, wait_until
from mydjangoapp.connections import broker
from mydjangoapp.models import FanOut
from mydjangoapp.tasks import insert_into_homefeed
from tests import servers
from tests.checker import cursor, wait_for_end
from tests.faults.trial import SLOW, Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Workers = Callable[..., Server]
Broker = RedisServer | RabbitServer


@pytest.mark.row(2, "the broker loses the only message")
def test_the_only_message_is_lost(trial: Trial, workers: Workers, empty_broker: Callable[[], None]) -> None:
    trial.follow(5_000)
    trial.upload()
    empty_broker()
    workers()
    trial.healed()
    trial.judge()


@pytest.mark.row(2, "all of the broker's data is wiped in mid-chain")
def test_the_broker_is_wiped(trial: Trial, broker_server: Broker) -> None:
    trial.get_under_way()
    broker_server.kill()
    for data in broker_server.directory.iterdir():
        if data.name.startswith(("appendonly", "mnesia")):
            shutil.rmtree(data) if data.is_dir() else data.unlink()
    broker_server.start()
    trial.healed()
    trial.judge()


@pytest.mark.slow
@pytest.mark.row(3, "the same messages twice and more, in sequence and at once, on two workers")
def test_the_same_messages_many_times_on_two_workers(
    trial: Trial, workers: Workers, is_quiet: Callable[[], bool]
) -> None:
    trial.follow()
    workers(**SLOW)
    workers(**SLOW)
    photo = trial.upload()
    links = [0, 1_000, 2_000, 30_000, 59_000, 60_000]
    for link in links * 3:
        insert_into_homefeed.delay(photo, trial.author.pk, link)
    wait_for_end(photo)
    for link in links:
        insert_into_homefeed.delay(photo, trial.author.pk, link)
    trial.healed()
    wait_until(is_quiet, seconds=30, what="every message is done with")
    trial.judge()
    batches, copies = 60, 1 + 3 * len(links) + len(links)
    assert trial.findings[-1].runs <= batches + copies, "the chain has multiplied"


@pytest.mark.row(3, "a worker is stopped past its lease, another takes over, the first goes on")
def test_a_worker_is_stopped_past_its_lease_and_then_goes_on(trial: Trial, workers: Workers) -> None:
    first = trial.get_under_way()
    first.signal(signal.SIGSTOP)
    stood = cursor(trial.photo)
    workers(**SLOW)
    wait_until(lambda: cursor(trial.photo) > stood + 3_000, seconds=30, what="the second has taken over")
    first.signal(signal.SIGCONT)
    trial.healed()
    trial.judge()


@pytest.mark.row(16, "four rescuers at once", "each fan-out is enqueued again once")
def test_four_rescuers_at_once(
    trial: Trial, workers: Workers, empty_broker: Callable[[], None], tmp_path: Path
) -> None:
    trial.follow(2_000)
    trial.upload(20)
    empty_broker()
    FanOut.objects.update(created_at=timezone.now() - timedelta(minutes=10))
    long_lease = {"MYDJANGOAPP_LEASE_SECONDS": "100"}
    together = tmp_path / "go"
    code = (
        "import django, pathlib, time; django.setup()\n"
        "from django.core.management import call_command\n"
        f"print('ready', flush=True)\nwhile not pathlib.Path({str(together)!r}).exists(): time.sleep(0.001)\n"
        "call_command('rescue_fanouts')\n"
    )
    rescuers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, **long_lease},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    assert [rescuer.stdout.readline() for rescuer in rescuers if rescuer.stdout] == ["ready\n"] * 4
    together.touch()
    told = [rescuer.communicate(timeout=60)[0] for rescuer in rescuers]
    assert sum(int(words.split()[0]) for words in told) == 20, told
    workers(**long_lease)
    trial.healed()
    trial.judge()
    assert trial.findings[-1].runs == 20


@pytest.mark.row(10, "SCRIPT FLUSH without pause")
def test_scripts_are_flushed_all_the_time(trial: Trial, workers: Workers, redis: Any, meanwhile: Any) -> None:
    trial.follow()
    workers(**SLOW)
    with meanwhile(redis.script_flush) as flushes:
        trial.upload()
        trial.judge()
    assert flushes.times > 100


@pytest.mark.skipif("rabbitmq" not in servers.ON, reason="a Redis broker answers each LPUSH by itself")
def test_rabbitmq_says_what_it_does_not_take(broker_server: Broker) -> None:
    """Without confirmed publishing it would drop the message and say nothing."""
    with current_app.connection_for_write() as connection:
        full = Queue("full", queue_arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
        full(connection.channel()).declare()

    def publish(queue: str) -> str:
        with current_app.amqp.producer_pool.acquire() as producer:
            return broker._in_time(lambda: producer.publish({}, routing_key=queue, retry=False))

    assert publish(current_app.conf.task_default_queue) == ""
    assert "MessageNacked" in publish("full")


@pytest.mark.skipif("rabbitmq" not in servers.ON, reason="queues of RabbitMQ")
def test_what_waits_for_its_time_waits_in_the_broker(
    broker_server: Broker, workers: Workers, is_quiet: Callable[[], bool], author: Any
) -> None:
    """With quorum queues; with classic ones a worker holds it."""
    assert isinstance(broker_server, RabbitServer)
    workers()
    wait_until(is_quiet, seconds=30, what="what workers send when they start is done")
    assert broker.send(insert_into_homefeed, 999_999, author.pk, countdown=15.5)
    is_quorum = current_app.conf.task_default_queue_type == "quorum"
    waits = "in a worker's hands" if not is_quorum else "in the broker"
    wait_until(lambda: where(broker_server) == waits, seconds=10, what=f"it waits {waits}")
    wait_until(is_quiet, seconds=60, what="it was delivered when its time had come")
    kinds = broker_server.queue_types()
    assert kinds[current_app.conf.task_default_queue] == current_app.conf.task_default_queue_type


def where(rabbit: RabbitServer) -> str:
    """Where the only message is."""
    counts = rabbit.waiting_and_taken()
    delayed = sum(waiting for name, (waiting, _) in counts.items() if name.startswith("celery_delayed_"))
    taken = sum(taken for _, taken in counts.values())
    return {(1, 0): "in the broker", (0, 1): "in a worker's hands"}.get((delayed, taken), f"{counts}")
