"""The networks that this machine, or container, is on."""

import fcntl
import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path

# netdevice(7); the numbers are those of linux/sockios.h.
_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B
_GLOBAL_SCOPE = "00"


def own_networks() -> Iterator[IPv4Network | IPv6Network]:
    """Yield the network of each address of an interface, but those of loopback and link-local IPv6."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # no IPv4 address
                address, mask = (
                    socket.inet_ntoa(fcntl.ioctl(any_socket, request, name.encode().ljust(40, b"\0"))[20:24])
                    for request in (_SIOCGIFADDR, _SIOCGIFNETMASK)
                )
                if not (network := ip_interface(f"{address}/{mask}").network).is_loopback:
                    yield network
    with suppress(FileNotFoundError):  # a kernel without IPv6
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, _, prefix, scope, *_ = line.split()
            if scope == _GLOBAL_SCOPE:
                yield ip_interface((bytes.fromhex(digits), int(prefix, 16))).network
