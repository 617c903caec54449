"""The first three steps: the URL, the name, the port."""

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlunsplit

from doctor.finding import Finding, good, problem, warning
from doctor.patience import within
from doctor.route import Route

PLAIN_PORTS = (80,)
# What a machine without IPv6 says of an IPv6 address.
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def look_at_url(route: Route) -> Iterator[Finding]:
    """Is this an address of a WebSocket over TLS?"""
    url = route.url
    if url.scheme != "wss":
        port = "" if url.port in (None, *PLAIN_PORTS) else f":{url.port}"
        host = f"[{route.host}]" if ":" in route.host else route.host
        means = {
            "ws": "ws:// is not encrypted; pages from https:// may not open it, and a port with TLS does not take it",
        }.get(url.scheme, f"{url.scheme}:// is for pages; a WebSocket over TLS begins with wss://")
        yield problem(
            "url-ws" if url.scheme == "ws" else "url-http",
            f"{url.scheme}:// in {url.geturl()}",
            means,
            urlunsplit(("wss", f"{host}{port}", url.path, url.query, "")),
        )
        return
    notes = ["no path: / is asked for"] * (not url.path) + ["an address: few certificates cover one"] * is_address(
        route.host
    )
    yield good(f"{url.geturl()}, port {route.port}" + (f" ({'; '.join(notes)})" if notes else ""))
    if route.port in PLAIN_PORTS:
        yield warning(
            "url-port",
            f"port {route.port} with wss://",
            "this port is for plain http nearly everywhere",
            "Leave the port out (443), or give the one that speaks TLS",
        )


def look_up(route: Route) -> Iterator[Finding]:
    """Which addresses has the name?"""
    given = [address for name, port, address in route.options.resolve if (name, port) == (route.host, route.port)]
    if given or is_address(route.host):
        route.addresses = given or [route.host]
        yield good(f"{', '.join(route.addresses)} ({'by --resolve' if given else 'no name to look up'})")
        return
    try:
        found = within(
            route.options.timeout, lambda: socket.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as failure:
        yield _no_address(route, failure)
        return
    route.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    yield good(f"{route.host} is {', '.join(route.addresses)}")
    if route.host == "localhost":
        return
    if all(":" in address for address in route.addresses):
        yield warning(
            "dns-ipv6-only",
            f"{route.host} has IPv6 addresses alone",
            "clients in networks without IPv6 cannot reach it",
            "Add an A record",
        )
    if any(ip_address(address.partition("%")[0]).is_private for address in route.addresses):
        yield warning(
            "dns-private",
            f"{route.host} has an address of a private network",
            "only clients of that network can reach it",
            "Let the public DNS have the public address",
        )


def _no_address(route: Route, failure: Exception) -> Finding:
    if isinstance(failure, TimeoutError) or getattr(failure, "errno", None) == socket.EAI_AGAIN:
        return problem(
            "dns-silent",
            f"no DNS server tells the address of {route.host} ({failure})",
            "the DNS server that this machine asks does not answer: it is this machine's network, or that server",
            "Look at this machine's /etc/resolv.conf; try another resolver; or --resolve NAME:PORT:ADDRESS",
        )
    return problem(
        "dns-none",
        f"{route.host} has no address ({failure})",
        "the name does not exist, is misspelt, or its DNS record is missing or too new",
        f"Create an A record (and AAAA) for {route.host}; or --resolve NAME:PORT:ADDRESS",
    )


def connect(route: Route) -> Iterator[Finding]:
    """Does anything listen there?"""
    failures: dict[str, OSError] = {}
    for address in route.addresses:
        try:
            with route.open_tcp(address):
                route.address = route.address or address
        except OSError as error:
            failures[address] = error
    if not route.address:
        yield _no_connection(route, *next(iter(failures.items())))
        return
    yield good(f"{route.place} accepts connections")
    for address, refusal in failures.items():
        if ":" in address and refusal.errno in NO_WAY:
            yield good(f"{address} cannot be tried: there is no IPv6 here")
        # A name that means this machine has ::1 as well, whatever is published there.
        elif not ip_address(address.partition("%")[0]).is_loopback:
            yield warning(
                "tcp-partly",
                f"{address} does not ({refusal})",
                "clients that try this address first wait, or fail",
                f"Let the server listen on {address}, or take it out of the DNS",
            )


def _no_connection(route: Route, address: str, error: OSError) -> Finding:
    where = f"{address}, port {route.port}"
    if isinstance(error, ConnectionRefusedError):
        return problem(
            "tcp-refused",
            f"{where}: connection refused",
            "the machine is there, and nothing listens on this port",
            "Start the server (docker compose ps); compare the port: 443 with nginx and Apache, 8282 with direct",
        )
    if isinstance(error, TimeoutError):
        return problem(
            "tcp-timeout",
            f"{where}: no answer for {route.options.timeout:g} s",
            "a firewall or a cloud's security group drops what is sent there, or the machine is down",
            f"Open port {route.port} for TCP in the firewall and in the cloud's security group",
        )
    return problem(
        "tcp-unreachable",
        f"{where}: {error.strerror or error}",
        "there is no way to this address from here",
        "Compare the address in the DNS with the server's; check the network, and IPv6 where it is an IPv6 address",
    )
