"""What an HTTP status other than 101 usually means as the answer to a WebSocket handshake."""

from websockets.http11 import Response

from doctor.context import Context
from doctor.finding import Finding, problem
from doctor.tls import client_certificate_problem

UPGRADE_HEADERS = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    " Apache: ProxyPass … upgrade=websocket"
)
PATH = "Check the path (this stack: WS_PATHS, by default /wss; HTTP_PATHS never forwards Upgrade)"

# Status → cause and remedy. If the answer has more information than its status, status_problem handles it first.
STATUSES = {
    200: (
        "the answer is a web page: the path is not the WebSocket's, or a proxy in between does not forward Upgrade",
        f"{PATH}, and the proxy's configuration. {UPGRADE_HEADERS}",
    ),
    400: (
        "the server rejects the request: usually, a proxy in between does not forward Upgrade and Connection",
        UPGRADE_HEADERS,
    ),
    401: (
        "the server requires authentication",
        "Give credentials: --header 'Authorization: …' or --header 'Cookie: …'",
    ),
    404: (
        "the server has no WebSocket at this path, or the proxy forwards another path than the backend expects",
        f"{PATH}; nginx: whether proxy_pass ends with a path; Apache: both paths of ProxyPass; uvicorn: whether"
        " websockets is installed (pip install 'uvicorn[standard]')",
    ),
    405: (
        "the server does not accept GET at this path, so it is not a WebSocket",
        PATH,
    ),
    421: (
        "the server does not serve this name: its certificate may cover the name, but its configuration does not",
        "Add the name to the server's names (this stack: DOMAIN; nginx: server_name; Apache: ServerAlias)",
    ),
    426: (
        "the request has no Upgrade header: a proxy in between does not forward it, or uses HTTP/1.0 to the backend",
        f"{PATH}. {UPGRADE_HEADERS}",
    ),
    429: (
        "the server limits the connections, or their rate, per address; many users may share one address",
        "Wait, or raise the limit (this stack: MAX_CONNECTIONS_PER_ADDRESS, MAX_HANDSHAKES_PER_ADDRESS)",
    ),
    431: (
        "the request line and the headers are too long, usually because of too many cookies",
        "Send fewer, or raise the limit (this stack: MAX_HEADER; nginx: large_client_header_buffers)",
    ),
    500: (
        "the server failed: Apache without mod_proxy_http or mod_proxy_wstunnel (“No protocol handler was valid”) or"
        " with a backend name that does not resolve; or the backend itself",
        "Check the error log of the proxy, then the backend's (this stack with UPSTREAM: your server's)",
    ),
    502: (
        "the proxy gets no valid answer from the backend: it is not running, it uses another port, or only one of the"
        " two uses TLS; behind Apache, it may also hang",
        "Start the backend; compare its address and port with UPSTREAM (this stack), proxy_pass (nginx) or ProxyPass"
        " (Apache; http:// for plain ws, https:// for wss)",
    ),
    503: (
        "no backend is ready, or all are at their limit (this stack: MAX_CONNECTIONS, PROXY_CONNECTIONS); or the server"
        " is in maintenance",
        "docker compose ps, and the logs of proxy and backend; whether the backend listens at the address of UPSTREAM"
        " (this stack) or ProxyPass (Apache): on 0.0.0.0, because 127.0.0.1 is only its own container",
    ),
    504: (
        "the backend did not answer the proxy in time: it hangs, is overloaded, or a firewall between the two drops"
        " packets",
        "Check the backend's log and load; connect to the backend from the proxy's machine",
    ),
    520: (
        "Cloudflare sends this status: it cannot reach the server behind it, or does not trust that server's"
        " certificate",
        "Check the server behind it: does it run, does it admit Cloudflare, is its own certificate valid?",
    ),
}
# https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
CLOUDFLARE = range(520, 527)


def status_problem(context: Context, response: Response) -> Finding:
    status, text = response.status_code, _text(response)
    server = _field(response, "Server")
    saw = " ".join(
        part for part in (f"{status} {response.reason_phrase}".strip(), f"from {server}" if server else "") if part
    )
    saw = f"{saw}: {text}" if text else saw
    if status in (301, 302, 303, 307, 308):
        return problem(
            f"upgrade-{status}",
            f"{saw} (to {_field(response, 'Location') or 'no Location'})",
            "WebSocket clients do not follow a redirect: to https, to www, to a login, or to a path with a slash at its"
            " end",
            "Connect to its target (with wss:// for https://), or exclude this path from the redirect",
        )
    # nginx reports it in a page (ssl_verify_client).
    if status == 400 and b"SSL certificate" in (response.body or b""):
        return client_certificate_problem(saw)
    if status == 403:
        return _forbidden(context, saw)
    if status == 200 and not context.url.path:
        return problem(
            "upgrade-200",
            saw,
            "the answer is a web page: the URL has no path, so / was requested",
            f"Give the path of the WebSocket: wss://{context.url.netloc}/wss",
        )
    means, remedy = STATUSES.get(
        status if status not in CLOUDFLARE else CLOUDFLARE[0],
        (
            "the server refuses the request" if status < 500 else "the server, or a proxy in front of it, failed",
            "Check its log, and the text of the answer",
        ),
    )
    return problem(f"upgrade-{status}", saw, means, remedy)


def _forbidden(context: Context, saw: str) -> Finding:
    if "certificate" in saw.lower():
        return client_certificate_problem(saw)
    if context.options.origin:
        return problem(
            "upgrade-403",
            f"{saw} (with Origin: {context.options.origin})",
            "pages of this origin may not connect",
            "Add it to the server's allow-list (this stack: ORIGINS), exactly: scheme, host, and the port if it is not"
            " the default",
        )
    return problem(
        "upgrade-403",
        saw,
        "the server, or a web application firewall in front of it, forbids this: often it requires an allowed Origin;"
        " FastAPI and Starlette answer 403 on a path without a WebSocket route",
        "Set the origin of the page: --origin https://…; check the path, and the server's log",
    )


def _field(response: Response, name: str) -> str:
    """Return all values of a header; empty: it is missing."""
    return ", ".join(dict.fromkeys(response.headers.get_all(name)))


def _text(response: Response) -> str:
    """Return the beginning of a plain-text answer; a page has no more information than its status."""
    if "html" in (_field(response, "Content-Type") or "html"):
        return ""
    return " ".join((response.body or b"")[:200].decode("utf-8", "replace").split())
