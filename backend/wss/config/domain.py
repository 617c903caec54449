"""The names of DOMAIN."""

import re

# A label of RFC 1123 section 2.1, and "_", which Docker service names may have.
LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"


class Domain(frozenset[str]):
    """Names in lower case, IPv6 addresses without brackets; `*.example.com` stands for all names one label below."""

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return not str(name).startswith("*")
        label, dot, parent = str(name).partition(".")
        return bool(dot) and super().__contains__(f"*.{parent}") and re.fullmatch(LABEL, label) is not None

    @property
    def example(self) -> str:
        """A name that clients can use."""
        return re.sub(r"^\*", "x", min(self))
