"""The event loop: uvloop's, where our listener comes in, and where two faults of aiofastnet 1.2.0 are made good."""

from typing import Any

import uvloop

from wss.net.listener import Listener


class ListeningLoop(uvloop.Loop):
    """An event loop whose servers are Listeners.

    `picows.ws_create_server(…, use_aiofastnet=False, **kwargs)` makes its protocols through the running loop's
    `create_server`: that is the place where the accepting can be ours.
    """

    async def create_server(  # type: ignore[override]  # on purpose: see above
        self, protocol_factory: Any, host: None = None, port: None = None, **listener: Any
    ) -> Any:
        """Return a Listener made of these; there is no host and no port, but a socket."""
        assert (host, port) == (None, None)
        return Listener(protocol_factory, **listener)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]  # it gets all of them
        """Watch a descriptor, as every loop does; and wake a TLS transport of aiofastnet that resumes reading.

        It was paused because its handler was busy, and may hold data that it has read but not decrypted. Version 1.2.0
        looks only at the socket then: such data would wait until the client sends something more.
        """
        super().add_reader(fd, callback, *args)
        if retry := getattr(getattr(callback, "__self__", None), "_retry_ssl_read", None):
            self.call_soon(retry)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report what nobody handles; but aiofastnet reports every client that leaves in the handshake, by a class."""
        if context.get("exception") is not ConnectionResetError:
            super().call_exception_handler(context)
