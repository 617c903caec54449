"""HTTP requests for a websocket."""

from collections.abc import Iterator
from typing import NamedTuple

from multidict import CIMultiDict
from picows import WSUpgradeRequest
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request
from websockets.streams import StreamReader


class HttpRequest(NamedTuple):
    """The head of a GET request."""

    target: str
    """The path with its query, as the client sent it."""
    headers: CIMultiDict[str]

    @classmethod
    def from_picows(cls, upgrade: WSUpgradeRequest) -> "HttpRequest":
        return cls(upgrade.path.decode("ascii", "surrogateescape"), upgrade.headers)

    @classmethod
    def parse(cls, head: bytes) -> "HttpRequest | None":
        """Parse a head that ends after its last header; return None if it is malformed, which picows answers."""
        reader = StreamReader()
        reader.feed_data(head + b"\r\n")
        parsing = Request.parse(reader.read_line)
        try:
            next(parsing)
        except StopIteration as stop:
            request: Request = stop.value
            items = ((name, value.encode("iso-8859-1")) for name, value in request.headers.raw_items())
            return cls(
                request.path, CIMultiDict((name, value.decode("ascii", "surrogateescape")) for name, value in items)
            )
        except (ValueError, InvalidHandshake):
            pass
        return None

    def opaque_headers(self) -> Iterator[tuple[str, str]]:
        """Yield names and values, with bytes that are not ASCII as ISO-8859-1, as websockets has them."""
        for name, value in self.headers.items():
            yield name, value.encode("ascii", "surrogateescape").decode("iso-8859-1")

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.target.partition("?")[0]
