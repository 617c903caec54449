"""The event loop: uvloop's, with two faults of aiofastnet 1.2.0 corrected."""

from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """What the worker runs in."""

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
