"""picows' protocol (2.3.1) for a connection, as picows.ws_create_server makes it, without its log and its socket."""

import logging
from collections.abc import Callable
from typing import Any

import aiofastnet
from picows import WSAutoPingStrategy, WSUpgradeRequest, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

# Bytes of a connection's receive buffer at the start; picows doubles it whenever it is too small.
_READ_BUFFER = 2048


def new_protocol(
    kind: type[WSProtocol],
    answer: Callable[[WSUpgradeRequest], WSUpgradeResponseWithListener],
    max_message: int,
) -> WSProtocol:
    """Return a protocol of this kind; `answer` decides on its request, `max_message` is in bytes."""
    return kind(
        None,  # host and port: of a client
        None,  # path: of a client
        False,  # is_client_side
        answer,
        _no_log,
        True,  # disconnect_on_exception
        None,  # websocket_handshake_timeout: it gets a complete head at once
        False,  # enable_auto_ping: pings and pongs are Connection's, which knows when a client does not read
        0,  # auto_ping_idle_timeout
        0,  # auto_ping_reply_timeout
        WSAutoPingStrategy.PING_WHEN_IDLE,
        False,  # enable_auto_pong
        max_message,
        None,  # extra_headers: of a client
        _READ_BUFFER,
    )


class _NoLog(logging.LoggerAdapter[logging.Logger]):
    """picows logs each connection and each broken frame. It makes a Logger per connection, except from an adapter."""

    def isEnabledFor(self, _: int) -> bool:  # noqa: N802
        return False

    def log(self, *_: Any, **__: Any) -> None: ...


_no_log = _NoLog(logging.getLogger("wss.picows"))


def hide_socket(transport: Any) -> Any:
    """Return the transport without its socket; one of aiofastnet, for TLS, as it is: picows calls its C functions."""
    return transport if isinstance(transport, aiofastnet.Transport) else _WithoutSocket(transport)


class _WithoutSocket:
    """A transport of uvloop that hides its socket.

    picows sets TCP_NODELAY, as uvloop has, and TCP_QUICKACK, which a new connection has anyway (tcp(7)), and reads four
    options for its log. uvloop makes a new Python socket for each of these: a twentieth of the work for a client.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str) -> Any:
        return self if name == "socket" else None

    # What picows needs of a socket.

    def fileno(self) -> int:
        return int(self._transport.get_extra_info("socket").fileno())

    def setsockopt(self, *_: int) -> None: ...

    def getsockopt(self, *_: int) -> int:
        return 0
