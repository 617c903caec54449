"""Rooms: messages to many clients, on whichever worker they are."""

from wss.connection import plugins
from wss.rooms.membership import Rooms, rooms
from wss.rooms.plugin import RoomsPlugin

__all__ = ["Rooms", "rooms"]

plugins.registered.append(RoomsPlugin(rooms))
