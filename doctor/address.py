"""The first three checks: URL, DNS and TCP."""

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlunsplit

from doctor.context import Context
from doctor.finding import Finding, good, problem, warning
from doctor.timeouts import run_with_timeout

PLAIN_HTTP_PORTS = (80,)
# Errors of a connection to an IPv6 address on a machine without IPv6.
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def check_url(context: Context) -> Iterator[Finding]:
    """Is this the URL of a WebSocket over TLS?"""
    url = context.url
    if url.scheme != "wss":
        port = "" if url.port in (None, *PLAIN_HTTP_PORTS) else f":{url.port}"
        host = f"[{context.host}]" if ":" in context.host else context.host
        means = {
            "ws": "ws:// is not encrypted: browsers block it on https:// pages, and a TLS port refuses it",
        }.get(url.scheme, f"{url.scheme}:// is for web pages; the URL of a WebSocket over TLS begins with wss://")
        yield problem(
            "url-ws" if url.scheme == "ws" else "url-http",
            f"{url.scheme}:// in {url.geturl()}",
            means,
            urlunsplit(("wss", f"{host}{port}", url.path, url.query, "")),
        )
        return
    notes = ["no path: requests /"] * (not url.path) + ["an IP address: few certificates cover one"] * is_address(
        context.host
    )
    yield good(f"{url.geturl()}, port {context.port}" + (f" ({'; '.join(notes)})" if notes else ""))
    if context.port in PLAIN_HTTP_PORTS:
        yield warning(
            "url-port",
            f"port {context.port} with wss://",
            "this port usually serves plain HTTP",
            "Omit the port (443), or give the one that serves TLS",
        )


def check_dns(context: Context) -> Iterator[Finding]:
    """Which addresses does the name have?"""
    given = [address for name, port, address in context.options.resolve if (name, port) == (context.host, context.port)]
    if given or is_address(context.host):
        context.addresses = given or [context.host]
        yield good(f"{', '.join(context.addresses)} ({'from --resolve' if given else 'an address needs no lookup'})")
        return
    try:
        found = run_with_timeout(
            context.options.timeout, lambda: socket.getaddrinfo(context.host, context.port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        yield _lookup_problem(context, error)
        return
    context.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    yield good(f"{context.host} is {', '.join(context.addresses)}")
    if context.host == "localhost":
        return
    if all(":" in address for address in context.addresses):
        yield warning(
            "dns-ipv6-only",
            f"{context.host} has only IPv6 addresses",
            "clients on networks without IPv6 cannot reach it",
            "Add an A record",
        )
    if any(ip_address(address.partition("%")[0]).is_private for address in context.addresses):
        yield warning(
            "dns-private",
            f"{context.host} has a private address",
            "only clients on that network can reach it; and Chrome, since 147, asks its user before a page from a"
            " public address may connect (ERR_BLOCKED_BY_LOCAL_NETWORK_ACCESS_CHECKS)",
            "Publish the public address in the public DNS; or serve the page from the same network, let users allow it,"
            ' and give iframes allow="local-network-access"',
        )


def _lookup_problem(context: Context, error: Exception) -> Finding:
    if isinstance(error, TimeoutError) or getattr(error, "errno", None) == socket.EAI_AGAIN:
        return problem(
            "dns-silent",
            f"no DNS server returns an address of {context.host} ({error})",
            "the DNS server of this machine does not answer: the fault is in this machine's network or that server",
            "Check /etc/resolv.conf on this machine; try another resolver; or use --resolve NAME:PORT:ADDRESS",
        )
    return problem(
        "dns-none",
        f"{context.host} has no address ({error})",
        "the name does not exist, is misspelt, or its DNS record is missing or too new",
        f"Create an A record (and AAAA) for {context.host}; or use --resolve NAME:PORT:ADDRESS",
    )


def check_tcp(context: Context) -> Iterator[Finding]:
    """Does a server listen on the port?"""
    errors: dict[str, OSError] = {}
    for address in context.addresses:
        try:
            with context.open_tcp(address):
                context.address = context.address or address
        except OSError as error:
            errors[address] = error
    if not context.address:
        yield _connect_problem(context, *next(iter(errors.items())))
        return
    yield good(f"{context.endpoint} accepts connections")
    for address, failure in errors.items():
        if ":" in address and failure.errno in UNREACHABLE:
            yield good(f"{address} was not checked: this machine has no IPv6")
        # localhost resolves to ::1 as well, even if the port is published on IPv4 only.
        elif not ip_address(address.partition("%")[0]).is_loopback:
            yield warning(
                "tcp-partly",
                f"{address} does not accept connections ({failure})",
                "clients that try this address first wait, or fail",
                f"Make the server listen on {address}, or remove it from the DNS",
            )


def _connect_problem(context: Context, address: str, error: OSError) -> Finding:
    target = f"{address}, port {context.port}"
    if isinstance(error, ConnectionRefusedError):
        return problem(
            "tcp-refused",
            f"{target}: connection refused",
            "the machine is reachable, but no server listens on this port",
            "Start the server (docker compose ps); check the port: 443 for nginx and Apache, 8282 for direct",
        )
    if isinstance(error, TimeoutError):
        return problem(
            "tcp-timeout",
            f"{target}: no answer within {context.options.timeout:g} s",
            "a firewall or a cloud's security group drops the packets, or the machine is down",
            f"Open port {context.port} for TCP in the firewall and in the cloud's security group",
        )
    return problem(
        "tcp-unreachable",
        f"{target}: {error.strerror or error}",
        "this machine has no route to the address",
        "Compare the address in the DNS with the server's; check the network, and IPv6 if it is an IPv6 address",
    )
