"""Who is at the other end."""

from ipaddress import IPv6Address, ip_address

from picows.websockets import ServerConnection

# What a proxy says about the client it speaks for. nginx and Apache overwrite all of them; where clients reach us
# without a proxy, the handshake removes them: nobody but a proxy may say who the client is.
FORWARDING_HEADERS = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Real-IP",
)


def peer_address(connection: ServerConnection) -> str:
    """Return the address of whoever opened the TCP connection: the client, or the proxy before us."""
    return readable(connection.remote_address[0])


def client_address(connection: ServerConnection) -> str:
    """Return the client's address as the proxy saw it, or the peer's where no proxy is before us."""
    forwarded = connection.request.headers.get("X-Real-IP")
    return readable(forwarded) if forwarded else peer_address(connection)


def readable(address: str) -> str:
    """Return IPv4 as IPv4: a socket for both families reports it as mapped (RFC 4291 section 2.5.5.2)."""
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
