"""Checks a WebSocket over TLS from outside, and reports the first problem with its cause and remedy."""
