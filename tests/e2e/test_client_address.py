"""Row 11 of the contract: the app sees the client's real address, even if the client sends forged headers."""

import json
from pathlib import Path

from client import Target
from fixtures import Connect
from stack import INNER_PORT, Stack

FORGED = "203.0.113.7"
FORGERIES = {
    "X-Real-IP": FORGED,
    "X-Forwarded-For": f"{FORGED}, 198.51.100.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Ssl": "evil.example",
    "Forwarded": f"for={FORGED};host=evil.example",
}

CLIENT = """
import asyncio, json, socket, ssl, sys
from picows.websockets import connect

async def main(url, forgeries):
    context = ssl.create_default_context(cafile="/ca.pem")
    async with connect(url, ssl=context, additional_headers=json.loads(forgeries)) as ws:
        await ws.send("who am I?")
        print(await ws.recv())

print(json.dumps(socket.gethostbyname(socket.gethostname())))
asyncio.run(main(*sys.argv[1:]))
"""


def test_forged_headers_are_replaced(stack: Stack, target: Target, connect: Connect) -> None:
    ws = connect(target, "?app=whoami", header=FORGERIES)
    ws.send("who am I?")
    seen = json.loads(ws.recv())
    # Connections to the published loopback port reach the containers from the bridge's address.
    assert seen["client"] == stack.gateway
    text = json.dumps(seen)
    assert FORGED not in text
    assert "evil.example" not in text


def test_the_app_sees_the_address_of_each_client(stack: Stack, ca_file: Path) -> None:
    url = f"wss://wss.example:{INNER_PORT[stack.profile]}/wss?app=whoami"
    output = stack.run_client(CLIENT, url, json.dumps(FORGERIES), files={"/ca.pem": ca_file})
    own_address, seen = map(json.loads, output.splitlines())
    assert seen["client"] == own_address
    assert FORGED not in json.dumps(seen)
