"""HTTP requests for a websocket."""

from typing import NamedTuple

from multidict import CIMultiDict
from picows import WSUpgradeRequest


class HttpRequest(NamedTuple):
    """The head of a GET request."""

    target: str
    """The path with its query, as the client sent it."""
    headers: CIMultiDict[str]

    @classmethod
    def from_picows(cls, upgrade: WSUpgradeRequest) -> "HttpRequest":
        return cls(upgrade.path.decode("ascii", "surrogateescape"), upgrade.headers)

    @property
    def path(self) -> str:
        """The path without its query."""
        return self.target.partition("?")[0]
