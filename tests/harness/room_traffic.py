"""Clients in rooms that record which messages they sent and received (handler: tests/harness/probe/rooms_rpc.py)."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import websocket
from client import TIMEOUT, Target
from eventually import eventually

PAUSE = 0.02  # seconds between two messages, over all clients


class RoomClient:
    """A client in one room; its messages are its name and a sequence number."""

    def __init__(self, target: Target, name: str, room: str) -> None:
        self.name, self.room = name, room
        self.sent: list[float] = []  # time just before each message
        self.received: dict[str, list[int]] = {}  # sequence numbers by sender
        self.results: dict[str, list[Any]] = {}  # results of calls by function name
        self.close_code: int | None = None
        self.closed_at = 0.0  # when the close frame came
        options: dict[str, Any] = {"sslopt": {"context": target.context()}, "timeout": TIMEOUT, "suppress_origin": True}
        self._ws = websocket.create_connection(target.url, **options)
        assert self._ws.sock
        self._sock = self._ws.sock  # websocket-client drops its reference when the server closes
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()
        self.call("join", room)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of wss.rooms in the handler; return its result."""
        calls = len(self.results.get(name, ()))
        self._ws.send(json.dumps([name, *arguments]))
        return eventually(lambda: self.results.get(name, [])[calls:], f"{name} returns")[0]

    def send_next(self) -> None:
        """Send the next message to the room without waiting for the result."""
        if self.close_code is None:
            before = time.time()  # not after: on a busy machine, this thread may wait long after the message was sent
            try:
                self._ws.send(json.dumps(["send", self.room, f"{self.name} {len(self.sent)}"]))
                self.sent.append(before)
            except (OSError, websocket.WebSocketException):
                pass  # the thread records the close code

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the thread, which close() would not
        self._thread.join()
        self._sock.close()

    def _receive(self) -> None:
        self._ws.settimeout(None)
        try:
            while True:
                opcode, data = self._ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    self.close_code = int.from_bytes(data[:2], "big")
                    self.closed_at = time.time()
                    return
                self._record(data.decode())
        except (OSError, websocket.WebSocketException, AttributeError):  # AttributeError: close() was called
            self.close_code = 1006

    def _record(self, message: str) -> None:
        if message.startswith("["):
            name, result = json.loads(message)
            self.results.setdefault(name, []).append(result)
        else:
            name, number = message.split()
            self.received.setdefault(name, []).append(int(number))


@dataclass
class Tally:
    """Counts of the messages of one phase; `expected` counts each message once per member of its room."""

    sent: int = 0
    expected: int = 0
    received: int = 0
    duplicates: int = 0
    out_of_order: int = 0
    lost_at: tuple[float, ...] = field(default=(), repr=False)  # when each lost message was sent


class RoomTraffic:
    """All clients, and the messages that they send in phases."""

    def __init__(self, target: Target, rooms: Iterable[str], each: int) -> None:
        self._target = target
        self.clients: list[RoomClient] = []
        self._starts: dict[str, int] = {}
        self.add_clients(rooms, each)

    def add_clients(self, rooms: Iterable[str], each: int) -> None:
        """Connect `each` more clients to each room."""
        first = len(self.clients)
        wanted = [
            (f"c{first + number}", room) for number, room in enumerate(room for room in rooms for _ in range(each))
        ]
        with ThreadPoolExecutor(8) as pool:
            self.clients += pool.map(lambda one: RoomClient(self._target, *one), wanted)

    @property
    def open(self) -> list[RoomClient]:
        return [client for client in self.clients if client.close_code is None]

    def during(self, action: Callable[[], object], rounds: int) -> Tally:
        """Let all clients send in turns while the action runs, for at least `rounds` rounds; return the counts."""
        self._starts = {client.name: len(client.sent) for client in self.open}
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(action)
            while rounds > 0 or not running.done():
                for client in self.open:
                    client.send_next()
                    time.sleep(PAUSE)  # limits the rate; it does not wait for a condition
                rounds -= 1
            running.result()
        self._settle()
        return self._count()

    def _settle(self) -> None:
        """Wait until a last message of every client arrives; earlier messages that are missing then are lost."""
        for client in self.open:
            client.send_next()

        def last_arrived() -> bool:
            return all(
                receiver.received.get(sender.name, [-1])[-1] == len(sender.sent) - 1
                for sender in self.open
                for receiver in self.open
                if receiver.room == sender.room
            )

        eventually(last_arrived, "the last message of every client arrives")

    def _count(self) -> Tally:
        tally = Tally()
        lost: list[float] = []
        present = [client for client in self.open if client.name in self._starts]
        for sender in present:
            start = self._starts[sender.name]
            tally.sent += len(sender.sent) - start
            for receiver in present:
                if receiver.room != sender.room:
                    assert sender.name not in receiver.received
                    continue
                received = [number for number in receiver.received.get(sender.name, ()) if number >= start]
                tally.expected += len(sender.sent) - start
                tally.received += len(set(received))
                tally.duplicates += len(received) - len(set(received))
                tally.out_of_order += sum(after < before for before, after in pairwise(received))
                lost += [sender.sent[number] for number in set(range(start, len(sender.sent))) - set(received)]
        tally.lost_at = tuple(sorted(lost))
        return tally

    def __enter__(self) -> "RoomTraffic":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
