"""Sockets and TLS: accepting connections, the event loop, TLS contexts, the certificate and its reload."""
