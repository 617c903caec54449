"""The certificate service: checks the operator's pair, or makes one for development, and publishes it."""


class CertificateError(Exception):
    """The stack cannot serve this certificate; the message has cause and remedy in one line."""
