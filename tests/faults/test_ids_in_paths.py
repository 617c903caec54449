"""Protocols whose clients put an id into the path, with the servers of their packages: OCPP, and Yjs (y-websocket)."""

from pathlib import Path

from clone import copy_repository
from fixtures import NewStack
from stack import INNER_PORT

REQUIREMENTS = """\
ocpp==2.1.0
pycrdt==0.14.13
pycrdt-websocket==0.16.5
"""
HANDLER = """
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.enums import Action, DataTransferStatus, RegistrationStatus
from pycrdt.websocket import WebsocketServer
from wss import Router

router = Router()
documents = WebsocketServer()


class ConnectedChargePoint(ChargePoint):
    @on(Action.boot_notification)
    def boot(self, charge_point_vendor, charge_point_model):
        now = datetime.now(UTC).isoformat()
        return call_result.BootNotification(current_time=now, interval=10, status=RegistrationStatus.accepted)

    @on(Action.data_transfer)
    def transfer(self, vendor_id):
        return call_result.DataTransfer(status=DataTransferStatus.accepted, data=self.id)


@router.route("/ws/{charge_point}")
async def ocpp(connection, charge_point):
    assert connection.subprotocol == "ocpp1.6"
    await ConnectedChargePoint(charge_point, connection).start()


@router.route("/ws/documents/{name}")
async def yjs(connection, name):
    await documents.serve(connection)


@asynccontextmanager
async def lifespan():
    async with documents:
        yield
"""
OCPP_CLIENT = """
import asyncio, ssl, sys
from ocpp.v16 import ChargePoint, call
from websockets.asyncio.client import connect

async def main(url):
    context = ssl.create_default_context(cafile="/ca.pem")
    async with connect(f"{url}/ws/CP_1%2FA", ssl=context, subprotocols=["ocpp1.6"], proxy=None) as ws:
        charge_point = ChargePoint("CP_1/A", ws)
        receiving = asyncio.create_task(charge_point.start())
        boot = await charge_point.call(call.BootNotification(charge_point_vendor="vendor", charge_point_model="model"))
        transfer = await charge_point.call(call.DataTransfer(vendor_id="vendor"))
        print(boot.status, transfer.data)
        receiving.cancel()

asyncio.run(main(sys.argv[1]))
"""
# Two clients with the same document, and one with another.
YJS_CLIENT = """
import asyncio, ssl, sys
from pycrdt import Doc, Provider, Text
from websockets.asyncio.client import ClientConnection, connect

class Channel(ClientConnection):
    path = ""

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.recv()

async def main(url):
    context = ssl.create_default_context(cafile="/ca.pem")
    def open_document(name):
        return connect(f"{url}/ws/documents/{name}", ssl=context, create_connection=Channel, proxy=None)

    docs = [Doc({"text": Text()}) for _ in range(3)]
    async with open_document("a") as first, open_document("a") as second, open_document("b") as other:
        async with Provider(docs[0], first), Provider(docs[1], second), Provider(docs[2], other):
            docs[0]["text"] += "tom"
            async with asyncio.timeout(180):
                while str(docs[1]["text"]) != "tom":
                    await asyncio.sleep(0.05)  # the condition above decides
            print(*(str(doc["text"]) or "-" for doc in docs))

asyncio.run(main(sys.argv[1]))
"""


def test_the_packages_of_ocpp_and_yjs_serve_clients_with_an_id_in_the_path(
    profile: str, new_stack: NewStack, tmp_path: Path, certs: Path, ca_file: Path
) -> None:
    copy_repository(tmp_path)
    (tmp_path / "handlers" / "requirements.txt").write_text(REQUIREMENTS)
    (tmp_path / "handlers" / "ids.py").write_text(HANDLER)
    settings = {"DOMAIN": "localhost,wss.example", "WS_PATHS": "/wss,/ws/*", "SUBPROTOCOLS": "ocpp1.6"}
    stack = new_stack(profile, directory=tmp_path, CERTS_DIR=str(certs), APP="handlers.ids:router", **settings)
    stack.up()
    url = f"wss://wss.example:{INNER_PORT[profile]}"
    for client, output in ((OCPP_CLIENT, "Accepted CP_1/A"), (YJS_CLIENT, "tom tom -")):
        assert stack.run_client(client, url, files={"/ca.pem": ca_file}).strip() == output
