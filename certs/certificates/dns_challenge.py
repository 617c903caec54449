"""TXT records for ACME challenges: found by CNAME, changed by RFC 2136, and queried at the zone's name servers."""

import socket
import time

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.resolver
import dns.tsig
import dns.update
from dns.name import Name
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from certificates import CertificateError
from certificates.challenge_zone import ChallengeZone, read_secret

TTL = 1  # seconds. Each order has other values: a resolver must not keep those of the previous one
TIMEOUT = 10.0  # seconds, for one query
MAX_ALIASES = 8
# Name servers without NOTIFY (RFC 1996) only ask the primary server now and then.
PROPAGATION_TIMEOUT = 300.0  # seconds
POLL_INTERVAL = 2.0  # seconds

# Cause and remedy for each response code that has its own (RFC 2136 section 2.2).
_REFUSALS = {
    Rcode.REFUSED: (
        "does not let the key {key!r} change TXT records of {name}",
        "Grant it, in BIND by: update-policy {{ grant {key} zonesub TXT; }};",
    ),
    Rcode.NOTAUTH: ("is not the primary server of {zone}", "Set the primary server, and ACME_DNS_ZONE to its zone"),
    Rcode.NOTZONE: ("has {name} in another zone than {zone}", "Set ACME_DNS_ZONE to the zone that has it"),
    Rcode.NOTIMP: ("accepts no updates by RFC 2136", "Set a server that does, such as BIND, Knot or PowerDNS"),
}

Record = tuple[Name, str]
"""The name of a TXT record and its value."""


def challenge_name(zone: ChallengeZone, identifier: str) -> Name:
    """Return where the TXT record of `_acme-challenge.identifier` has to be, by following CNAMEs into the zone."""
    origin = dns.name.from_text(zone.zone)
    asked = name = dns.name.from_text(f"_acme-challenge.{identifier}")
    for _ in range(MAX_ALIASES):
        # Not asked further: a resolver would remember that there is no record yet (RFC 2308).
        if name.is_subdomain(origin):
            return name
        if not (alias := _lookup(name, RdataType.CNAME)):
            break
        name = dns.name.from_text(alias[0])
    problem = "has no CNAME" if name == asked else f"is a CNAME of {_text(name)}, which is not in that zone"
    raise CertificateError(
        f"{_text(asked)} has to be a CNAME into ACME_DNS_ZONE={zone.zone}, and {problem}."
        f" Create the record: {asked} CNAME {identifier}.{zone.zone}."
    )


def add(zone: ChallengeZone, record: Record) -> None:
    """Add a TXT record; raises CertificateError."""
    name, value = record
    message = _update(zone)
    message.add(name, TTL, "TXT", value)
    _send(zone, message, name)


def delete(zone: ChallengeZone, record: Record) -> None:
    """Delete a TXT record, and none beside it; raises CertificateError."""
    name, value = record
    message = _update(zone)
    message.delete(name, "TXT", value)
    _send(zone, message, name)


def wait_until_published(zone: ChallengeZone, records: list[Record]) -> None:
    """Wait until all name servers of the zone have the records, because the ACME server may ask any of them."""
    servers = _lookup(dns.name.from_text(zone.zone), RdataType.NS)
    if not servers:
        raise CertificateError(
            f"ACME_DNS_ZONE={zone.zone} has no name servers in DNS (NS). Delegate the zone: the ACME server asks them"
        )
    deadline = time.monotonic() + PROPAGATION_TIMEOUT
    for server in servers:
        for name, value in records:
            while problem := _problem_at(server, name, value):
                if time.monotonic() > deadline:
                    raise CertificateError(
                        f"the name server {server.rstrip('.')} of ACME_DNS_ZONE={zone.zone} {problem}"
                        f" {PROPAGATION_TIMEOUT:.0f} s after the update. Check that it is reachable, and that"
                        f" {zone.server} notifies it of changes"
                    )
                time.sleep(POLL_INTERVAL)


def _problem_at(server: str, name: Name, value: str) -> str:
    """Return why the ACME server would not get the value from this name server; empty if it would."""
    query = dns.message.make_query(name, RdataType.TXT, flags=dns.flags.Flag(0))
    for address in _addresses(server, 53):
        try:
            answer, _ = dns.query.udp_with_fallback(query, address, timeout=TIMEOUT)
        except (OSError, EOFError, dns.exception.DNSException):
            continue  # IPv6 without a route, for example
        found = answer.get_rrset(answer.answer, name, RdataClass.IN, RdataType.TXT)
        values = {b"".join(text.strings).decode() for text in found or ()}
        return "" if value in values else f"does not have the TXT record {_text(name)}"
    return "does not answer"


def _lookup(name: Name, kind: RdataType) -> list[str]:
    """Return the names to which the records of this kind point, as the system's resolver reports them."""
    try:
        return [record.target.to_text() for record in dns.resolver.resolve(name, kind, search=False)]
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (OSError, dns.exception.DNSException) as error:
        raise CertificateError(
            f"the lookup of {_text(name)} fails ({_one_line(error)}). Check this host's resolver, and the name servers"
        ) from None


def _update(zone: ChallengeZone) -> dns.update.UpdateMessage:
    key = dns.tsig.Key(zone.key_name, read_secret(zone.key_file), zone.algorithm)
    return dns.update.UpdateMessage(zone.zone, keyring=key)


def _send(zone: ChallengeZone, message: dns.update.UpdateMessage, name: Name) -> None:
    server = f"ACME_DNS_SERVER={zone.server}"
    try:
        response = _response(zone, message)
    except dns.tsig.PeerBadKey:
        raise CertificateError(
            f"{server} does not know the key {zone.key_name!r} with {zone.algorithm}. Set ACME_DNS_KEY_NAME and"
            " ACME_DNS_ALGORITHM as that server has them"
        ) from None
    except (dns.tsig.PeerBadSignature, dns.tsig.BadSignature):
        raise CertificateError(
            f"{server} has another secret for the key {zone.key_name!r}. Put that server's secret into"
            f" ACME_DNS_KEY_FILE={zone.key_file.name}"
        ) from None
    except (dns.tsig.PeerBadTime, dns.tsig.BadTime):
        raise CertificateError(f"the clocks of this host and of {server} differ by more than 5 min. Set them") from None
    except (OSError, EOFError, dns.exception.DNSException) as error:
        raise CertificateError(
            f"{server} does not answer on TCP port {zone.port} ({_one_line(error)}). Check the setting and the firewall"
        ) from None
    if (code := response.rcode()) != Rcode.NOERROR:
        cause, remedy = _REFUSALS.get(code, ("cannot write the zone", "Check that server's log"))
        details = {"key": zone.key_name, "name": _text(name), "zone": zone.zone}
        raise CertificateError(f"{server} {cause} ({dns.rcode.to_text(code)}). {remedy}".format(**details))


def _response(zone: ChallengeZone, message: dns.update.UpdateMessage) -> dns.message.Message:
    """Send the message to the first address that accepts connections."""
    failure: Exception = OSError("the name has no address")
    for address in _addresses(zone.server, zone.port):
        try:
            return dns.query.tcp(message, address, timeout=TIMEOUT, port=zone.port)
        except (OSError, dns.exception.Timeout) as error:
            failure = error
    raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (socket.gaierror, UnicodeError):
        return []


def _one_line(error: Exception) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _text(name: Name) -> str:
    return name.to_text(omit_final_dot=True)
