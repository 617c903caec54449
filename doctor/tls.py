"""The fourth step: does the port speak TLS, in which versions, and how well?"""

import re
import ssl
from collections.abc import Iterator
from contextlib import suppress

from doctor.certificate import certificates_of
from doctor.client_hello import (
    GROUPS,
    SSL_3,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    X25519MLKEM768,
    ServerHello,
    offer,
)
from doctor.finding import Finding, good, problem, warning
from doctor.route import Route

VERSIONS = {TLS_1_3: "TLS 1.3", TLS_1_2: "TLS 1.2", TLS_1_1: "TLS 1.1", TLS_1_0: "TLS 1.0", SSL_3: "SSL 3.0"}
OBSOLETE = (TLS_1_1, TLS_1_0, SSL_3)


def shake_hands(route: Route) -> Iterator[Finding]:
    """Is there TLS on the port? What is wrong with the certificate is for the next step."""
    try:
        with route.open_tls() as connection:
            try:
                connection.do_handshake()
            except ssl.SSLCertVerificationError as error:
                route.refusal = error
            finally:
                route.chain = certificates_of(connection)
            spoken = (
                ""
                if route.refusal
                else f"{connection.version()}, {(connection.cipher() or ('',))[0]}".replace("v", " ")
            )
    except OSError as error:
        yield _no_tls(route, error)
        return
    answers = _answers(route)
    taken = [version for version in VERSIONS if answers.get(version) or VERSIONS[version] in spoken]
    yield good(", ".join(VERSIONS[version] for version in taken) + (f"; spoken: {spoken}" if spoken else ""))
    if obsolete := [VERSIONS[version] for version in OBSOLETE if version in taken]:
        yield warning(
            "tls-obsolete",
            f"{', '.join(obsolete)} can be spoken",
            "these versions are broken and forbidden (RFC 7568, RFC 8996)",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3",
        )
    if TLS_1_2 in answers and TLS_1_2 not in taken:
        yield warning(
            "tls-no-1.2",
            "TLS 1.2 cannot be spoken",
            "WeChat mini programs and Android before 10 cannot connect",
            "Allow TLS 1.2 as well (here: TLS_POLICY=intermediate), unless that is meant",
        )
    if TLS_1_3 in answers:
        yield from _look_at_groups(route, TLS_1_3 in taken, answers[TLS_1_3])


def _look_at_groups(route: Route, is_spoken: bool, hello: ServerHello | None) -> Iterator[Finding]:
    if not is_spoken:
        yield warning(
            "tls-no-1.3",
            "TLS 1.3 cannot be spoken",
            "handshakes take one round trip more, and no key exchange is safe from quantum computers",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3",
        )
    elif hello is None:
        return  # it was spoken a moment ago: no verdict
    elif hello.group == X25519MLKEM768 or _offered(route, TLS_1_3, (X25519MLKEM768,)):
        yield good("key exchange: X25519MLKEM768 (safe from quantum computers)")
    else:
        yield warning(
            "tls-no-post-quantum",
            f"no X25519MLKEM768 in the key exchange, but {GROUPS.get(hello.group or 0, 'another group')}",
            "what is recorded today can be read when quantum computers are there; browsers offer better",
            "A server with OpenSSL 3.5 has it by itself, unless its groups are listed without it",
        )


def _answers(route: Route) -> dict[int, ServerHello | None]:
    """Return what the server says to each version: None is a no; of versions without an answer there is nothing."""
    answers = {}
    for version in VERSIONS:
        with suppress(TimeoutError, ConnectionRefusedError):  # a limit on connections, for example
            answers[version] = _offered(route, version, tuple(GROUPS))
    return answers


def _offered(route: Route, version: int, groups: tuple[int, ...]) -> ServerHello | None:
    try:
        with route.open_tcp() as connection:
            hello = offer(connection, route.host, version, groups)
    except (TimeoutError, ConnectionRefusedError):
        raise
    except (OSError, IndexError):
        return None
    return hello if hello and hello.version == version else None


def _no_tls(route: Route, error: OSError) -> Finding:
    """Name what is there instead."""
    reason = getattr(error, "reason", None) or ""
    if not alert_of(error) and (plain := _spoken_in_plain(route)):
        return plain
    if isinstance(error, TimeoutError):
        return problem(
            "tls-silent",
            f"{route.place} accepts, and says nothing for {route.options.timeout:g} s",
            "the server hangs, a balancer has nobody behind it, or it waits for the PROXY protocol or for another"
            " protocol",
            "Look at the server's own log; connect to it directly, past any balancer",
        )
    if "UNRECOGNIZED_NAME" in reason:
        return problem(
            "tls-name",
            f"the server refuses the name {route.host} (unrecognized_name)",
            "it has no certificate for this name, and says so before sending another one",
            f"Add {route.host} to the server's names (nginx: server_name; Apache: ServerAlias; here: DOMAIN)",
        )
    if is_about_client(reason):
        return client_certificate_problem(reason)
    spoken = [VERSIONS[version] for version, hello in _answers(route).items() if hello]
    if spoken and not {"TLS 1.2", "TLS 1.3"} & set(spoken):
        return problem(
            "tls-obsolete-only",
            f"the server speaks {', '.join(spoken)} alone",
            "these versions are broken and forbidden (RFC 7568, RFC 8996); no client of today speaks them",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3; and an OpenSSL of today",
        )
    if alert_of(error):
        return problem(
            "tls-refused",
            f"the server refuses the handshake ({_words(reason) or error})",
            "server and client have no cipher, group or signature in common; the server has no certificate to send; or"
            " it wants one of the client",
            "nginx: ssl_ciphers, ssl_ecdh_curve, ssl_certificate; Apache: SSLCipherSuite, SSLCertificateFile; and"
            " their error log",
        )
    return problem(
        "tls-closed",
        f"{route.place} accepts, and ends the connection in the TLS handshake ({_words(reason) or error})",
        "a balancer has nobody behind it, the server crashes or has no certificate, it expects the PROXY protocol, or a"
        " filter on the way does not let this name through (in mainland China: without an ICP filing)",
        "Look at the server's own log; connect to it directly, past any balancer",
    )


def alert_of(error: OSError) -> str:
    """Return which alert of the server ended the connection; empty: none did."""
    reason = getattr(error, "reason", None) or ""
    # The names of OpenSSL's reasons (openssl/sslerr.h): alerts, and nothing else, begin so.
    return reason if reason.startswith(("SSLV3_", "TLSV1")) else ""


def is_about_client(alert: str) -> bool:
    """Tell whether a server sends this alert about the client's certificate alone (RFC 8446 section 6.2)."""
    return any(word in alert for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))


def client_certificate_problem(seen: str) -> Finding:
    """Return what it means that a server ends the connection over the client's certificate."""
    return problem(
        "client-certificate",
        f"the server refuses this client's certificate, or the lack of one ({_words(seen)})",
        "it serves clients with a certificate of its CA alone, and refuses what is foreign, expired or revoked",
        "Give one with --client-cert FILE (and --client-key FILE); here: CLIENT_CA",
    )


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")


def _spoken_in_plain(route: Route) -> Finding | None:
    request = (
        f"GET {route.path} HTTP/1.1\r\nHost: {route.url.netloc}\r\nConnection: Upgrade\r\nUpgrade:"
        " websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        with route.open_tcp() as connection:
            connection.sendall(request.encode("ascii", "replace"))
            answer = connection.recv(4096).decode("latin-1")
    except OSError:
        return None
    line = answer.splitlines()[0] if answer.strip() else ""
    if line.startswith("HTTP/") and " 101 " in f"{line} ":
        return problem(
            "tls-plain-ws",
            f"{route.place} answers ws:// without TLS ({line})",
            "this is a WebSocket server, but nothing encrypts there: the port is the backend's own, or TLS is not"
            " switched on",
            "Connect to the port of the proxy that terminates TLS (443), or give the server a certificate",
        )
    # A server with TLS says so to plain http, too, in an alert (record type 21) or in a 400.
    if line.startswith("\x15") or (" 400 " in f"{line} " and re.search("https|tls|ssl", answer, re.IGNORECASE)):
        return None
    if line.startswith("HTTP/"):
        return problem(
            "tls-plain-http",
            f"{route.place} answers http:// without TLS ({line})",
            "this is a web server, but nothing encrypts on this port (a client sees: wrong version number)",
            "Connect to the port with TLS (443); nginx: listen 443 ssl (the old `ssl on` is gone); Apache: SSLEngine"
            " on",
        )
    if line and not line.startswith("HTTP/"):
        return problem(
            "tls-other",
            f"{route.place} speaks something else ({line[:60]!r})",
            "neither TLS nor HTTP is spoken on this port",
            "Compare the port: 443 with nginx and Apache, 8282 with direct",
        )
    return None
