"""Sockets and TLS: accepting, the event loop, TLS contexts, the certificate that is followed."""
