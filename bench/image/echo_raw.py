"""The floor (lower bound): an echo of bytes with Python and epoll, with or without TLS, without frames or unmasking."""

import select
import socket
import ssl
import sys

PORT = 9000


def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/tls/server.pem", "/tls/server.key")
    listener = socket.create_server(("", PORT), backlog=4096)
    epoll, open_, buffer = select.epoll(), {}, memoryview(bytearray(1 << 18))
    epoll.register(listener.fileno(), select.EPOLLIN)
    while True:
        for number, _ in epoll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                connection.setblocking(False)
                open_[connection.fileno()] = connection
                epoll.register(connection.fileno(), select.EPOLLIN)
                continue
            connection = open_[number]
            try:
                while size := connection.recv_into(buffer):
                    # A peer that does not read would block the server, but the load generator reads.
                    connection.setblocking(True)
                    connection.sendall(buffer[:size])
                    connection.setblocking(False)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError:
                pass
            epoll.unregister(number)
            open_.pop(number).close()


main()
