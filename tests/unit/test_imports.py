"""The packages of the backend: imports go down only."""

import ast
from collections.abc import Iterator
from pathlib import Path

from server import BACKEND

# From top to bottom: each may import those below it, and no other.
ORDER = [
    "__main__",
    "testing",
    "process",
    "server",
    "acme_http",
    "application",
    "routing",
    "sessions",
    "rooms",
    "push",
    "close",
    "outside",
    "net",
    "connection",
    "handshake",
    "observability",
    "protocol",
    "config",
]
PACKAGE = BACKEND / "wss"
# The public API: handlers import it, the package itself does not.
API = PACKAGE / "__init__.py"


def part_of(module: str) -> str:
    """Return the part of `wss.net.tls` that is in ORDER."""
    return module.split(".")[1]


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"wss.{alias.name}" for alias in node.names] if node.module == "wss" else [node.module]
        yield from (name for name in names if name.startswith("wss."))


def test_every_module_is_in_the_order() -> None:
    parts = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in PACKAGE.rglob("*.py") if file != API}
    assert parts == set(ORDER)


def test_imports_go_down_only() -> None:
    upward = [
        f"{file.relative_to(PACKAGE)} imports {module}"
        for file in PACKAGE.rglob("*.py")
        if file != API
        for module in imports(file)
        if ORDER.index(part_of(module)) < ORDER.index(file.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    ]
    assert upward == []


def test_the_protocol_uses_no_event_loop_no_settings_and_no_metrics() -> None:
    for file in (PACKAGE / "protocol").glob("*.py"):
        source = file.read_text()
        assert "import asyncio" not in source, file.name
        assert all(part_of(module) == "protocol" for module in imports(file)), file.name
