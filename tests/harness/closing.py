"""How a websocket closes, from the client's side."""

import json
from contextlib import suppress

import websocket
from websocket import ABNF

GOING_AWAY = 1001
SERVICE_RESTART = 1012


def close_code(ws: websocket.WebSocket) -> int:
    """Wait for the close frame and answer it; return its code."""
    opcode = ABNF.OPCODE_PING
    while opcode == ABNF.OPCODE_PING:  # recv_data_frame answers it
        opcode, frame = ws.recv_data_frame(control_frame=True)
    assert opcode == ABNF.OPCODE_CLOSE
    return int.from_bytes(frame.data[:2], "big")


def send_until_closed(ws: websocket.WebSocket) -> int:
    """Send and receive messages until a close frame arrives; return its code."""
    while True:
        with suppress(OSError):  # the close frame can still be read
            ws.send("tom")
        opcode, frame = ws.recv_data_frame(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return int.from_bytes(frame.data[:2], "big")


def server_and_process(ws: websocket.WebSocket) -> tuple[str, int]:
    """Return the host name of the container that serves this websocket, and the worker's PID (app whoami)."""
    ws.send("who are you?")
    seen = json.loads(ws.recv())
    return seen["server"], seen["process"]
