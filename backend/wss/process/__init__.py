"""Processes: the supervisor, its workers, and how a worker finds its handler."""
