"""The event loop: uvloop, with workarounds for two bugs of aiofastnet 1.2.0."""

from typing import Any

import uvloop


class Loop(uvloop.Loop):
    """The event loop of a worker."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]  # passes all on
        """Watch a descriptor, as every loop does. Also wake a TLS transport of aiofastnet that resumes reading.

        A paused transport may hold data that it has read from the socket but not decrypted. When it resumes, version
        1.2.0 checks only the socket: without the wake-up, this data would wait until the client sends more.
        """
        super().add_reader(fd, callback, *args)
        if retry := getattr(getattr(callback, "__self__", None), "_retry_ssl_read", None):
            self.call_soon(retry)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report unhandled exceptions, except the class ConnectionResetError.

        aiofastnet reports this class, not an instance, if a client leaves during the TLS handshake.
        """
        if context.get("exception") is not ConnectionResetError:
            super().call_exception_handler(context)
