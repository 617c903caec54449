"""From the leaf to a root: which way what was sent leads, and what is missing on it."""

import ssl
import urllib.request
from contextlib import suppress
from functools import partial
from http.client import HTTPException

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from doctor.patience import within
from doctor.route import Route

# What `cryptography` raises where it is stricter than OpenSSL, in part only when a field is asked for.
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)

NO_ISSUER = (2, 19, 20, 21)  # X509_V_ERR_* of openssl/x509_vfy.h
LONGEST_CHAIN = 4
LARGEST_CERTIFICATE = 65536  # bytes


def path(chain: list[x509.Certificate]) -> list[x509.Certificate]:
    """Return the part of what was sent that leads from the leaf upwards; servers send others, too."""
    found = chain[:1]
    while issuer := next((one for one in chain if one.subject == found[-1].issuer and one not in found), None):
        found.append(issuer)
    return found


def what_is_missing(route: Route) -> list[x509.Certificate]:
    """Follow the address of the issuer that each certificate gives (RFC 5280 section 4.2.2.1)."""
    found: list[x509.Certificate] = []
    last = path(route.chain)[-1]
    while len(found) < LONGEST_CHAIN and (issuer := _fetch_issuer(last, route.options.timeout)):
        found.append(issuer)
        last = issuer
        context = route.context()
        context.load_verify_locations(cadata="".join(one.public_bytes(Encoding.PEM).decode() for one in found))
        try:
            with route.open_tls(context) as connection:
                connection.do_handshake()
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in NO_ISSUER:
                continue
        except OSError:
            continue
        return found  # complete now, whatever else is wrong with it
    return []


def _fetch_issuer(certificate: x509.Certificate, timeout: float) -> x509.Certificate | None:
    with suppress(x509.ExtensionNotFound, OSError, HTTPException, *UNREADABLE):
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        for description in access:
            url = str(description.access_location.value)
            # Never https: that would need a certificate to get a certificate.
            if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS and url.startswith("http://"):
                issuer = x509.load_der_x509_certificate(within(timeout, partial(_fetch, url, timeout)))
                # A root that the server's own certificate points to proves nothing.
                return issuer if issuer.subject != issuer.issuer else None
    return None


def _fetch(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310  # http, see above
        content: bytes = response.read(LARGEST_CERTIFICATE)
        return content
