"""The identity in a client certificate, in the same format in every profile."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from multidict import CIMultiDict


class ClientCertificate(NamedTuple):
    """A verified client certificate; behind a proxy, the proxy has verified it."""

    subject: str
    """The distinguished name, for example ``CN=alice,O=Example`` (RFC 4514; all but printable ASCII as ``\\C3``)."""
    serial: str
    """The serial number, in upper-case hexadecimal. It is unique among the certificates of one issuer."""
    issuer: str
    """The distinguished name of the CA that issued it, in the same format as the subject."""


# Python's ssl returns long names. The short ones of RFC 4514 section 3, and others of OpenSSL.
_SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "street",
    "domainComponent": "DC",
    "userId": "UID",
    "surname": "SN",
    "givenName": "GN",
}


def from_peercert(certificate: Mapping[str, Any] | None) -> ClientCertificate | None:
    """Return the identity in a result of ssl.SSLSocket.getpeercert(), or None without a certificate."""
    if not certificate:
        return None
    subject, issuer = name_of(certificate["subject"]), name_of(certificate["issuer"])
    return ClientCertificate(subject, certificate["serialNumber"], issuer)


def from_headers(headers: CIMultiDict[str]) -> ClientCertificate | None:
    """Return the certificate that our proxy forwards in X-Client-Subject, -Serial and -Issuer, or None."""
    serial = headers.get("X-Client-Serial", "")
    if not serial:
        return None
    return ClientCertificate(_name_in(headers, "X-Client-Subject"), serial, _name_in(headers, "X-Client-Issuer"))


def _name_in(headers: CIMultiDict[str], header: str) -> str:
    name = headers.get(header, "")
    # A header has no space at its end: the one after the last escape is missing.
    if (len(name) - len(name.rstrip("\\"))) % 2:
        name += " "
    return _ascii(name)


def name_of(attributes: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return a distinguished name, which Python's ssl gives as attributes, as text."""
    # RFC 4514 section 2.1: in reverse order.
    return ",".join("+".join(_attribute(*pair) for pair in rdn) for rdn in reversed(list(attributes)))


def _attribute(name: str, value: str) -> str:
    # Section 2.4.
    escaped = "".join(f"\\{letter}" if letter in ',+"\\<>;' else letter for letter in value)
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    if escaped.endswith(" ") and len(value) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return f"{_SHORT_NAMES.get(name, name)}={_ascii(escaped)}"


def _ascii(text: str) -> str:
    """Return the text with control characters and bytes beyond ASCII in hexadecimal, as nginx sends it.

    Apache sends bytes beyond ASCII as they are.
    """
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(chr(octet) if 32 <= octet < 127 else f"\\{octet:02X}" for octet in octets)
