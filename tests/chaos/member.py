"""A client in one room, which sends numbered messages and records what it receives."""

import json
import ssl
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count

from reconnecting import Client, Event
from websockets.client import backoff
from websockets.exceptions import ConnectionClosed

from chaos.ledger import Ledger, Message

# Seconds. A line that breaks without a reset is noticed after both times together.
PING_INTERVAL, PING_TIMEOUT = 3, 6
# Short delays, so that many faults fit into a minute.
_retry_delays = partial(backoff, initial_delay=0.5, min_delay=0.5, max_delay=3)


class Member(Client):
    """The client in examples/clients, with a ledger of its room and counts of all members."""

    def __init__(
        self, url: str, tls: ssl.SSLContext, room: str, name: str, ledger: Ledger, counts: Counter[str]
    ) -> None:
        super().__init__(
            url,
            {room: {}},
            ssl=tls,
            proxy=None,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_TIMEOUT,
            reconnect_delays=self._delays,
        )
        self.room, self.name, self.ledger = room, name, ledger
        self.is_live = False
        """Whether this connection has received what was missed before it."""
        self._counts = counts
        self._numbers = count(1)

    async def run(self) -> None:
        """Receive until cancelled. Raises ConnectionClosed if the server closes with a final code."""
        try:
            async for event in self:
                self._process(event)
        finally:
            if self.is_connected:
                # Not a close handshake: the loop may end before the transport is closed.
                self.cut()
                await self._connection.result().wait_closed()

    @property
    def has_joined(self) -> bool:
        return bool(self.positions)

    @property
    def is_connected(self) -> bool:
        return self._connection.done()

    async def send_next(self) -> Message | None:
        """Send the next message; return it, or None if there is no connection."""
        if not self.is_connected:
            return None
        message = Message(self.name, next(self._numbers))
        try:
            await self.send(json.dumps({"room": self.room, "message": f"{message.sender} {message.number}"}))
        except ConnectionClosed:
            return None
        self._counts["sent"] += 1
        return message

    def pause(self) -> None:
        """Stop reading."""
        if self.is_connected:
            self._connection.result().transport.pause_reading()

    def cut(self) -> None:
        """End the line without a close frame."""
        if self.is_connected:
            self._connection.result().transport.abort()

    def _process(self, event: Event) -> None:
        if event.room is None:
            self._take_reply(event)
        elif event.message is not None:
            sender, number = str(event.message).split()
            assert event.position
            self.ledger.receive(self.name, event.position, Message(sender, int(number)))
            self._counts["live" if self.is_live else "resumed"] += 1

    def _delays(self) -> Iterator[float]:
        return _retry_delays()

    def _take_reply(self, event: Event) -> None:
        assert event.message
        reply = json.loads(event.message)
        if "resumed" in reply:
            self.is_live = reply["resumed"]
        elif reply["kept"]:
            sender, number = reply["sent"].split()
            self.ledger.acknowledge(Message(sender, int(number)))

    def _take(self, message: str | bytes) -> Event | None:
        event = super()._take(message)
        fields = json.loads(message)
        if fields.get("gap", "none") is None or (event and event.room and event.message is None):
            # A start. Without a gap it is no event of the client, but its position counts.
            self.ledger.start(self.name, self.positions[self.room], gap=bool(fields["gap"]))
            self._counts[f"gap {fields['gap']}"] += bool(fields["gap"])
        elif event is None:
            self._counts["dropped"] += 1
        return event
