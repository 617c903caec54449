"""An open websocket: receiving, sending, keepalive, and the facts about its client."""
