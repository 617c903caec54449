"""Answer every message with what the server saw of the connection, as JSON.

    {"server": "3f1c…", "process": 7, "path": "/wss", "headers": [["Host", "localhost"], …],
     "peer": "172.18.0.3", "client": "192.0.2.7", "certificate": ["CN=alice", "1A2B"],
     "tls": {"version": "TLSv1.3", "cipher": ["TLS_AES_256_GCM_SHA384", "TLSv1.3", 256]}}

`server` is the host name of the container that answers and `process` the worker in it; `peer` opened the TCP
connection (the proxy, if there is one), `client` is whom it serves; `certificate` is null where CLIENT_CA asks for
none, `tls` behind a proxy.
"""

import json
import os
import socket

from wss import Connection, client_address, client_certificate, peer_address, tls_session


async def handler(connection: Connection) -> None:
    tls = tls_session(connection)
    seen = {
        "server": socket.gethostname(),
        "process": os.getpid(),
        "path": connection.request.path,
        "headers": list(connection.request.headers.raw_items()),
        "peer": peer_address(connection),
        "client": client_address(connection),
        "certificate": client_certificate(connection),
        "tls": tls and {"version": tls.version(), "cipher": tls.cipher()},
    }
    async for _ in connection:
        await connection.send(json.dumps(seen))
