"""Which nsqd a run is on."""

from __future__ import annotations

import os


def real_nsqd() -> str:
    """The URL of the nsqd that the environment names, empty if it names none."""
    tcp, http = os.environ.get("NSQD_TCP_ADDRESS", ""), os.environ.get("NSQD_HTTP_ADDRESS", "")
    return f"nsq://{tcp}?http={http.rpartition(':')[2]}" if tcp and http else ""


def said() -> str:
    """For the head of a run."""
    if url := real_nsqd():
        return f"NSQ: real nsqd, {url}"
    return "NSQ: NO REAL nsqd, the small one of tests/nsqd.py (set NSQD_TCP_ADDRESS and NSQD_HTTP_ADDRESS)"
