"""The certificate desk: takes the pair that the operator has, or makes one for development, checks it, hands it over."""


class CertificateError(Exception):
    """The stack cannot be served with this certificate; the message names cause and remedy in one line."""
