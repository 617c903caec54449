"""Row 15 of the contract: certificate renewal. Renewals under load and invalid renewals are in tests/faults."""

from contextlib import closing
from pathlib import Path

import pytest
import trustme
from client import Target
from eventually import eventually
from fixtures import Connect
from pairs import write_pair
from stack import COVERED_BUT_FOREIGN, DOMAIN, WITHOUT_SERVER_NAME


@pytest.mark.usefixtures("stack")
def test_new_clients_get_the_renewed_certificate_and_open_websockets_stay_open(
    target: Target, connect: Connect, ca: trustme.CA, certs: Path, tmp_path: Path
) -> None:
    before = serial(target)
    ws = connect(target)
    names = (*DOMAIN, COVERED_BUT_FOREIGN, WITHOUT_SERVER_NAME)
    write_pair(ca.issue_cert(*names, key_type=trustme.KeyType.RSA), tmp_path)
    for name in ("server.pem", "server.key"):
        (tmp_path / name).replace(certs / name)
    eventually(lambda: serial(target) != before, "the renewed certificate is served")
    ws.send("tom")
    assert ws.recv() == "ok"


def serial(target: Target) -> str:
    with closing(target.open_tls()) as connection:
        certificate = connection.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])
