"""Data frames as picows hands them over, for tests without a server."""

from dataclasses import dataclass
from itertools import pairwise


@dataclass
class Data:
    """One frame."""

    payload: bytes
    fin: int = 1
    rsv1: int = 0
    rsv2: int = 0
    rsv3: int = 0

    def get_payload_as_bytes(self) -> bytes:
        return self.payload


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return the payloads of the frames that these cuts make of a message."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
