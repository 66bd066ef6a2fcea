"""A small nsqd, and nsqlookupd, for tests where there is no real one: the TCP protocol V2 and the HTTP
calls that the app makes, as nsqd 1.3 speaks them. `python -m tests.nsqd --tcp PORT --http PORT`.

What it keeps is in memory, and is written to `--data FILE` when it is told to stop, as nsqd does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import struct
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NAME = re.compile(r"[.a-zA-Z0-9_-]+")
MAX_MSG_TIMEOUT = 900.0
MAX_REQ_TIMEOUT = 3_600.0


@dataclass(eq=False)
class Msg:
    id: bytes
    body: bytes
    attempts: int = 0
    due: float = 0.0
    given: float = 0.0
    owner: Client | None = None


@dataclass(eq=False)
class Channel:
    name: str
    waiting: deque[Msg] = field(default_factory=deque)
    deferred: list[Msg] = field(default_factory=list)
    in_flight: OrderedDict[bytes, Msg] = field(default_factory=OrderedDict)
    clients: list[Client] = field(default_factory=list)

    def push(self) -> None:
        """Gives what waits to clients that are ready, one each in turn."""
        gave = True
        while self.waiting and gave:
            gave = False
            for client in list(self.clients):
                if self.waiting and client.in_flight < client.ready:
                    self._give(client, self.waiting.popleft())
                    gave = True

    def _give(self, client: Client, msg: Msg) -> None:
        now = time.monotonic()
        msg.attempts, msg.owner, msg.given, msg.due = msg.attempts + 1, client, now, now + client.msg_timeout
        self.in_flight[msg.id] = msg
        client.in_flight += 1
        client.frame(2, struct.pack(">qH16s", time.time_ns(), msg.attempts, msg.id) + msg.body)

    def release(self, client: Client, id_: bytes) -> Msg | None:
        msg = self.in_flight.get(id_)
        if msg is None or msg.owner is not client:
            return None
        del self.in_flight[id_]
        client.in_flight -= 1
        return msg

    def scan(self) -> None:
        now = time.monotonic()
        for msg in [msg for msg in self.in_flight.values() if msg.due <= now]:
            del self.in_flight[msg.id]
            if msg.owner:
                msg.owner.in_flight -= 1
            self.waiting.append(msg)
        for msg in [msg for msg in self.deferred if msg.due <= now]:
            self.deferred.remove(msg)
            self.waiting.append(msg)
        self.push()


@dataclass(eq=False)
class Topic:
    name: str
    waiting: deque[tuple[Msg, float]] = field(default_factory=deque)
    channels: dict[str, Channel] = field(default_factory=dict)


class Nsqd:
    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self._ids = count(1)

    def topic(self, name: str) -> Topic:
        return self.topics.setdefault(name, Topic(name))

    def channel(self, topic: str, name: str) -> Channel:
        of = self.topic(topic)
        made = of.channels.setdefault(name, Channel(name))
        self._spread(of)
        return made

    def publish(self, topic: str, body: bytes, defer: float = 0) -> None:
        due = time.monotonic() + defer if defer else 0.0
        of = self.topic(topic)
        of.waiting.append((Msg(b"%016x" % next(self._ids), body), due))
        self._spread(of)

    def _spread(self, topic: Topic) -> None:
        """A topic keeps what it gets until it has a channel; then each channel has a copy."""
        if not topic.channels:
            return
        while topic.waiting:
            msg, due = topic.waiting.popleft()
            for channel in topic.channels.values():
                copy = Msg(msg.id, msg.body, due=due)
                (channel.deferred if due else channel.waiting).append(copy)
        for channel in topic.channels.values():
            channel.push()

    async def scan(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            for topic in self.topics.values():
                for channel in topic.channels.values():
                    channel.scan()

    def dump(self) -> Any:
        return {
            topic.name: {
                "waiting": [msg.body.decode("latin-1") for msg, _ in topic.waiting],
                "channels": {
                    channel.name: [
                        (msg.id.decode(), msg.attempts, msg.body.decode("latin-1"))
                        for msg in (*channel.in_flight.values(), *channel.waiting, *channel.deferred)
                    ]
                    for channel in topic.channels.values()
                },
            }
            for topic in self.topics.values()
        }

    def load(self, kept: Any) -> None:
        for name, of in kept.items():
            topic = self.topic(name)
            for channel, messages in of["channels"].items():
                self.channel(name, channel).waiting.extend(
                    Msg(id_.encode(), body.encode("latin-1"), attempts) for id_, attempts, body in messages
                )
            for body in of["waiting"]:
                self.publish(name, body.encode("latin-1"))
            assert topic is self.topics[name]
        self._ids = count(time.time_ns())


class Fatal(Exception):
    """The connection is closed after it."""


class Client:
    """One TCP connection."""

    def __init__(self, nsqd: Nsqd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.nsqd, self.reader, self.writer = nsqd, reader, writer
        self.ready = self.in_flight = 0
        self.msg_timeout, self.heartbeat = 60.0, 30.0
        self.heard = time.monotonic()
        self.channel: Channel | None = None
        self.closing = False

    def frame(self, kind: int, data: bytes) -> None:
        self.writer.write(struct.pack(">iI", len(data) + 4, kind) + data)

    async def serve(self) -> None:
        beats = asyncio.create_task(self.beat())
        try:
            if await self.reader.readexactly(4) != b"  V2":
                raise Fatal("E_BAD_PROTOCOL")
            while line := await self.reader.readline():
                self.heard = time.monotonic()
                await self.command(line.rstrip(b"\r\n"))
        except Fatal as error:
            self.frame(1, str(error).encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            beats.cancel()
            if self.channel and self in self.channel.clients:
                self.channel.clients.remove(self)  # what it has in flight waits for its time-out
            self.writer.close()

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(self.heartbeat)
            if time.monotonic() - self.heard > 2 * self.heartbeat:
                self.writer.close()
                return
            self.frame(0, b"_heartbeat_")

    async def command(self, line: bytes) -> None:
        name, *words = line.split(b" ")
        if name == b"IDENTIFY":
            size = struct.unpack(">I", await self.reader.readexactly(4))[0]
            self.identify(json.loads(await self.reader.readexactly(size)))
        elif name == b"SUB":
            self.subscribe(*(word.decode() for word in words))
        elif name == b"NOP":
            pass
        elif self.channel is None:
            raise Fatal(f"E_INVALID cannot {name.decode()} in current state")
        elif name == b"RDY":
            if not 0 <= int(words[0]) <= 2_500:
                raise Fatal(f"E_INVALID RDY count {int(words[0])} out of range 0-2500")
            self.ready = 0 if self.closing else int(words[0])
            self.channel.push()
        elif name == b"CLS":
            if self.closing:
                raise Fatal("E_INVALID cannot CLS in current state")
            self.closing, self.ready = True, 0
            self.frame(0, b"CLOSE_WAIT")
        elif name in (b"FIN", b"REQ", b"TOUCH"):
            self.about(name, self.channel, *words)
        else:
            raise Fatal(f"E_INVALID invalid command {line!r}")

    def identify(self, options: dict[str, Any]) -> None:
        timeout = options.get("msg_timeout") or 60_000
        if not 1_000 <= timeout <= MAX_MSG_TIMEOUT * 1_000:
            raise Fatal(f"E_BAD_BODY IDENTIFY msg timeout ({timeout}) is invalid")
        beat = options.get("heartbeat_interval") or 30_000
        if not 1_000 <= beat <= 60_000:
            raise Fatal(f"E_BAD_BODY IDENTIFY heartbeat interval ({beat}) is invalid")
        self.msg_timeout, self.heartbeat = timeout / 1_000, beat / 1_000
        answer = {"max_rdy_count": 2_500, "version": "test", "msg_timeout": timeout, "auth_required": False}
        answer["max_msg_timeout"] = int(MAX_MSG_TIMEOUT * 1_000)
        self.frame(0, json.dumps(answer).encode() if options.get("feature_negotiation") else b"OK")

    def subscribe(self, topic: str, channel: str) -> None:
        for code, name in (("E_BAD_TOPIC", topic), ("E_BAD_CHANNEL", channel)):
            if not NAME.fullmatch(name) or len(name) > 64:
                raise Fatal(f"{code} SUB name {name!r} is not valid")
        self.channel = self.nsqd.channel(topic, channel)
        self.channel.clients.append(self)
        self.frame(0, b"OK")

    def about(self, name: bytes, channel: Channel, id_: bytes, *words: bytes) -> None:
        if len(id_) != 16:
            raise Fatal("E_INVALID Invalid Message ID")
        if name == b"REQ" and not words[0].isdigit():
            raise Fatal(f"E_INVALID REQ could not parse timeout {words[0]!r}")
        if name == b"TOUCH":
            msg = channel.in_flight.get(id_)
            if msg is not None and msg.owner is self:
                msg.due = min(time.monotonic() + self.msg_timeout, msg.given + MAX_MSG_TIMEOUT)
                return
        elif (msg := channel.release(self, id_)) is not None:
            if name == b"REQ":
                delay = min(int(words[0]) / 1_000, MAX_REQ_TIMEOUT)
                msg.due = time.monotonic() + delay
                (channel.deferred if delay else channel.waiting).append(msg)
            channel.push()
            return
        verb = name.decode()
        self.frame(1, f"E_{verb}_FAILED {verb} {id_.decode()} failed ID not in flight".encode())


class Refused(Exception):
    """An HTTP status and what is said with it."""


async def http(nsqd: Nsqd, method: str, path: str, query: dict[str, str], body: bytes) -> bytes:
    topic, channel = query.get("topic", ""), query.get("channel", "")
    if topic and not (NAME.fullmatch(topic) and len(topic) <= 64):
        raise Refused(400, "INVALID_TOPIC")
    if path == "/ping":
        return b"OK"
    if path == "/stats":
        return json.dumps(stats(nsqd, topic)).encode()
    if method != "POST":
        raise Refused(405, "METHOD_NOT_ALLOWED")
    if not topic:
        raise Refused(400, "MISSING_ARG_TOPIC")
    if path == "/pub":
        defer = int(query.get("defer", "0"))
        if not 0 <= defer <= MAX_REQ_TIMEOUT * 1_000:
            raise Refused(400, "INVALID_DEFER")
        if not body:
            raise Refused(400, "MSG_EMPTY")
        nsqd.publish(topic, body, defer / 1_000)
        return b"OK"
    if path == "/mpub":
        for one in split(body) if query.get("binary") == "true" else body.split(b"\n"):
            if one:
                nsqd.publish(topic, one)
        return b"OK"
    if path == "/topic/create":
        nsqd.topic(topic)
    elif topic not in nsqd.topics:
        raise Refused(404, "TOPIC_NOT_FOUND")
    elif path == "/topic/empty":
        nsqd.topics[topic].waiting.clear()
    elif path == "/channel/create":
        nsqd.channel(topic, channel)
    elif path == "/channel/delete":
        gone = nsqd.topics[topic].channels.pop(channel, None)
        if gone is None:
            raise Refused(404, "CHANNEL_NOT_FOUND")
        for client in gone.clients:
            client.writer.close()
    else:
        raise Refused(404, "NOT_FOUND")
    return b""


def split(body: bytes) -> list[bytes]:
    number, at = struct.unpack_from(">I", body)[0], 4
    found = []
    for _ in range(number):
        size = struct.unpack_from(">I", body, at)[0]
        found.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(body):
        raise Refused(413, "BAD_BODY")
    return found


def stats(nsqd: Nsqd, only: str) -> dict[str, Any]:
    topics = [topic for topic in nsqd.topics.values() if not only or topic.name == only]
    found = [
        {
            "topic_name": topic.name,
            "depth": len(topic.waiting),
            "channels": [
                {
                    "channel_name": channel.name,
                    "depth": len(channel.waiting),
                    "in_flight_count": len(channel.in_flight),
                    "deferred_count": len(channel.deferred),
                    "client_count": len(channel.clients),
                    "clients": None,
                }
                for channel in topic.channels.values()
            ],
        }
        for topic in topics
    ]
    return {"version": "test", "health": "OK", "topics": found or None}


async def serve_http(answer: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while request := await reader.readline():
            method, target, _ = request.decode().split(" ", 2)
            size = 0
            while (header := await reader.readline()).strip():
                name, _, value = header.decode().partition(":")
                if name.lower() == "content-length":
                    size = int(value)
            body = await reader.readexactly(size)
            parts = urlsplit(target)
            status, said = 200, b""
            try:
                said = await answer(method, parts.path, dict(parse_qsl(parts.query)), body)
            except Refused as error:
                status, said = error.args[0], json.dumps({"message": error.args[1]}).encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def run(options: argparse.Namespace) -> None:
    loop, stopped, nsqd = asyncio.get_running_loop(), asyncio.Event(), Nsqd()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if options.data and options.data.exists():
        nsqd.load(json.loads(options.data.read_text()))

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Client(nsqd, reader, writer).serve()

    async def of_nsqd(method: str, path: str, query: dict[str, str], body: bytes) -> bytes:
        return await http(nsqd, method, path, query, body)

    async def of_lookupd(method: str, path: str, query: dict[str, str], body: bytes) -> bytes:
        if path != "/lookup":
            raise Refused(404, "NOT_FOUND")
        producers = [
            {"broadcast_address": "127.0.0.1", "tcp_port": port, "http_port": 0} for port in options.knows
        ]
        return json.dumps({"channels": [], "producers": producers}).encode()

    answer = of_lookupd if options.knows else of_nsqd
    await asyncio.start_server(lambda r, w: serve_http(answer, r, w), "127.0.0.1", options.http, limit=2**24)
    if options.tcp:
        await asyncio.start_server(client, "127.0.0.1", options.tcp, limit=2**24)
    scan = asyncio.create_task(nsqd.scan())
    await stopped.wait()
    scan.cancel()
    if options.data:
        options.data.write_text(json.dumps(nsqd.dump()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tcp", type=int)
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--knows", type=int, nargs="*", help="be nsqlookupd, of these TCP ports")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
