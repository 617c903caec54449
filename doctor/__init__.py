"""The way to a WebSocket, walked step by step: where it ends, why, and what to do about it."""
