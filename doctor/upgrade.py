"""The sixth step: does the HTTP handshake become a websocket? What each other answer usually means."""

from collections.abc import Iterator

from websockets.exceptions import InvalidHeader, InvalidMessage, InvalidUpgrade, NegotiationError
from websockets.http11 import Response

from doctor.finding import Finding, good, problem, warning
from doctor.line import Line
from doctor.route import Route
from doctor.tls import alert_of, client_certificate_problem, is_about_client

UPGRADE_HEADERS = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    " Apache: ProxyPass … upgrade=websocket"
)

# Status → what it means, what to do. Where the words of the answer tell more, _of_status looks at them first.
STATUSES = {
    200: (
        "a web page answers: the path is not the WebSocket's, or a proxy in between does not pass on Upgrade",
        f"Compare the path (here: /wss), and the proxy's configuration. {UPGRADE_HEADERS}",
    ),
    400: (
        "the server takes this for a bad request: mostly, a proxy in between does not pass on Upgrade and Connection",
        UPGRADE_HEADERS,
    ),
    401: (
        "the server wants to know who comes",
        "Give credentials: --header 'Authorization: …' or --header 'Cookie: …'",
    ),
    404: (
        "the server knows no WebSocket at this path, or the proxy passes on another path than the backend expects",
        "Compare the path (here: /wss); nginx: whether proxy_pass ends with a path; Apache: both paths of ProxyPass",
    ),
    405: (
        "the server answers at this path, but not to GET: it is no WebSocket",
        "Compare the path (here: /wss)",
    ),
    421: (
        "the server does not serve this name: its certificate may cover it, its configuration does not",
        "Add the name to the server's names (here: DOMAIN; nginx: server_name; Apache: ServerAlias)",
    ),
    426: (
        "the handshake came without Upgrade: a proxy in between does not pass it on, or speaks HTTP/1.0 to the backend",
        UPGRADE_HEADERS,
    ),
    429: (
        "the server limits how often, or how many times, one address may connect; many users may share one",
        "Wait, or raise the limit (here: MAX_CONNECTIONS_PER_ADDRESS, MAX_HANDSHAKES_PER_ADDRESS)",
    ),
    431: (
        "the request line and the headers are too long, mostly for too many cookies",
        "Send fewer, or raise the limit (here: MAX_HEADER; nginx: large_client_header_buffers)",
    ),
    500: (
        "the server failed: Apache without mod_proxy_http or mod_proxy_wstunnel (“No protocol handler was valid”),"
        " with a backend whose name does not resolve, or the backend itself",
        "Look at the error log of the proxy, then at the backend's",
    ),
    502: (
        "the proxy gets no answer from the backend that it understands: it is not running, on another port, or one of"
        " the two speaks TLS and the other does not; behind Apache, it may also hang",
        "Start the backend; compare its address and port with proxy_pass / ProxyPass (http:// for plain ws, https://"
        " for wss)",
    ),
    503: (
        "the proxy finds no backend that is ready, or none has room; or the server is closed for maintenance",
        "docker compose ps, docker compose logs backend; Apache: whether the backend listens where ProxyPass says",
    ),
    504: (
        "the proxy waited for the backend in vain: it hangs, is overloaded, or a firewall between the two drops what"
        " is sent",
        "Look at the backend's log and load; try the backend from the proxy's machine",
    ),
    520: (
        "this is Cloudflare's: it cannot reach the server behind it, or does not trust that server's certificate",
        "Look at the server behind it: does it run, does it let Cloudflare in, is its own certificate good?",
    ),
}
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
CLOUDFLARE = range(520, 527)


class RefusedError(Exception):
    """A line that is no websocket, and the finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.saw)
        self.finding = finding


def open_line(route: Route) -> Line:
    """Return an open websocket; raises RefusedError where the server does not give one, OSError as sockets do."""
    line = Line(route)
    if line.refusal:
        with line:
            raise RefusedError(_of_refusal(route, line, line.refusal))
    return line


def shake_hands(route: Route) -> Iterator[Finding]:
    """Does the server switch to the websocket protocol (RFC 6455 section 4)?"""
    try:
        with open_line(route) as line:
            yield good(f"101, subprotocol: {line.subprotocol or 'none'}")
            if route.options.subprotocols and not line.subprotocol:
                yield warning(
                    "upgrade-subprotocol",
                    f"the server chose none of {', '.join(route.options.subprotocols)}",
                    "browsers end a connection whose subprotocol was not agreed to",
                    "Let the server offer it (here: SUBPROTOCOLS), or do not ask for it",
                )
    except TimeoutError:
        yield problem(
            "upgrade-silent",
            f"no answer to the handshake for {route.options.timeout:g} s",
            "the backend hangs or is overloaded, or a proxy waits for it",
            "Look at the backend's log and load; whether a proxy in between buffers or inspects requests",
        )
    except OSError as error:
        yield _cut(route, error)


def _cut(route: Route, error: OSError) -> Finding:
    alert = alert_of(error) or _alert_to_who_says_nothing(route)
    if is_about_client(alert):
        return client_certificate_problem(alert)
    of_client = "the server does not take this client certificate, and ends without an alert; or "
    return problem(
        "upgrade-cut",
        f"the connection ends instead of an answer ({alert or error.strerror or error})",
        f"{of_client if route.options.client_cert else ''}the backend crashed, or something in between (a firewall,"
        " a balancer) does not let WebSockets through",
        "Look at the backend's log; connect to it directly, past what lies in between",
    )


def _alert_to_who_says_nothing(route: Route) -> str:
    """In TLS 1.3, what the server says of the certificate comes after the handshake (RFC 8446 section 4.4.2.4).

    Who sends at once may be reset before it is read.
    """
    try:
        with route.open_tls() as connection:
            connection.do_handshake()
            connection.recv(1)
    except OSError as error:
        return alert_of(error)
    return ""


def _of_refusal(route: Route, line: Line, refusal: Exception) -> Finding:
    """Return what it means that this is no websocket."""
    response = line.response
    if response is None:
        return problem(
            "upgrade-no-http",
            f"what answers is no HTTP ({refusal.__cause__ or refusal})",
            "there is TLS, but behind it no web server: another service, or a balancer in TCP mode before one",
            "Compare the port",
        )
    if response.status_code != 101:
        return _of_status(route, response)
    if isinstance(refusal, InvalidHeader) and refusal.name.lower() == "sec-websocket-accept":
        return problem(
            "upgrade-accept",
            f"101 with a wrong Sec-WebSocket-Accept ({refusal.value or 'none'})",
            "the server does not answer to this very handshake: it is home-made, or a cache answers for it",
            "Use a WebSocket library on the server; switch off caching for this path",
        )
    if isinstance(refusal, (InvalidHeader, InvalidUpgrade)):
        return problem(
            "upgrade-headers",
            f"101 without the headers that belong to it ({refusal})",
            "a proxy in between dropped Upgrade or Connection from the answer, or the server is home-made",
            "Connect past what lies in between; use a WebSocket library on the server",
        )
    if isinstance(refusal, InvalidMessage):
        return problem(
            "upgrade-malformed",
            f"101, but malformed ({refusal.__cause__ or refusal})",
            "the server is home-made, or something in between rewrote the answer; or it is longer than clients other"
            " than browsers bear: 128 headers, of 8 KB",
            "Use a WebSocket library on the server; connect past what lies in between; send fewer and shorter headers",
        )
    what = "subprotocol" if isinstance(refusal, NegotiationError) else "handshake"
    return problem(
        "upgrade-negotiation",
        f"101 with a {what} that was not asked for ({refusal})",
        "clients must end such a connection (RFC 6455 section 4.1)",
        "Let the server choose of what the client offers; name what it wants with --subprotocol",
    )


def _of_status(route: Route, response: Response) -> Finding:
    status, text = response.status_code, _text(response)
    server = _field(response, "Server")
    saw = " ".join(
        part for part in (f"{status} {response.reason_phrase}".strip(), f"from {server}" if server else "") if part
    )
    saw = f"{saw}: {text}" if text else saw
    if status in (301, 302, 303, 307, 308):
        return problem(
            f"upgrade-{status}",
            f"{saw} (to {_field(response, 'Location') or 'nowhere'})",
            "the server sends clients elsewhere, and WebSocket clients do not follow: a redirect to https, to www, to"
            " a login, or to a path with a slash at its end",
            "Connect to where it points (with wss:// for https://), or take this path out of the redirect",
        )
    # nginx says it in a page (ssl_verify_client).
    if status == 400 and b"SSL certificate" in (response.body or b""):
        return client_certificate_problem(saw)
    if status == 403:
        return _forbidden(route, saw)
    if status == 200 and not route.url.path:
        return problem(
            "upgrade-200",
            saw,
            "a web page answers, because the URL has no path and / is asked for",
            f"Give the path of the WebSocket: wss://{route.url.netloc}/wss",
        )
    means, remedy = STATUSES.get(
        status if status not in CLOUDFLARE else CLOUDFLARE[0],
        (
            "the server refuses, for a reason of its own"
            if status < 500
            else "the server, or what lies before it, failed",
            "Look at its log, and at the text of the answer",
        ),
    )
    return problem(f"upgrade-{status}", saw, means, remedy)


def _forbidden(route: Route, saw: str) -> Finding:
    if "certificate" in saw.lower():
        return client_certificate_problem(saw)
    if route.options.origin:
        return problem(
            "upgrade-403",
            f"{saw} (with Origin: {route.options.origin})",
            "pages of this origin may not connect",
            "Add it to the server's list (here: ORIGINS), as it stands: scheme, host, and port where it is not the"
            " usual one",
        )
    return problem(
        "upgrade-403",
        saw,
        "the server, or a firewall for web applications before it, forbids this: often it wants an Origin that it"
        " knows",
        "Say where the page comes from: --origin https://…; else look at the server's log",
    )


def _field(response: Response, name: str) -> str:
    """Return a header, however often it came; empty: never."""
    return ", ".join(dict.fromkeys(response.headers.get_all(name)))


def _text(response: Response) -> str:
    """Return the first words of a plain answer; a page says less than its status."""
    if "html" in (_field(response, "Content-Type") or "html"):
        return ""
    return " ".join((response.body or b"")[:200].decode("utf-8", "replace").split())
