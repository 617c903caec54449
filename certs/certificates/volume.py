"""What the certificate service publishes: the backend, nginx and Apache read these files by these names."""

from pathlib import Path

TLS_VOLUME = Path("/tls")  # for the service that terminates TLS
# A link to the directory of the current pair, which has the four files below.
CURRENT = "current"
CERTIFICATE = "server.pem"
KEY = "server.key"
# If these exist, nginx, Apache and the backend request a certificate from clients.
CLIENT_CA = "client-ca.pem"
CLIENT_CRL = "client-crl.pem"

EXPIRY_VOLUME = Path("/expiry")  # for services without access to the certificate
EXPIRY = "expiry"  # when the certificate expires, in seconds since 1970
FAILING = "failing"  # 1 while the service is unhealthy, else 0
REVOKED = "revoked"  # what CLIENT_CRL revokes, for CLOSE_REVOKED of the backend
