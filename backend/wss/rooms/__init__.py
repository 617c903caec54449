"""Rooms: messages to groups of clients, on any worker."""

from wss.connection import plugins
from wss.rooms.api import Rooms, exchange, rooms
from wss.rooms.kept import Kept, Position, Start, json_envelope
from wss.rooms.plugin import RoomsPlugin
from wss.rooms.presence import Presence, json_presence

__all__ = ["Kept", "Position", "Presence", "Rooms", "Start", "json_envelope", "json_presence", "rooms"]

plugins.registered.append(RoomsPlugin(rooms, exchange))
