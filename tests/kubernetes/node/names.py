#!/usr/bin/python3
"""The cluster's DNS. As with CoreDNS, a headless Service has the addresses of its ready pods, another one its own."""

import http.client
import json
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

HOSTS = Path("/run/node/hosts")
DNSMASQ = (
    *("dnsmasq", "--keep-in-foreground", "--user=root", "--no-resolv", "--no-hosts", "--local=/cluster.local/"),
    f"--addn-hosts={HOSTS}",
)
INTERVAL = 0.5  # seconds


def listed(context: ssl.SSLContext, kind: str) -> list[dict[str, Any]]:
    """Return what the API server has of this kind, in all namespaces."""
    api = http.client.HTTPSConnection("127.0.0.1", 6443, context=context, timeout=5)
    try:
        api.request("GET", f"/api/v1/{kind}")
        return list(json.load(api.getresponse()).get("items", []))
    finally:
        api.close()


def hosts(context: ssl.SSLContext) -> str:
    """Return the names, as in /etc/hosts."""

    def key(manifest: dict[str, Any]) -> tuple[str, str]:
        return manifest["metadata"]["namespace"], manifest["metadata"]["name"]

    own = {key(service): service["spec"].get("clusterIP") for service in listed(context, "services")}
    lines = []
    for endpoints in listed(context, "endpoints"):
        namespace, name = key(endpoints)
        ready = [each["ip"] for part in endpoints.get("subsets", []) for each in part.get("addresses", [])]
        address = own.get((namespace, name)) or "None"
        lines += [
            f"{each} {name}.{namespace}.svc.cluster.local\n" for each in (ready if address == "None" else [address])
        ]
    return "".join(sorted(lines))


def main() -> None:
    """Write what changes into the file of dnsmasq, and make it read the file again."""
    HOSTS.touch()
    dnsmasq = subprocess.Popen(DNSMASQ)
    context = ssl.create_default_context(cafile="/run/node/ca.crt")
    context.load_cert_chain("/run/node/admin.crt", "/run/node/admin.key")
    known = ""
    while dnsmasq.poll() is None:
        time.sleep(INTERVAL)  # this program polls; no test waits for it
        try:
            found = hosts(context)
        except OSError as error:  # the API server starts
            print(error, flush=True)
            continue
        if found != known:
            HOSTS.write_text(found)
            dnsmasq.send_signal(signal.SIGHUP)
            known = found


if __name__ == "__main__":
    main()
