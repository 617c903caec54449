"""The kept messages of rooms in the hub: one Valkey stream per room, written together with the publication.

The ID of a message in the stream is `offset-0`. A hash beside the stream has the epoch of the room, the offset of its
last message, and what the limits need. Both expire by themselves. A hub that has lost them (a restart without
HUB_PERSIST) begins a new epoch. https://valkey.io/topics/streams-intro/
"""

import json
from typing import TYPE_CHECKING, Any

from wss.config.history import Limits
from wss.rooms.kept import Position
from wss.rooms.store import PAGE_MESSAGES, PAGE_SIZE, REMEMBERED, Appended, Entry, Page, new_epoch

if TYPE_CHECKING:
    from wss.rooms.hub import Hub

# A script runs alone, so that offsets have no holes and publications have the order of their offsets.
_PREPARE = """
local stream, room = KEYS[1], KEYS[2]
local max_messages, max_size, max_age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', room, 'epoch', 'last', 'size', 'trimmed')
local epoch = state[1]
local last, size, trimmed = tonumber(state[2]) or 0, tonumber(state[3]) or 0, tonumber(state[4]) or 0
if not epoch then
    epoch = ARGV[4]
    redis.call('DEL', stream)
end
local count = redis.call('XLEN', stream)
if count == 0 then  -- all have expired
    size = 0
end

-- What is too old uses no more memory than the limits allow: it is removed when it is read, or exceeds them.
local function trim(by_age)
    while count > 0 and (by_age or count > max_messages or size > max_size) do
        local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
        local is_old = now >= tonumber(entry[2][2]) + max_age
        if not (is_old or count > max_messages or size > max_size) then
            return
        end
        if not is_old then
            trimmed = last - count + 1
        end
        size = size - tonumber(entry[2][4])
        count = count - 1
        redis.call('XDEL', stream, entry[1])
    end
end

local function store()
    redis.call('HSET', room, 'epoch', epoch, 'last', last, 'size', size, 'trimmed', trimmed)
    redis.call('PEXPIRE', room, max_age + ARGV[5])
end
"""

# ARGV: limits, new epoch, milliseconds to remember, size, contents, channel.
_APPEND = (
    _PREPARE
    + """
local function append()
    last = last + 1
    count = count + 1
    size = size + tonumber(ARGV[6])
    redis.call('XADD', stream, last .. '-0', 't', now, 's', ARGV[6], 'c', ARGV[7])
    trim(false)
    redis.call('PEXPIRE', stream, max_age)
    store()
    return {epoch, last, redis.call('PUBLISH', ARGV[8], epoch .. ':' .. last .. '\\n' .. ARGV[7])}
end
"""
)
APPEND = _APPEND + "return append()"
# The beginning of a script that sends a message to a room: like APPEND if it is kept, which is ARGV[9].
ANNOUNCE = (
    _APPEND
    + """
local function announce()
    if ARGV[9] == '1' then
        append()
    else
        redis.call('PUBLISH', ARGV[8], ARGV[7])
    end
end
"""
)

# ARGV: limits, new epoch, milliseconds to remember, epoch and offset to start after (or empty), max messages, max size.
READ = (
    _PREPARE
    + """
trim(true)
store()
if ARGV[6] == '' then
    return {epoch, last, '', last, {}}
end
local first, start, gap = last - count, tonumber(ARGV[7]), ''
if ARGV[6] ~= epoch or start > last then
    gap = 'epoch'
elseif start < first then
    gap = start < trimmed and 'trimmed' or 'expired'
end
if gap ~= '' then
    start = first
end
local entries, read = {}, 0
for _, entry in ipairs(redis.call('XRANGE', stream, (start + 1) .. '-0', '+', 'COUNT', ARGV[8])) do
    if read >= tonumber(ARGV[9]) then
        break
    end
    read = read + tonumber(entry[2][4])
    entries[#entries + 1] = entry[2][6]
end
return {epoch, last, gap, start, entries}
"""
)
SCRIPTS = {"append": APPEND, "read": READ}


class StreamStore:
    """Keeps messages in the hub, which gives them to `Rooms.receive` of all workers that have clients in the room."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub

    async def append(self, topic: str, limits: Limits, entry: Entry) -> Appended | None:
        arguments = encode_publication(topic, entry, is_kept=True)
        reply = await self._hub.run_script("append", history_keys(topic), *limits_of(limits), *arguments)
        if reply is None:
            return None
        epoch, last, workers = reply
        return Appended(Position(epoch.decode(), last), workers)

    async def read(self, topic: str, limits: Limits, since: Position | None) -> Page | None:
        # An empty epoch requests the last position; one that no room has, everything that is kept.
        after = (since.epoch or "none", since.offset) if since else ("", 0)
        arguments = (*after, PAGE_MESSAGES, PAGE_SIZE)
        reply = await self._hub.run_script("read", history_keys(topic), *limits_of(limits), *arguments)
        if reply is None:
            return None
        epoch, last, gap, start, entries = reply
        position = Position(epoch.decode(), start)
        return Page(position, gap.decode() or None, [decode(entry) for entry in entries], last)


def encode(entry: Entry) -> bytes:
    return json.dumps([entry.kind, entry.exclude]).encode() + b"\n" + entry.payload


def decode(contents: bytes) -> Entry:
    head, _, payload = contents.partition(b"\n")
    kind, exclude = json.loads(head)
    return Entry(kind, payload, exclude)


def decode_publication(contents: bytes) -> tuple[Position, Entry] | None:
    """Return position and entry of a publication, or None if it is not one of a kept message."""
    if contents.startswith(b"{"):
        return None
    position, _, entry = contents.partition(b"\n")
    return Position.parse(position.decode()), decode(entry)


def encode_publication(topic: str, entry: Entry, *, is_kept: bool) -> tuple[int, bytes, str]:
    """Return what APPEND and ANNOUNCE need: size, contents and channel."""
    if is_kept:
        return len(entry.payload), encode(entry), topic
    head = {"from": "hub", "kind": entry.kind}  # of no worker, so that all workers deliver it
    return len(entry.payload), json.dumps(head).encode() + b"\n" + entry.payload, topic


def history_keys(topic: str) -> tuple[str, str]:
    return f"history:{topic}", f"history-state:{topic}"


def limits_of(limits: Limits | None) -> tuple[Any, ...]:
    """Return the limits as arguments of a script; None: of a room that keeps nothing."""
    limits = limits or Limits()
    remembered = round(1000 * REMEMBERED)
    return limits.messages, limits.size, round(1000 * limits.seconds), new_epoch(), remembered
