"""For operators: metrics, logs, control sockets and the status command."""
