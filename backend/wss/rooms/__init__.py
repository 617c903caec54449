"""Rooms: messages to groups of clients, on any worker."""

from wss.connection import plugins
from wss.rooms.api import Rooms, rooms
from wss.rooms.plugin import RoomsPlugin

__all__ = ["Rooms", "rooms"]

plugins.registered.append(RoomsPlugin(rooms))
