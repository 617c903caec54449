"""A draining proxy: its clients are closed with 1012 in all workers, and no others."""

from contextlib import ExitStack

from raw import HANDSHAKE
from server import Start
from via import OTHER, PROXY, Via, opened, request

__all__ = ("opened",)

CLIENTS = 8


def test_the_clients_of_a_draining_proxy_are_closed_and_no_others(start: Start, opened: ExitStack) -> None:
    server = start(WORKERS="2", TRUSTED_PROXIES="127.0.0.0/8")
    server.wait_for("(serving)")
    clients, others = ([Via(server, address, HANDSHAKE, opened) for _ in range(CLIENTS)] for address in (PROXY, OTHER))
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 200
    assert [client.close_code() for client in clients] == [1012] * CLIENTS
    assert all(other.receives(b"\x81\x02ok") for other in others)


def test_only_a_trusted_proxy_can_request_it(start: Start, opened: ExitStack) -> None:
    server = start(TRUSTED_PROXIES="10.0.0.0/8")
    client = Via(server, PROXY, HANDSHAKE, opened)
    assert Via(server, PROXY, request("/internal/proxy-draining"), opened).status == 404
    assert client.receives(b"\x81\x02ok")


def test_a_client_of_a_proxy_cannot_request(start: Start, opened: ExitStack) -> None:
    server = start(TRUSTED_PROXIES="127.0.0.0/8", WS_PATHS="/wss,/internal/*")
    client = Via(server, PROXY, HANDSHAKE, opened)
    assert Via(server, PROXY, request("/internal/proxy-draining", "X-Real-IP: 192.0.2.7\r\n"), opened).status == 426
    assert client.receives(b"\x81\x02ok")
