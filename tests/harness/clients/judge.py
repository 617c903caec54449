#!/usr/bin/python3
"""Serve each chain in /chains under a name of its own, and print which clients accept it, as JSON.

`judge.py serve` serves on port 4433 until it is stopped; `judge.py` runs the clients against it. Each chain is a
directory with server.pem and server.key, and its name is that of the directory under .localhost. All clients trust
/chains/roots.pem.
"""

import json
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHAINS = Path("/chains")
ROOTS = CHAINS / "roots.pem"
PORT = 4433
LIMIT = 180.0  # seconds: for what hangs, not for what is slow
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nok"
NODE = """
const tls = require("tls"), fs = require("fs")
const ca = fs.readFileSync(process.argv[1], "utf8").match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g)
const result = {}
for (const name of process.argv.slice(3)) {
  const socket = tls.connect({ca, host: "127.0.0.1", port: process.argv[2], servername: name + ".localhost"}, () => {
    result[name] = ""; socket.destroy()
  })
  socket.on("error", error => { result[name] ??= error.code || error.message })
}
process.on("exit", () => console.log(JSON.stringify(result)))
"""


def names() -> list[str]:
    return sorted(path.parent.name for path in CHAINS.glob("*/server.pem"))


def serve() -> None:
    contexts = {}
    for name in names():
        contexts[name] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(CHAINS / name / "server.pem", CHAINS / name / "server.key")

    def select(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        chosen = contexts.get((name or "").removesuffix(".localhost"))
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        return None

    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.set_ciphers("ALL:@SECLEVEL=0")
    front.sni_callback = select
    with socket.create_server(("", PORT), backlog=128) as listener:
        while True:
            threading.Thread(target=respond, args=(front, listener.accept()[0]), daemon=True).start()


def respond(context: ssl.SSLContext, plain: socket.socket) -> None:
    plain.settimeout(LIMIT)
    try:
        with context.wrap_socket(plain, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(RESPONSE)
    except (OSError, ValueError):
        plain.close()


def run(*command: str) -> str:
    """Return an empty string if the command exits with 0, else its last line."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
    )
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else " ".join(lines[-3:]) or f"exit code {done.returncode}"


def python(name: str) -> str:
    context = ssl.create_default_context(cafile=str(ROOTS))
    try:
        with (
            socket.create_connection(("127.0.0.1", PORT), timeout=LIMIT) as plain,
            context.wrap_socket(plain, server_hostname=f"{name}.localhost"),
        ):
            return ""
    except OSError as error:
        return str(error)


def judge(name: str) -> dict[str, str]:
    host, port, roots = f"{name}.localhost", str(PORT), str(ROOTS)
    return {
        "python": python(name),
        "openssl": run(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", host, "-verify_hostname", host),
            *("-verify_return_error", "-brief", "-CAfile", roots, "-no-CApath", "-no-CAstore"),
        ),
        "gnutls": run(
            *("gnutls-cli", "--x509cafile", roots, "--port", port, "--sni-hostname", host, "--verify-hostname", host),
            "127.0.0.1",
        ),
        "curl": run(
            *("curl", "--silent", "--show-error", "--output", "/dev/null", "--cacert", roots),
            *("--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/"),
        ),
    }


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        serve()
    with ThreadPoolExecutor(4) as threads:
        verdicts = dict(zip(names(), threads.map(judge, names()), strict=True))
    node = subprocess.run(["node", "-e", NODE, ROOTS, str(PORT), *verdicts], stdout=subprocess.PIPE, check=True)
    for name, error in json.loads(node.stdout).items():
        verdicts[name]["node"] = error
    print(json.dumps(verdicts))


if __name__ == "__main__":
    main()
