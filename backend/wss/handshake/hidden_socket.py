"""A transport that hides its socket from picows (2.3.1).

picows sets TCP_NODELAY, as uvloop has, and TCP_QUICKACK, which a new connection has anyway (tcp(7)), and reads four
options for its log. uvloop makes a new Python socket for each of these: a twentieth of the work for a client.
"""

from typing import Any

import aiofastnet


def hide_socket(transport: Any) -> Any:
    """Return the transport without its socket; one of aiofastnet, for TLS, as it is: picows calls its C functions."""
    return transport if isinstance(transport, aiofastnet.Transport) else _WithoutSocket(transport)


class _WithoutSocket:
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
