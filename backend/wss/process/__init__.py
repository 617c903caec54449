"""Processes: the supervisor, its workers, and the import of the handler."""
