"""Every endpoint of the OpenAPI schema, fuzzed by schemathesis over a running site."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rest_framework.authtoken.models import Token

from devtools.servers import LOOPBACK, free_port, in_use, web_server
from mydjangoapp import graph, uploads
from mydjangoapp.circles import members
from tests import servers

UNLIMITED = {f"MYDJANGOAPP_{rate}_RATE": "" for rate in ("UPLOAD", "CHANGE", "TOKEN")}
CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance"


@pytest.mark.usefixtures("redis", "transactional_db")
@pytest.mark.parametrize("staff", [False, True])
def test_no_call_answers_with_an_error_of_the_server_or_against_the_schema(
    make_users: Any, tmp_path: Path, staff: bool
) -> None:
    me, other = make_users(2)
    me.is_staff = staff
    me.save()
    for user in (me, other):
        uploads.publish(user, description="a photo", photo_url="https://example.com/p.jpg")
    graph.follow(me, other)
    members.create(me, name="Cats")
    token, port = Token.objects.create(user=me).key, free_port()
    with web_server(tmp_path / "web.log", {**servers.ENVIRON, **UNLIMITED}, port) as web:
        web.wait_for(lambda: in_use(port), seconds=60, what="the site answers")
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{LOOPBACK}:{port}/schema/"]
        command += ["--header", f"Authorization: Token {token}", "--checks", CHECKS]
        command += ["--max-examples", "20", "--seed", "1"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        log = web.log.read_text()
    assert ran.returncode == 0, ran.stdout[-5000:]
    assert "Tested: 26" in ran.stdout, "all of them"
    assert "Traceback" not in log
