"""This worker's part of all rooms: its own clients, and what it exchanges with other workers through the hub."""

import asyncio
import json
import logging
import os
from itertools import count as count_up
from typing import TYPE_CHECKING, Any

from wss.connection.connection import Connection
from wss.protocol.frames import TEXT, PreparedMessage
from wss.rooms import leases, streams
from wss.rooms.history import History
from wss.rooms.kept import Position, Start
from wss.rooms.leases import HubLeases, MemoryLeases
from wss.rooms.membership import ALL, Client, Member, Membership, worker_topic
from wss.rooms.presence import Watcher
from wss.rooms.streams import StreamStore, decode_publication
from wss.rooms.survey import Survey

if TYPE_CHECKING:  # without a hub, its client library is not imported
    from wss.rooms.hub import Hub

log = logging.getLogger("wss.rooms")

SCRIPTS = {**streams.SCRIPTS, **leases.SCRIPTS}
# Seconds that other workers have to respond to a survey. The result lacks those that do not.
SURVEY_TIMEOUT = 2.0


class Exchange:
    """Topics, with the clients of this worker and of all others."""

    def __init__(self) -> None:
        self.worker = os.urandom(6).hex()
        """The id of this worker, with which the ids of its clients begin."""
        self.hub: Hub | None = None
        self.local = Membership(self.worker)
        self.history = History(self.local)
        self.watcher = Watcher(MemoryLeases(self.send))
        self._survey_numbers = count_up(1)
        self._surveys: dict[int, Survey] = {}

    def use_hub(self, hub: "Hub") -> None:
        """Use a hub, before it connects."""
        self.hub = hub
        self.history.use_hub(hub, StreamStore(hub))
        self.watcher.leases = HubLeases(hub, self.worker, self.history.limits)
        hub.subscribe_at_start(ALL, worker_topic(self.worker))

    def on_connect(self, others_in: float, has_lost_data: bool) -> None:
        """Repair what was missed while the hub was unreachable. See `Watcher.connect`."""
        self.history.catch_up()
        self.watcher.connect(others_in, has_lost_data)

    async def join(self, client: Client, topic: str) -> None:
        if self.history.keeps(topic):
            await self.history.join(client.connection, topic)
        else:
            self.local.join(client, topic)
            if self.hub:
                await self.hub.subscribe(topic)
        await self.watcher.enter(topic, client)

    async def resume(self, client: Client, topic: str, since: Position | None) -> Start:
        start = await self.history.resume(client.connection, topic, since)
        await self.watcher.enter(topic, client)
        return start

    def leave(self, client: Client, topic: str, *, at_once: bool) -> None:
        """Remove a client from a topic. `at_once`: its user does not come back."""
        self.watcher.leave(topic, client, at_once=at_once)
        if not self.local.leave(client, topic):
            return
        if self.history.keeps(topic):
            self.history.release(topic)
        elif self.hub:
            self.hub.unsubscribe(topic)

    async def send(self, topic: str, text_or_bytes: str | bytes, exclude: Connection | None = None) -> bool:
        if self.history.is_used and self.history.keeps(topic):
            return await self.history.append(topic, text_or_bytes, self.local.id_of(exclude)) is not None
        message = PreparedMessage(text_or_bytes)
        self.local.send(topic, message, exclude)
        return self.hub is None or await self.publish(topic, message) is not None

    def publish(self, topic: str, message: PreparedMessage, **fields: Any) -> asyncio.Future[int | None]:
        assert self.hub
        head = json.dumps({"from": self.worker, "kind": message.kind, **fields})
        return self.hub.publish(topic, head.encode() + b"\n" + message.payload)

    async def members(self, topic: str) -> list[Member]:
        elsewhere = await self.survey(topic, "members")
        return self.local.members(topic) + [Member(*member) for members in elsewhere for member in members]

    def _survey_reply(self, topic: str, what: str) -> Any:
        return len(self.local.clients(topic)) if what == "count" else self.local.members(topic)

    async def survey(self, topic: str, what: str) -> list[Any]:
        """Return the replies of the other workers that are subscribed to a topic: those that have members."""
        if not (self.hub and self.hub.is_connected):
            return []
        number = next(self._survey_numbers)
        survey = self._surveys[number] = Survey()
        try:
            reached = await self.publish(topic, PreparedMessage(b""), question=number, what=what)
            survey.expect(reached or 0)
            async with asyncio.timeout(SURVEY_TIMEOUT):
                await survey.complete.wait()
        except TimeoutError:
            log.warning("%d of %d workers responded to a survey of members", survey.replied, survey.expected)
        finally:
            del self._surveys[number]
        return survey.replies

    def receive(self, topic: str, contents: bytes) -> None:
        """Process a publication of any worker: a message, a survey, or a reply to a survey."""
        if kept := decode_publication(contents):
            self.history.receive(topic, *kept)
            return
        head_json, _, payload = contents.partition(b"\n")
        head = json.loads(head_json)
        is_own = head["from"] == self.worker  # which has processed it already
        if "answer" in head:
            if survey := self._surveys.get(head["answer"]):
                survey.add_reply(json.loads(payload))
        elif "question" in head and is_own:
            if survey := self._surveys.get(head["question"]):
                survey.add_reply()
        elif "question" in head:
            reply = PreparedMessage(json.dumps(self._survey_reply(topic, head["what"])))
            self.publish(worker_topic(head["from"]), reply, answer=head["question"])
        elif "close" in head and not is_own:
            if to := head.get("to"):
                self.local.close_client(to, *head["close"])
            else:
                self.local.close(topic, *head["close"])
        elif not is_own:
            message = PreparedMessage(payload.decode() if head["kind"] == TEXT else payload)
            if to := head.get("to"):
                self.local.send_to_client(to, message)
            else:
                self.local.send(topic, message)
