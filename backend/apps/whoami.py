"""Answer every message with what the server saw of the connection, as JSON.

    {"server": "3f1c…", "path": "/wss", "headers": [["Host", "localhost"], …],
     "peer": "172.18.0.3", "client": "192.0.2.7",
     "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384"}}

`server` is the host name of the container that answers, `peer` opened the TCP connection (the proxy, if there is one), `client` is whom it serves; `tls` is null behind a proxy.
"""

import json
import socket

from wss import Connection, client_address, peer_address


async def handler(connection: Connection) -> None:
    tls = connection.transport.underlying_transport.get_extra_info("ssl_object")
    seen = {
        "server": socket.gethostname(),
        "path": connection.request.path,
        "headers": list(connection.request.headers.items()),
        "peer": peer_address(connection),
        "client": client_address(connection),
        "tls": tls and {"version": tls.version(), "cipher": tls.cipher()[0]},
    }
    async for _ in connection:
        await connection.send(json.dumps(seen))
