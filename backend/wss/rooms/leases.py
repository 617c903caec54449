"""The leases of users in watched rooms: in memory without a hub, else in the hub, whose clock is the only one."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from wss.rooms.store import Entry
from wss.rooms.streams import ANNOUNCE, encode_publication, history_keys, limits_of

if TYPE_CHECKING:
    from wss.config.history import Limits
    from wss.rooms.hub import Hub

# A sorted set: when the last lease of each user in a room ends. Beside it, a hash per user in a room: when that of each
# worker ends.
_ENDS = "presence"
_PAGE = 100

# KEYS and ARGV: those of ANNOUNCE; then the set, the hash; the user in the room, the worker, milliseconds, whether to
# announce a new user, and whether to add one.
RENEW = (
    ANNOUNCE
    + """
local was = redis.call('ZSCORE', KEYS[3], ARGV[10])
if not was and ARGV[14] == '0' then
    return 0
end
redis.call('HSET', KEYS[4], ARGV[11], now + ARGV[12])
local ends = 0
local leases = redis.call('HGETALL', KEYS[4])
for i = 1, #leases, 2 do
    local each = tonumber(leases[i + 1])
    ends = math.max(ends, each)
    if each <= now then
        redis.call('HDEL', KEYS[4], leases[i])
    end
end
redis.call('ZADD', KEYS[3], ends, ARGV[10])
if was or ARGV[13] == '0' then
    return 0
end
announce()
return 1
"""
)
LEAVE = (
    ANNOUNCE
    + """
local ends = redis.call('ZSCORE', KEYS[3], ARGV[10])
if not ends or tonumber(ends) > now then
    return 0
end
redis.call('ZREM', KEYS[3], ARGV[10])
redis.call('DEL', KEYS[4])
announce()
return 1
"""
)
ENDED = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
"""
SCRIPTS = {"renew": RENEW, "leave": LEAVE, "ended": ENDED}


class HubLeases:
    """Leases in the hub. A change and its announcement are one step, so that there is exactly one."""

    def __init__(self, hub: "Hub", worker: str, limits: "Callable[[str], Limits | None]") -> None:
        """`limits` returns what a room keeps; None: nothing."""
        self._hub = hub
        self._worker = worker
        self._limits = limits

    def renew(
        self, topic: str, user: str, seconds: float, joined: Entry | None = None, *, add: bool = True
    ) -> asyncio.Future[bool | None]:
        return self._run("renew", topic, user, joined, round(1000 * seconds), int(joined is not None), int(add))

    async def ended(self) -> list[tuple[str, str]] | None:
        members = await self._hub.run_script("ended", (_ENDS,), _PAGE)
        return None if members is None else [tuple(json.loads(member)) for member in members]

    async def leave(self, topic: str, user: str, left: Entry) -> None:
        await self._run("leave", topic, user, left)

    def _run(
        self, script: str, topic: str, user: str, entry: Entry | None, *arguments: int
    ) -> asyncio.Future[bool | None]:
        member, limits = json.dumps([topic, user]), self._limits(topic)
        publication = encode_publication(topic, entry or Entry.of(b""), is_kept=limits is not None)
        keys = (*history_keys(topic), _ENDS, f"presence:{member}")
        return self._hub.run_script(
            script, keys, *limits_of(limits), *publication, int(limits is not None), member, self._worker, *arguments
        )


class MemoryLeases:
    """The leases of the only worker."""

    def __init__(
        self,
        send: Callable[[str, str | bytes], Coroutine[Any, Any, bool | None]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._now = now
        self._ends: dict[tuple[str, str], float] = {}

    def renew(
        self, topic: str, user: str, seconds: float, joined: Entry | None = None, *, add: bool = True
    ) -> asyncio.Future[bool | None]:
        is_new = (topic, user) not in self._ends
        if add or not is_new:
            self._ends[topic, user] = self._now() + seconds
        if is_new and joined:
            return asyncio.ensure_future(self._send(topic, joined.message))
        renewed: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        renewed.set_result(False)
        return renewed

    async def ended(self) -> list[tuple[str, str]]:
        now = self._now()
        return [key for key, ends in self._ends.items() if now >= ends]

    async def leave(self, topic: str, user: str, left: Entry) -> None:
        if self._now() >= self._ends[topic, user]:
            del self._ends[topic, user]
            await self._send(topic, left.message)
