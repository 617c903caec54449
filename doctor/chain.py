"""The certificate chain that the server sent: the path from the leaf, and missing intermediates."""

import ssl
import urllib.request
from contextlib import suppress
from functools import partial
from http.client import HTTPException

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from doctor.context import Context
from doctor.timeouts import run_with_timeout

# What `cryptography` raises if it is stricter than OpenSSL; some of it only when a field is read.
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)

NO_ISSUER = (2, 19, 20, 21)  # X509_V_ERR_* of openssl/x509_vfy.h
MAX_INTERMEDIATES = 4
MAX_CERTIFICATE_SIZE = 65536  # bytes


def path_from_leaf(chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates that lead from the leaf upwards; servers may send others as well."""
    found = chain[:1]
    while issuer := next((one for one in chain if one.subject == found[-1].issuer and one not in found), None):
        found.append(issuer)
    return found


def fetch_missing(context: Context) -> list[x509.Certificate]:
    """Fetch the missing intermediates from the issuer URL in each certificate (RFC 5280 section 4.2.2.1)."""
    found: list[x509.Certificate] = []
    last = path_from_leaf(context.chain)[-1]
    while len(found) < MAX_INTERMEDIATES and (issuer := _fetch_issuer(last, context.options.timeout)):
        found.append(issuer)
        last = issuer
        ssl_context = context.ssl_context()
        ssl_context.load_verify_locations(cadata="".join(one.public_bytes(Encoding.PEM).decode() for one in found))
        try:
            with context.open_tls(ssl_context) as connection:
                connection.do_handshake()
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in NO_ISSUER:
                continue
        except OSError:
            continue
        return found  # the chain is complete now, even if it has another fault
    return []


def _fetch_issuer(certificate: x509.Certificate, timeout: float) -> x509.Certificate | None:
    with suppress(x509.ExtensionNotFound, OSError, HTTPException, *UNREADABLE):
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        for description in access:
            url = str(description.access_location.value)
            # Never https: that would need a certificate to get a certificate.
            if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS and url.startswith("http://"):
                issuer = x509.load_der_x509_certificate(run_with_timeout(timeout, partial(_fetch, url, timeout)))
                # Do not trust a root only because the server's certificate names its URL.
                return issuer if issuer.subject != issuer.issuer else None
    return None


def _fetch(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310  # http, see above
        content: bytes = response.read(MAX_CERTIFICATE_SIZE)
        return content
