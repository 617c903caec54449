"""Rules for rooms, by name or by a prefix that ends in `*`."""

from collections.abc import Mapping
from typing import Any

from wss.rooms.membership import room_name


def find_rule(rules: Mapping[str, Any], topic: str) -> Any:
    """Return the rule for a room, else that of the longest prefix of its name; None for other topics."""
    name = room_name(topic)
    if name == topic:  # the topic of a user, or of all clients
        return None
    if name in rules:
        return rules[name]
    prefixes = [rule for rule in rules if rule.endswith("*") and name.startswith(rule[:-1])]
    return rules[max(prefixes, key=len)] if prefixes else None
