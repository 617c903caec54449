"""The end of access from outside: `close --user ann` in the container, POST /close on the port of the metrics."""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from websockets.exceptions import ProtocolError

from wss.outside import TARGETS, Endpoint, RequestError, argument_parser, ask_workers, decode, encode, read_query, run
from wss.protocol.close import ACCESS_ENDED, check_close

CLOSE = "close"  # the command of the control socket
_OPTIONS = ("code", "reason")


class Close(NamedTuple):
    """The clients whose connections are closed, and how."""

    kind: str
    """One of TARGETS."""
    name: str
    """Of the room or the user, or the id of the client."""
    code: int
    reason: str

    def encode(self) -> str:
        """Return it as one word for the control socket."""
        return encode(self)

    @classmethod
    def decode(cls, word: str) -> "Close":
        return cls(*decode(word))

    @classmethod
    def parse(cls, kind: str, name: str, code: str, reason: str) -> "Close":
        """Raises RequestError for a code or a reason that a close frame must not have."""
        try:
            check_close(int(code), reason)
        except (ProtocolError, ValueError) as error:  # a UnicodeEncodeError is a ValueError
            raise RequestError(HTTPStatus.BAD_REQUEST, f"code={code!r}, reason={reason!r}: {error}.") from None
        return cls(kind, name, int(code), reason)


def close(run_dir: Path, request: Close) -> int:
    """Close the connections, and return how many workers were reached. Raises RequestError."""
    return ask_workers(run_dir, CLOSE, request.encode())


class CloseEndpoint(Endpoint):
    """POST /close?user=NAME (or room=NAME, client=ID), with &code=NUMBER and &reason=TEXT if they are to be others."""

    def carry_out(self, environ: Mapping[str, Any]) -> int:
        pairs = read_query(environ)
        given = dict(pairs)
        targets = [name for name in given if name not in _OPTIONS]
        if len(given) < len(pairs) or len(targets) != 1 or targets[0] not in TARGETS:
            text = "Give one of ?room=NAME, ?user=NAME, ?client=ID; with it, &code=NUMBER and &reason=TEXT."
            raise RequestError(HTTPStatus.BAD_REQUEST, text)
        code, reason = given.get("code", str(ACCESS_ENDED)), given.get("reason", "")
        return close(self._run_dir, Close.parse(targets[0], given[targets[0]], code, reason))


def _main() -> None:
    parser, _ = argument_parser("close", "Close the connections of clients of this server.")
    parser.add_argument("--code", default=str(ACCESS_ENDED), help="the close code (default: %(default)s)")
    parser.add_argument("--reason", default="", help="up to 123 bytes")
    arguments = parser.parse_args()
    kind, name = next((kind, name) for kind in TARGETS if (name := getattr(arguments, kind)) is not None)
    run(lambda run_dir, _: close(run_dir, Close.parse(kind, name, arguments.code, arguments.reason)), "carried out")


if __name__ == "__main__":
    _main()
