"""An echo with only the core of https://picows.readthedocs.io/: it echoes frames, without messages or limits."""

import asyncio
import ssl
import sys

from picows import WSFrame, WSListener, WSTransport, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_bytes())


async def main() -> None:
    context = None
    if "tls" in sys.argv:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/tls/server.pem", "/tls/server.key")
    server = await ws_create_server(lambda _: Echo(), "", 9000, ssl=context)
    await server.serve_forever()


asyncio.run(main())
