"""What happens around the commit of an upload, and of a deletion."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from rest_framework.authtoken.models import Token

from devtools.servers import LOOPBACK, Server, free_port, in_use, wait_until, web_server
from mydjangoapp import uploads
from mydjangoapp.models import FanOut, Photo
from tests import servers
from tests.checker import ALL_ONCE, Outcome, outcome, runs
from tests.faults.trial import TASK, Trial

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]
Workers = Callable[..., Server]


@pytest.mark.row(5, "the web process dies between commit and enqueue")
def test_the_web_process_dies_after_the_commit(trial: Trial, workers: Workers, tmp_path: Path) -> None:
    trial.follow(5_000)
    token = Token.objects.create(user=trial.author).key
    port, died = free_port(), tmp_path / "died"
    environ = {**servers.ENVIRON, "FEEDS_FAILPOINT": "committed", "FEEDS_FAILPOINT_ONCE": str(died)}
    with web_server(tmp_path / "web.log", environ, port) as web:
        web.wait_for(lambda: in_use(port), seconds=60, what="the site answers")
        call = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
        call.request(
            "POST",
            "/upload/",
            json.dumps({"description": "a photo", "photo_url": "https://example.com/p.jpg"}),
            {"Authorization": f"Token {token}", "Content-Type": "application/json"},
        )
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            call.getresponse()
    assert died.exists()
    trial.photos = (Photo.objects.get().pk,)
    assert FanOut.objects.get().state == "waiting"
    workers()
    trial.healed()
    trial.judge()


@pytest.mark.row(6, "the transaction is rolled back after the save", "no ghost: nobody gets anything")
def test_a_rollback_leaves_no_ghost(trial: Trial, workers: Workers, is_quiet: Callable[[], bool]) -> None:
    users = trial.follow(100)
    worker = workers()
    saved: list[int] = []

    def publish_and_fail() -> None:
        with transaction.atomic():
            saved.append(
                uploads.publish(trial.author, description="ghost", photo_url="https://example.com/p.jpg").pk
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        publish_and_fail()
    wait_until(is_quiet, seconds=30, what="the broker has nothing")
    found = outcome(saved[0], [], absent=users)
    trial.note(found, "none", 0.0)
    assert found == ALL_ONCE
    assert not FanOut.objects.exists()
    assert runs(TASK, worker) == 0


@pytest.mark.row(14, "the photo is deleted in mid-chain", "cancelled, and taken out of every feed")
def test_a_photo_is_deleted_in_mid_chain(trial: Trial, redis: Any) -> None:
    trial.get_under_way()
    photo, users = trial.photo, trial.present
    assert outcome(photo, users[:500]) == ALL_ONCE
    Photo.objects.get(pk=photo).delete()
    trial.healed()
    wait_until(
        lambda: outcome(photo, [], absent=users) == Outcome(), seconds=33, what="nobody has it any more"
    )
    trial.judge(state="cancelled")
