"""HTTP requests for a websocket."""

from collections.abc import Iterator
from typing import NamedTuple

from multidict import CIMultiDict
from picows import WSUpgradeRequest
from picows.picows import _parse_http_request  # type: ignore[attr-defined]  # the stub leaves it out


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
        """Parse a head that ends after its last header; return None if it is malformed.

        With the parser of picows, which reads the request later: two parsers could disagree.
        """
        try:
            return cls.from_picows(_parse_http_request(head.removesuffix(b"\r\n")))
        except RuntimeError:
            return None

    def opaque_headers(self) -> Iterator[tuple[str, str]]:
        """Yield names and values, with bytes that are not ASCII as ISO-8859-1, as websockets has them."""
        for name, value in self.headers.items():
            yield name, value.encode("ascii", "surrogateescape").decode("iso-8859-1")

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.target.partition("?")[0]
