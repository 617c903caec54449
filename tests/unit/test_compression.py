"""Compression, with clients whose messages have an extreme compression ratio."""

import zlib
from contextlib import ExitStack

import pytest
from raw import BINARY, CLOSE, CONTINUATION, code, connect, frame
from server import Start

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
COMPRESSED = 4  # RSV1


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([frame(BINARY, deflated(bytes(65537)), rsv=COMPRESSED)], id="a message over the limit"),
        pytest.param(
            [
                frame(BINARY, deflated(bytes(65536)) + b"\0\0\xff\xff", fin=False, rsv=COMPRESSED),
                frame(CONTINUATION, deflated(bytes(10_000_000))),
            ],
            id="a fragment after a message of the maximal size",
        ),
        pytest.param(
            [frame(BINARY, deflated(bytes(65536)), rsv=COMPRESSED)] * 100, id="many messages of the maximal size"
        ),
    ],
)
def test_messages_that_decompress_to_too_much_are_rejected(
    share: Start, clients: ExitStack, frames: list[bytes]
) -> None:
    server = share(COMPRESSION="on", MAX_MESSAGE="64K")
    client = connect(server, clients, DEFLATE)
    before = server.worker_memory()
    client.send(*frames)
    while (received := client.receive())[0] != CLOSE:
        pass
    assert received[1][:2] == code(1009)
    assert server.worker_memory() - before < 8 * 1024 * 1024


def test_a_compressed_message_of_the_maximal_size_is_accepted(share: Start, clients: ExitStack) -> None:
    server = share(APP="apps.echo:handler", COMPRESSION="on", MAX_MESSAGE="64K")
    client = connect(server, clients, DEFLATE)
    for _ in range(3):
        client.send(frame(BINARY, deflated(bytes(65536)), rsv=COMPRESSED))
        opcode, payload = client.receive()
        assert opcode == BINARY
        assert len(payload) < 200
