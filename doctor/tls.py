"""The fourth check: does the port speak TLS, in which versions, and with which key exchange?"""

import re
import ssl
from collections.abc import Iterator
from contextlib import suppress

from doctor.certificate import sent_chain
from doctor.client_hello import (
    GROUPS,
    SSL_3,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    X25519MLKEM768,
    ServerHello,
    send_client_hello,
)
from doctor.context import Context
from doctor.finding import Finding, good, problem, warning

VERSIONS = {TLS_1_3: "TLS 1.3", TLS_1_2: "TLS 1.2", TLS_1_1: "TLS 1.1", TLS_1_0: "TLS 1.0", SSL_3: "SSL 3.0"}
OBSOLETE = (TLS_1_1, TLS_1_0, SSL_3)


def check_tls(context: Context) -> Iterator[Finding]:
    """Is there TLS on the port? The next check reports what is wrong with the certificate."""
    try:
        with context.open_tls() as connection:
            try:
                connection.do_handshake()
            except ssl.SSLCertVerificationError as error:
                context.verify_error = error
            finally:
                context.chain = sent_chain(connection)
            negotiated = (
                ""
                if context.verify_error
                else f"{connection.version()}, {(connection.cipher() or ('',))[0]}".replace("v", " ")
            )
    except OSError as error:
        yield _handshake_problem(context, error)
        return
    answers = _server_hellos(context)
    accepted = [version for version in VERSIONS if answers.get(version) or VERSIONS[version] in negotiated]
    yield good(
        ", ".join(VERSIONS[version] for version in accepted) + (f"; negotiated: {negotiated}" if negotiated else "")
    )
    if obsolete := [VERSIONS[version] for version in OBSOLETE if version in accepted]:
        yield warning(
            "tls-obsolete",
            f"the server accepts {', '.join(obsolete)}",
            "these versions are broken and prohibited (RFC 7568, RFC 8996)",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3",
        )
    if TLS_1_2 in answers and TLS_1_2 not in accepted:
        yield warning(
            "tls-no-1.2",
            "the server does not accept TLS 1.2",
            "WeChat mini programs and Android before 10 cannot connect",
            "Allow TLS 1.2 as well (this stack: TLS_POLICY=intermediate), unless this is intended",
        )
    if TLS_1_3 in answers:
        yield from _check_key_exchange(context, TLS_1_3 in accepted, answers[TLS_1_3])


def _check_key_exchange(context: Context, is_accepted: bool, hello: ServerHello | None) -> Iterator[Finding]:
    if not is_accepted:
        yield warning(
            "tls-no-1.3",
            "the server does not accept TLS 1.3",
            "handshakes need one more round trip, and no key exchange is safe from quantum computers",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3",
        )
    elif hello is None:
        return  # TLS 1.3 was negotiated before, so this refusal proves nothing
    elif hello.group == X25519MLKEM768 or _offer(context, TLS_1_3, (X25519MLKEM768,)):
        yield good("key exchange: X25519MLKEM768 (safe from quantum computers)")
    else:
        yield warning(
            "tls-no-post-quantum",
            f"the key exchange uses {GROUPS.get(hello.group or 0, 'another group')}, not X25519MLKEM768",
            "quantum computers will be able to decrypt traffic that is recorded today; browsers offer X25519MLKEM768",
            "OpenSSL 3.5 accepts it by default; if the server's configuration lists groups, add it",
        )


def _server_hellos(context: Context) -> dict[int, ServerHello | None]:
    """Return the server's answer to each version; None: refused; a version without an answer is left out."""
    answers = {}
    for version in VERSIONS:
        with suppress(TimeoutError, ConnectionRefusedError):  # a limit on connections, for example
            answers[version] = _offer(context, version, tuple(GROUPS))
    return answers


def _offer(context: Context, version: int, groups: tuple[int, ...]) -> ServerHello | None:
    try:
        with context.open_tcp() as connection:
            hello = send_client_hello(connection, context.host, version, groups)
    except (TimeoutError, ConnectionRefusedError):
        raise
    except (OSError, IndexError):
        return None
    return hello if hello and hello.version == version else None


def _handshake_problem(context: Context, error: OSError) -> Finding:
    reason = getattr(error, "reason", None) or ""
    if not alert_of(error) and (plain := _plain_text_problem(context)):
        return plain
    if isinstance(error, TimeoutError):
        return problem(
            "tls-silent",
            f"{context.endpoint} accepts the connection, but sends nothing for {context.options.timeout:g} s",
            "the server hangs, a balancer has no backend, or the port expects the PROXY protocol or another protocol",
            "Check the server's log; connect to the server directly, bypassing any balancer",
        )
    if "UNRECOGNIZED_NAME" in reason:
        return problem(
            "tls-name",
            f"the server refuses the name {context.host} (unrecognized_name)",
            "it has no certificate for this name, and refuses the handshake instead of sending another certificate",
            f"Add {context.host} to the server's names (nginx: server_name; Apache: ServerAlias; this stack: DOMAIN)",
        )
    if is_about_client_certificate(reason):
        return client_certificate_problem(reason)
    accepted = [VERSIONS[version] for version, hello in _server_hellos(context).items() if hello]
    if accepted and not {"TLS 1.2", "TLS 1.3"} & set(accepted):
        return problem(
            "tls-obsolete-only",
            f"the server accepts only {', '.join(accepted)}",
            "these versions are broken and prohibited (RFC 7568, RFC 8996); no current client accepts them",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3; Apache: SSLProtocol -all +TLSv1.2 +TLSv1.3; and a current OpenSSL",
        )
    if alert_of(error):
        return problem(
            "tls-refused",
            f"the server refuses the handshake ({_readable(reason) or error})",
            "server and client have no cipher, group or signature algorithm in common; or the server has no certificate"
            " to send; or it requires one from the client",
            "nginx: ssl_ciphers, ssl_ecdh_curve, ssl_certificate; Apache: SSLCipherSuite, SSLCertificateFile; and"
            " their error log",
        )
    return problem(
        "tls-closed",
        f"{context.endpoint} accepts the connection, but closes it in the TLS handshake ({_readable(reason) or error})",
        "a balancer has no backend, the server crashes or has no certificate, it expects the PROXY protocol, or a"
        " filter on the network path blocks this name (in mainland China: without an ICP filing)",
        "Check the server's log; connect to the server directly, bypassing any balancer",
    )


def alert_of(error: OSError) -> str:
    """Return the alert with which the server ended the connection; empty: it sent none."""
    reason = getattr(error, "reason", None) or ""
    # In OpenSSL (openssl/sslerr.h) only the reasons that are alerts begin like this.
    return reason if reason.startswith(("SSLV3_", "TLSV1")) else ""


def is_about_client_certificate(alert: str) -> bool:
    """Return whether servers send this alert only about the client's certificate (RFC 8446 section 6.2)."""
    return any(word in alert for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))


def client_certificate_problem(seen: str) -> Finding:
    return problem(
        "client-certificate",
        f"the server refuses this client's certificate, or requires one ({_readable(seen)})",
        "it serves only clients with a certificate of its CA that is neither expired nor revoked",
        "Give one with --client-cert FILE (and --client-key FILE); this stack: CLIENT_CA",
    )


def _readable(reason: str) -> str:
    return reason.lower().replace("_", " ")


def _plain_text_problem(context: Context) -> Finding | None:
    """Send the handshake without TLS; None: the answer shows no plain-text service."""
    request = (
        f"GET {context.path} HTTP/1.1\r\nHost: {context.url.netloc}\r\nConnection: Upgrade\r\nUpgrade:"
        " websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        with context.open_tcp() as connection:
            connection.sendall(request.encode("ascii", "replace"))
            answer = connection.recv(4096).decode("latin-1")
    except OSError:
        return None
    line = answer.splitlines()[0] if answer.strip() else ""
    if line.startswith("HTTP/") and " 101 " in f"{line} ":
        return problem(
            "tls-plain-ws",
            f"{context.endpoint} answers ws:// without TLS ({line})",
            "this is a WebSocket server without TLS: the port is the backend's own, or TLS is not switched on",
            "Connect to the port of the proxy that terminates TLS (443), or give the server a certificate",
        )
    # A TLS server also answers plain HTTP: with an alert (record type 21) or a 400.
    if line.startswith("\x15") or (" 400 " in f"{line} " and re.search("https|tls|ssl", answer, re.IGNORECASE)):
        return None
    if line.startswith("HTTP/"):
        return problem(
            "tls-plain-http",
            f"{context.endpoint} answers http:// without TLS ({line})",
            "this is a web server without TLS on this port (clients report: wrong version number)",
            "Connect to the TLS port (443); nginx: listen 443 ssl (`ssl on` was removed); Apache: SSLEngine on",
        )
    if line and not line.startswith("HTTP/"):
        return problem(
            "tls-other",
            f"{context.endpoint} uses another protocol ({line[:60]!r})",
            "the protocol on this port is neither TLS nor HTTP",
            "Check the port: 443 for nginx and Apache, 8282 for direct",
        )
    return None
