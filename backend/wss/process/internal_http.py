"""The port for the operator and other programs, which is never published: metrics, and requests from outside."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from wss.close import CloseEndpoint
from wss.config.settings import Settings
from wss.observability.metrics import ServedMetrics
from wss.push import PushEndpoint


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds for a client that sends nothing

    def log_message(self, *_: object) -> None:
        """Log no requests: a scrape every few seconds is not news."""


def serve(settings: Settings, run_dir: Path, metrics: ServedMetrics) -> WSGIServer:
    """Serve in a thread, and return the server. Raises OSError if the port is taken."""
    scrapes = metrics.wsgi_app()
    endpoints = {"/push": PushEndpoint(settings, run_dir), "/close": CloseEndpoint(settings, run_dir)}

    def dispatch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        app: Callable[..., Iterable[bytes]] = endpoints.get(environ["PATH_INFO"], scrapes)
        return app(environ, start_response)

    all_addresses = "0.0.0.0"  # noqa: S104  # in a container, Compose decides which ports are published
    server = make_server(all_addresses, settings.metrics_port, dispatch, _Server, _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
