"""How often and how long each workload is measured, and its sizes."""

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Results = dict[str, Any]

SMALL = 128  # bytes: the message size of most figures
FEW, MANY = 50, 1000  # connections
# Cores per worker process in the scale workload, so that three workers, a proxy and the generator fit into two cores.
QUOTA = 0.2
# Messages a second in total, over any number of connections.
STEADY = 2000
# Messages a second in total of those that stay connected in a storm: too few to count among the handshakes.
CALM = 500
# Bytes of a message, messages in flight, connections: the workloads for close comparisons.
PAIR = ((SMALL, 1, FEW), (SMALL, 16, FEW))


@dataclass(frozen=True)
class Settings:
    """Numbers of rounds and sizes of the workloads."""

    rounds: int
    rounds_of_pairs: int
    """For comparisons of two subjects that differ by a few percent."""
    rounds_of_long: int
    """For workloads that take seconds, or have many sizes."""
    seconds: float
    seconds_with_pings: float
    """For many connections: the server pings each client every 20 s."""
    sizes: tuple[tuple[int, int, int], ...]
    """Bytes of a message, messages in flight, connections: beside `PAIR`."""
    members: int
    """Clients of a broadcast."""
    dropped: int
    """Clients that a storm drops."""
    steps: tuple[int, ...]
    """Numbers of connections; the first for each subject."""
    loads: tuple[float, ...]
    """Shares of saturation."""


FULL = Settings(
    rounds=5,
    rounds_of_pairs=7,
    rounds_of_long=3,
    seconds=0.2,
    seconds_with_pings=1,
    sizes=((4096, 1, FEW), (65536, 1, FEW), (1 << 20, 1, FEW), (SMALL, 1, MANY), (SMALL, 16, MANY)),
    members=MANY,
    dropped=500,
    steps=(2000, 10000),
    loads=(0.1, 0.2, 0.4, 0.6, 0.8),
)
SHORT = Settings(
    rounds=2,
    rounds_of_pairs=2,
    rounds_of_long=2,
    seconds=0.2,
    seconds_with_pings=0.5,
    sizes=((4096, 1, FEW), (65536, 1, FEW)),
    members=200,
    dropped=200,
    steps=(500, 1000),
    loads=(0.2, 0.4, 0.8),
)
QUICK = Settings(
    rounds=1,
    rounds_of_pairs=1,
    rounds_of_long=1,
    seconds=0.1,
    seconds_with_pings=0.1,
    sizes=((4096, 1, FEW),),
    members=FEW,
    dropped=FEW,
    steps=(100, 200),
    loads=(0.2, 0.4),
)
