"""Rooms: messages to many clients, on whichever worker they are."""

from wss.rooms.membership import Rooms, rooms

__all__ = ["Rooms", "rooms"]
