"""Data frames with the attributes of picows' frames, for tests without a server."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass
class Data:
    """A data frame."""

    payload: bytes
    fin: int = 1
    rsv1: int = 0
    rsv2: int = 0
    rsv3: int = 0

    def get_payload_as_bytes(self) -> bytes:
        return self.payload


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Split a message at these positions; return the payloads of its frames."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
