"""`make chaos`: 60 clients in 6 rooms with history, while everything between and behind them fails.

It prints a table for each proxy, with a row for each fault. The last line has the number of kept messages that clients
lost in silence, as chaos/ledger.py defines it. The exit code is 0 only if it is 0, and no client got a message twice.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

import docker
import trustme
from pairs import write_pair
from run import Run
from stack import PROBE, Stack

from chaos import rounds
from chaos.faults import REPLICAS, faults_of

PROXIES = ("nginx", "apache")
_SHOWN = 20  # losses that are printed


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Count what clients lose in silence while parts fail.")
    parser.add_argument("--profile", choices=PROXIES, action="append", help="the proxy (default: one after the other)")
    parser.add_argument("--seconds", type=float, default=30, help="how long each fault lasts (default: 30)")
    parser.add_argument("--rate", type=float, default=20, help="messages per second, of all clients (default: 20)")
    parser.add_argument("--fault", action="append", metavar="TEXT", help="only faults whose name contains the text")
    parser.add_argument(
        "--socketio", action="store_true", help="Socket.IO with connection state recovery, not our rooms"
    )
    return parser.parse_args()


def _run(engine: docker.DockerClient, run: Run, profile: str, options: argparse.Namespace) -> rounds.Result:
    with tempfile.TemporaryDirectory() as directory:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(f"{directory}/ca.pem")
        certs = Path(directory, "certs")
        certs.mkdir()
        write_pair(ca.issue_cert("localhost"), certs)
        stack = _stack(engine, run, profile, certs, is_socketio=options.socketio)
        faults = [
            each for each in faults_of(stack) if not options.fault or any(text in each.name for text in options.fault)
        ]
        if not faults:
            names = ", ".join(each.name for each in faults_of(stack))
            sys.exit(f"error: --fault={options.fault}: no fault has this in its name. The faults are: {names}")
        try:
            stack.up(f"--scale={stack.server}={REPLICAS}")
            return asyncio.run(rounds.run(stack, Path(directory, "ca.pem"), faults, options.seconds, rate=options.rate))
        finally:
            stack.remove()


def _stack(engine: docker.DockerClient, run: Run, profile: str, certs: Path, *, is_socketio: bool) -> Stack:
    project = f"{run.name}-{secrets.token_hex(4)}"
    settings = {"CERTS_DIR": str(certs), "HTTPS_PORT": rounds.https_port()}
    if is_socketio:
        return rounds.SocketioStack(engine, run, project, profile, settings, rounds.SOCKETIO_FILES)
    return Stack(engine, run, project, profile, {**rounds.SETTINGS, **settings}, PROBE)


def main() -> int:
    options = _parse()
    run = Run()
    run.start_reaper(keep=False)
    try:
        results = [_run(docker.from_env(), run, profile, options) for profile in options.profile or PROXIES]
    finally:
        run.end()
    for loss in [loss for result in results for loss in result.lost][:_SHOWN]:
        print(loss)
    if repeated := sum(result.repeated for result in results):
        print(f"received twice: {repeated}")
    print(f"lost in silence: {sum(len(result.lost) for result in results)}")
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
