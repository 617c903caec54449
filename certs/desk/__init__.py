"""The certificate desk: takes the operator's pair, or makes one for development, checks it and hands it over."""


class CertificateError(Exception):
    """The stack cannot be served with this certificate; the message names cause and remedy in one line."""
