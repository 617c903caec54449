"""The address of the hub, from its URL in HUB."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HubAddress:
    """What a client of Valkey needs to connect; printed without the password."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    """None: the one in HUB_PASSWORD_FILE, if it exists."""
    database: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"valkey://{'…@' if self.password else ''}{host}:{self.port}"
