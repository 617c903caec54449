"""Clients in rooms, who keep a record of what they said and heard (of tests/harness/probe/puppet.py)."""

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

PAUSE = 0.02  # seconds between two messages of all of them


class Talker:
    """A client in one room; what it says is its name and a number."""

    def __init__(self, target: Target, name: str, room: str) -> None:
        self.name, self.room = name, room
        self.said: list[float] = []  # when
        self.heard: dict[str, list[int]] = {}  # the numbers, by who said them
        self.returned: dict[str, list[Any]] = {}  # what came back, by what was called
        self.code: int | None = None  # how it ended
        options: dict[str, Any] = {"sslopt": {"context": target.context()}, "timeout": TIMEOUT, "suppress_origin": True}
        self._ws = websocket.create_connection(target.url, **options)
        assert self._ws.sock
        self._sock = self._ws.sock  # which the client forgets when the server is gone
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        self.call("join", room)

    def call(self, name: str, *arguments: Any) -> Any:
        """Let the handler call this of rooms; return what came back."""
        calls = len(self.returned.get(name, ()))
        self._ws.send(json.dumps([name, *arguments]))
        return eventually(lambda: self.returned.get(name, [])[calls:], f"{name} returns")[0]

    def say(self) -> None:
        """Send the next message to the room, and do not wait."""
        if self.code is None:
            try:
                self._ws.send(json.dumps(["send", self.room, f"{self.name} {len(self.said)}"]))
                self.said.append(time.time())
            except (OSError, websocket.WebSocketException):
                pass  # the thread knows how it ended

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # which wakes the thread; close() would not
        self._thread.join()
        self._sock.close()

    def _listen(self) -> None:
        self._ws.settimeout(None)
        try:
            while True:
                opcode, data = self._ws.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    self.code = int.from_bytes(data[:2], "big")
                    return
                self._take(data.decode())
        except (OSError, websocket.WebSocketException, AttributeError):  # the last one: closed by ourselves
            self.code = 1006

    def _take(self, message: str) -> None:
        if message.startswith("["):
            name, returned = json.loads(message)
            self.returned.setdefault(name, []).append(returned)
        else:
            name, number = message.split()
            self.heard.setdefault(name, []).append(int(number))


@dataclass
class Tally:
    """What became of the messages of one phase that everybody in their room should have got."""

    said: int = 0
    expected: int = 0
    received: int = 0
    doubled: int = 0
    out_of_order: int = 0
    lost_when: tuple[float, ...] = field(default=(), repr=False)  # a time for each


class Talk:
    """All of them, phase by phase."""

    def __init__(self, target: Target, rooms: Iterable[str], each: int) -> None:
        self._target = target
        self.talkers: list[Talker] = []
        self._starts: dict[str, int] = {}
        self.enter(rooms, each)

    def enter(self, rooms: Iterable[str], each: int) -> None:
        """Let so many more come into each room."""
        first = len(self.talkers)
        wanted = [
            (f"t{first + number}", room) for number, room in enumerate(room for room in rooms for _ in range(each))
        ]
        with ThreadPoolExecutor(8) as pool:
            self.talkers += pool.map(lambda one: Talker(self._target, *one), wanted)

    @property
    def open(self) -> list[Talker]:
        return [talker for talker in self.talkers if talker.code is None]

    def during(self, happens: Callable[[], object], rounds: int) -> Tally:
        """Let everybody talk in turns while something happens, so many rounds at least; then count."""
        self._starts = {talker.name: len(talker.said) for talker in self.open}
        with ThreadPoolExecutor(1) as pool:
            happening = pool.submit(happens)
            while rounds > 0 or not happening.done():
                for talker in self.open:
                    talker.say()
                    time.sleep(PAUSE)  # a rate, not a wait for anything
                rounds -= 1
            happening.result()
        self._settle()
        return self._count()

    def _settle(self) -> None:
        """Let everybody say one thing more, and wait until it is heard: what was said before is heard then, or lost."""
        for talker in self.open:
            talker.say()

        def heard() -> bool:
            return all(
                listener.heard.get(speaker.name, [-1])[-1] == len(speaker.said) - 1
                for speaker in self.open
                for listener in self.open
                if listener.room == speaker.room
            )

        eventually(heard, "the last of all is heard")

    def _count(self) -> Tally:
        tally = Tally()
        lost: list[float] = []
        present = [talker for talker in self.open if talker.name in self._starts]
        for speaker in present:
            start = self._starts[speaker.name]
            tally.said += len(speaker.said) - start
            for listener in present:
                if listener.room != speaker.room:
                    assert speaker.name not in listener.heard
                    continue
                heard = [number for number in listener.heard.get(speaker.name, ()) if number >= start]
                tally.expected += len(speaker.said) - start
                tally.received += len(set(heard))
                tally.doubled += len(heard) - len(set(heard))
                tally.out_of_order += sum(after < before for before, after in pairwise(heard))
                lost += [speaker.said[number] for number in set(range(start, len(speaker.said))) - set(heard)]
        tally.lost_when = tuple(sorted(lost))
        return tally

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        for talker in self.talkers:
            talker.close()
