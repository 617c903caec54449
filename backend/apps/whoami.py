"""Reply to every message with what the server knows about the connection, as JSON.

    {"server": "3f1c…", "process": 7, "path": "/wss", "headers": [["Host", "localhost"], …],
     "peer": "172.18.0.3", "client": "192.0.2.7", "certificate": ["CN=alice", "1A2B", "CN=CA"],
     "tls": {"version": "TLSv1.3", "cipher": ["TLS_AES_256_GCM_SHA384", "TLSv1.3", 256]}}

`server`: the host name of the container; `process`: the process id of the worker; `peer`: the address that opened the
TCP connection (the proxy's, if there is one); `client`: the client's address; `certificate`: null without CLIENT_CA;
`tls`: null behind a proxy.
"""

import json
import os
import socket

from wss import Connection, client_address, client_certificate, peer_address, tls_session


async def handler(connection: Connection) -> None:
    tls = tls_session(connection)
    facts = {
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
        await connection.send(json.dumps(facts))
