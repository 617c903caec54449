"""Clients in rooms with history while lines, workers, replicas, proxies and the hub fail: `make chaos`."""
