"""Who a client is by its certificate, where CLIENT_CA asks for one: in the same words in every profile."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from multidict import CIMultiDict


class ClientCertificate(NamedTuple):
    """A certificate that was verified, by us or by the proxy before us."""

    subject: str
    """The distinguished name, as in ``CN=alice,O=Example`` (RFC 4514; what is not ASCII as in ``\\C3\\A9``)."""
    serial: str
    """The serial number, in hexadecimal with capitals."""


# RFC 4514 section 3, and OpenSSL's short names beyond: Python tells the long ones.
_SHORT = {
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
    """Return what Python's ssl says of a client's certificate; None where there is none."""
    if not certificate:
        return None
    return ClientCertificate(_name(certificate["subject"]), certificate["serialNumber"])


def from_headers(headers: CIMultiDict[str]) -> ClientCertificate | None:
    """Return what our proxy says in X-Client-Subject and X-Client-Serial, or None."""
    serial = headers.get("X-Client-Serial", "")
    return ClientCertificate(_ascii(headers.get("X-Client-Subject", "")), serial) if serial else None


def _name(subject: Iterable[Iterable[tuple[str, str]]]) -> str:
    # RFC 4514 section 2.1: the last one first.
    return ",".join("+".join(_attribute(*pair) for pair in rdn) for rdn in reversed(list(subject)))


def _attribute(name: str, value: str) -> str:
    # Section 2.4.
    escaped = "".join(f"\\{letter}" if letter in ',+"\\<>;' else letter for letter in value)
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    if escaped.endswith(" ") and len(value) > 1:
        escaped = f"{escaped[:-1]}\\ "
    return f"{_SHORT.get(name, name)}={_ascii(escaped)}"


def _ascii(text: str) -> str:
    """Return the text with every byte beyond ASCII in hexadecimal, as nginx does it, and Apache does not."""
    octets = text.encode("utf-8", "surrogateescape")
    return "".join(chr(octet) if octet < 128 else f"\\{octet:02X}" for octet in octets)
