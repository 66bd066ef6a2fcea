"""Where nsqd is: `nsq://` and `nsq+lookupd://` URLs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from ...exceptions import BadSetting

TCP, HTTP, LOOKUPD = 4150, 4151, 4161


@dataclass(frozen=True)
class Addresses:
    """`tcp`: nsqd to take messages from, host and port; `lookupd`: who knows others; `http`: nsqd to publish
    to, in turn."""

    tcp: tuple[tuple[str, int], ...]
    lookupd: tuple[str, ...]
    http: tuple[str, ...]


def addresses(url: str) -> Addresses:
    """Of `nsq://host:4150,other:4150?http=4151` or `nsq+lookupd://host:4161?http=nsqdhost:4151`; ports may
    be left out. Raises `BadSetting`."""
    parts = urlsplit(url)
    try:
        http = [one for value in parse_qs(parts.query).get("http", []) for one in value.split(",")]
        if parts.scheme == "nsq":
            tcp = tuple(_host(one, TCP) for one in parts.netloc.split(","))
            ports = [int(one) for one in http] or [HTTP]
            if len(ports) not in (1, len(tcp)):
                raise ValueError("one http port for all, or one for each host")
            ports = ports * len(tcp) if len(ports) == 1 else ports
            return Addresses(
                tcp, (), tuple(f"{host}:{port}" for (host, _), port in zip(tcp, ports, strict=True))
            )
        if not http:
            raise ValueError("?http= has to name an nsqd to publish to")
        lookupd = tuple("{}:{}".format(*_host(one, LOOKUPD)) for one in parts.netloc.split(","))
        return Addresses((), lookupd, tuple("{}:{}".format(*_host(one, HTTP)) for one in http))
    except ValueError as error:
        raise BadSetting("EVENTS_URL", f"is no address of NSQ: {url!r} ({error})") from error


def _host(text: str, port: int) -> tuple[str, int]:
    host, colon, number = text.rpartition(":")
    if not colon:
        host, number = text, str(port)
    if not host:
        raise ValueError("a host is missing")
    return host, int(number)
