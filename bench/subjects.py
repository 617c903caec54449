"""What is measured: each subject, with its workloads."""

import json
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

# Of this clone: a run removes what an earlier one left, but nothing of another clone.
PROJECT = f"wss-bench-{sha256(__file__.encode()).hexdigest()[:8]}"
# The images with the other servers, each built from the directory.
IMAGE, PEERS, WORKERMAN = PROJECT, f"{PROJECT}-peers", f"{PROJECT}-workerman"
DIRECTORIES = {IMAGE: "image", PEERS: "peers", WORKERMAN: "workerman"}
# The port of the other servers.
PORT = 9000
PROXIES = frozenset({"nginx", "apache"})


@dataclass(frozen=True)
class Subject:
    """A server to measure: a `profile` of the stack, the stack's backend alone, or a `command` in an image.

    With both it is another proxy: the command runs in the image, or else in the profile's image, before the backend
    of the profile's stack.
    """

    name: str
    tls: bool
    workloads: frozenset[str]
    more: frozenset[str] = frozenset()
    """Workloads that only `--thorough` measures."""
    profile: str = ""
    command: tuple[str, ...] = ()
    image: str = ""
    is_websocket: bool = True
    mounted: str = ""
    """A directory of the user's, which is /mounted in the container."""
    workers: int = 1
    replicas: int = 1

    @property
    def is_stack(self) -> bool:
        return not self.command

    @property
    def is_other_proxy(self) -> bool:
        return bool(self.profile and self.command)

    @property
    def has_proxy(self) -> bool:
        """Whether its first container is a proxy, and the others are backends."""
        return self.profile in PROXIES

    @property
    def port(self) -> int:
        if self.has_proxy:
            return 443
        return PORT if self.command else 8282

    @property
    def built_image(self) -> str:
        """The image that is built for it; empty if it is one of the stack."""
        return "" if self.is_stack or (self.is_other_proxy and not self.image) else self.image or IMAGE

    @property
    def room(self) -> str:
        """The query of clients that receive each other's messages."""
        return f"?all={self.name.split()[0]}" if self.is_other_proxy else "?all"

    @property
    def processes(self) -> int:
        """The number of the stack's worker processes."""
        return self.workers * self.replicas

    @property
    def project(self) -> str:
        """The name of its Compose project."""
        return f"{PROJECT}-{self.name.replace(' ', '-')}"


EACH = frozenset({"echo", "handshakes", "fan", "grow", "storm"})
LATENCY, SIZES = frozenset({"latency"}), frozenset({"sizes"})
OURS = EACH | LATENCY | SIZES | {"rates", "steps"}
FLOOR = LATENCY | SIZES | {"echo"}
CORE = frozenset({"core"})
BARE = frozenset({"proxy", "handshakes"})
SCALED = frozenset({"scale", "storm"})


def _bare(profile: str, workloads: frozenset[str], *command: str) -> Subject:
    return Subject(f"bare {profile} wss", True, workloads, profile=profile, command=command)


def _proxy(name: str, workloads: frozenset[str], *command: str) -> Subject:
    more = (LATENCY | SIZES) - workloads
    return Subject(f"{name} wss", True, workloads, more, "nginx", command, PEERS)


def _server(
    name: str,
    workloads: frozenset[str],
    *command: str,
    tls: tuple[str, ...] = ("tls",),
    image: str = IMAGE,
    is_websocket: bool = True,
) -> tuple[Subject, Subject]:
    """Return it without and with TLS."""
    more = (LATENCY | SIZES) - workloads if workloads >= EACH else frozenset()
    return (
        Subject(f"{name} ws", False, workloads, more, "", command, image, is_websocket),
        Subject(f"{name} wss", True, workloads, more, "", (*command, *tls), image, is_websocket),
    )


UVICORN = ("uvicorn", "echo_asgi:app", "--host", "0.0.0.0", "--port", str(PORT), "--log-level", "warning")  # noqa: S104
UVICORN_TLS = ("--ssl-certfile", "/tls/server.pem", "--ssl-keyfile", "/tls/server.key")
GRANIAN = ("granian", "--interface", "asgi", "--host", "0.0.0.0", "--port", str(PORT), "--log-level", "warning")  # noqa: S104
GRANIAN_TLS = ("--ssl-certificate", "/tls/server.pem", "--ssl-keyfile", "/tls/server.key")

_SERVERS = (
    _server("floor", FLOOR, "python3", "echo_raw.py", is_websocket=False),
    _server("picows core", CORE, "python", "echo_picows.py"),
    _server("picows core on uvloop", CORE, "python", "echo_picows.py", "uvloop"),
    _server("picows.websockets", CORE, "python", "echo_picows_websockets.py"),
    (
        Subject("backend ws", False, OURS | CORE),
        Subject("direct wss", True, OURS | CORE | {"scale"}, profile="direct"),
    ),
    _server("websockets", EACH | LATENCY, "python", "echo_websockets.py"),
    _server("uvicorn", EACH | LATENCY, *UVICORN, tls=UVICORN_TLS),
    _server("granian", EACH, *GRANIAN, "echo_asgi:app", tls=GRANIAN_TLS),
    _server("Node ws", EACH | LATENCY, "node", "echo_ws.mjs"),
    _server("Bun", EACH | LATENCY | SIZES, "bun", "echo_bun.mjs", image=PEERS),
    _server("uWebSockets.js", EACH, "node", "echo_uws.cjs", image=PEERS),
    _server("Go gorilla", EACH, "echo_gorilla", image=PEERS),
)
_PROXIES = (
    Subject("nginx wss", True, OURS | {"proxy", "scale"}, profile="nginx"),
    Subject("apache wss", True, OURS | {"proxy"}, profile="apache"),
    _bare("nginx", BARE | {"grow"}, "nginx", "-c", "/bare/nginx.conf", "-g", "daemon off;"),
    # Its default is 400 connections.
    _bare("apache", BARE, "apache2", "-D", "FOREGROUND", "-f", "/bare/httpd.conf"),
    _proxy("haproxy", EACH | LATENCY, "haproxy", "-f", "/peers/haproxy.cfg"),
    _proxy("caddy", EACH, "caddy", "run", "--config", "/peers/Caddyfile"),
    _proxy("traefik", EACH, "traefik", "--configFile=/peers/traefik.yaml"),
    _proxy("envoy", EACH, "envoy", "--config-path", "/peers/envoy.yaml", "--log-level", "warning"),
)
SUBJECTS = (
    *(without for without, _ in _SERVERS),
    *(with_tls for _, with_tls in _SERVERS),
    # The stacks before the proxies that run in their networks.
    *_PROXIES,
    Subject("direct with 2 workers wss", True, SCALED, profile="direct", workers=2),
    Subject("nginx with 3 replicas wss", True, SCALED, profile="nginx", replicas=3),
)


def workerman(directory: Path) -> tuple[Subject, ...]:
    """Return Workerman, which is in a directory of the user's, because no registry of the bench has it."""
    subjects = _server("Workerman", EACH, "php", "/bench/echo.php", "start", image=WORKERMAN)
    return tuple(replace(each, mounted=str(directory.absolute())) for each in subjects)


def workerman_version(directory: Path) -> str:
    """Return the version that Composer has installed in the directory; empty if there is none."""
    try:
        installed = json.loads((directory / "vendor" / "composer" / "installed.json").read_text())
    except OSError:
        return ""
    return next((str(each["version"]) for each in installed["packages"] if each["name"] == "workerman/workerman"), "")


def stack_of(proxy: Subject) -> Subject:
    """Return the stack whose backend is behind another proxy."""
    return next(each for each in SUBJECTS if each.is_stack and each.profile == proxy.profile)


def network_of(stack: Subject) -> str:
    """Return the first three numbers of the addresses in a stack's networks: see bench/compose.yaml."""
    return f"198.18.{[each.name for each in SUBJECTS].index(stack.name)}"


def selected(subjects: tuple[Subject, ...], words: list[str] | None) -> list[Subject]:
    """Return those whose names contain one of the words, and the stacks that they need."""
    chosen = {each for each in subjects if not words or any(word in each.name for word in words)}
    chosen |= {stack_of(each) for each in chosen if each.is_other_proxy}
    return [each for each in subjects if each in chosen]
