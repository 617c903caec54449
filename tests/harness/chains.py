"""Certificate chains of all kinds that servers send: good, cross-signed, expired, strict and lax."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
PAST: dict[str, Any] = {"start": NOW - 400 * DAY, "end": NOW - 10 * DAY}
FUTURE: dict[str, Any] = {"start": NOW + 10 * DAY, "end": NOW + 100 * DAY}
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        key: bytes = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    start: datetime = NOW - 30 * DAY,
    end: datetime = NOW + 60 * DAY,
    key: Key | None = None,
    key_usage: bool = True,
    key_id: bool = True,
    path_length: int | None = None,
    critical_ca: bool = True,
    basic_constraints: bool = True,
    purposes: tuple[x509.ObjectIdentifier, ...] = (),
    names: tuple[str, ...] | None = None,
    critical_names: bool = False,
    subject: bool = True,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> Issued:
    """Issue a certificate; by default as RFC 5280 requires, for `name` if it is not a CA's."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if subject else [])
    issuer_name = issuer.certificate.subject if issuer else own
    builder = x509.CertificateBuilder(issuer_name, own, key.public_key(), x509.random_serial_number(), start, end)
    added: list[tuple[x509.ExtensionType, bool]] = list(extensions)
    if basic_constraints:
        added.append((x509.BasicConstraints(ca=ca, path_length=path_length), critical_ca))
    if key_id:
        added.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        added.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False))
    if key_usage:
        added.append((usage(ca=ca), True))
    if purposes:
        added.append((x509.ExtendedKeyUsage(purposes), False))
    alternatives = names if names is not None else () if ca else (name,)
    if alternatives:
        san = x509.SubjectAlternativeName([x509.DNSName(each) for each in alternatives])
        added.append((san, critical_names))
    for extension, critical in added:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(builder.sign(signer, algorithm), key)


def usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Chain:
    """What is in server.pem, leaf first unless the case is about that, and which roots clients know."""

    leaf: Issued
    sent: tuple[Issued, ...]
    roots: tuple[Issued, ...]

    @property
    def pem(self) -> bytes:
        return b"".join(one.pem for one in self.sent)


def _simple(
    name: str, *, root: dict[str, Any] | None = None, middle: dict[str, Any] | None = None, **leaf: Any
) -> Chain:
    """A root, an intermediate and a leaf, each with the options that make the case."""
    top = issue(f"Root of {name}", ca=True, **(root or {}))
    intermediate = issue(f"Intermediate of {name}", top, **{"ca": True, **(middle or {})})
    end = issue(f"{name}.localhost", intermediate, **{"purposes": (SERVER,), **leaf})
    return Chain(end, (end, intermediate), (top,))


def _cross_signed(name: str, *, known: bool = True, **cross: Any) -> Chain:
    """After the change of a root, the chain ends with the new one, signed by the old; `known`: clients know the new."""
    old = issue(f"Old root of {name}", ca=True)
    new = issue(f"New root of {name}", ca=True)
    crossed = issue(f"New root of {name}", old, ca=True, key=new.key, **cross)
    intermediate = issue(f"Intermediate of {name}", new, ca=True)
    leaf = issue(f"{name}.localhost", intermediate, purposes=(SERVER,))
    return Chain(leaf, (leaf, intermediate, crossed), (new if known else old,))


def _two_intermediates(name: str, *first: dict[str, Any]) -> Chain:
    """One key and name with two certificates, in this order; `first`: the dates of each."""
    root = issue(f"Root of {name}", ca=True)
    key = ec.generate_private_key(ec.SECP256R1())
    both = [issue(f"Intermediate of {name}", root, ca=True, key=key, **dates) for dates in first]
    leaf = issue(f"{name}.localhost", both[-1], purposes=(SERVER,))
    return Chain(leaf, (leaf, *both), (root,))


def _rearranged(name: str, *order: int, root: bool = False, stranger: bool = False) -> Chain:
    """Leaf (0) and two intermediates (1, 2) in this order."""
    top = issue(f"Root of {name}", ca=True)
    second = issue(f"Second intermediate of {name}", top, ca=True)
    first = issue(f"First intermediate of {name}", second, ca=True)
    leaf = issue(f"{name}.localhost", first, purposes=(SERVER,))
    sent = [(leaf, first, second)[i] for i in order]
    others = [*([top] if root else []), *([issue("A stranger", ca=True)] if stranger else [])]
    return Chain(leaf, (*sent, *others), (top,))


def _direct(name: str) -> Chain:
    root = issue(f"Root of {name}", ca=True)
    leaf = issue(f"{name}.localhost", root, purposes=(SERVER,))
    return Chain(leaf, (leaf,), (root,))


def _new_hierarchy(name: str, *, known: int) -> Chain:
    """Let's Encrypt's generation Y: Root YE, cross-signed by ISRG Root X2, and that by X1; clients know the oldest."""
    x1, x2, ye = (issue(f"ISRG Root {each} of {name}", ca=True) for each in ("X1", "X2", "YE"))
    ye_by_x2 = issue(f"ISRG Root YE of {name}", x2, ca=True, key=ye.key)
    x2_by_x1 = issue(f"ISRG Root X2 of {name}", x1, ca=True, key=x2.key)
    ye1 = issue(f"YE1 of {name}", ye, ca=True, path_length=0, purposes=(SERVER,))
    leaf = issue(f"{name}.localhost", ye1, purposes=(SERVER,), subject=False, critical_names=True)
    return Chain(leaf, (leaf, ye1, ye_by_x2, x2_by_x1), (x1, x2, ye)[:known])


def _missing(name: str) -> Chain:
    root = issue(f"Root of {name}", ca=True)
    intermediate = issue(f"Intermediate of {name}", root, ca=True)
    address = x509.UniformResourceIdentifier("http://127.0.0.1:9/issuer.der")
    access = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, address)]
    )
    leaf = issue(f"{name}.localhost", intermediate, purposes=(SERVER,), extensions=((access, False),))
    return Chain(leaf, (leaf,), (root,))


def _strange_root(name: str) -> Chain:
    """Issued by a root that is not the one which clients know."""
    strange = _simple(name)
    return Chain(strange.leaf, strange.sent, (issue(f"Another root of {name}", ca=True),))


def _unknown_extension() -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True),)


def _constraints(permitted: str) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    return ((x509.NameConstraints([x509.DNSName(permitted)], None), True),)


def all_chains() -> dict[str, Chain]:
    """Return the chains by the first label of the leaf's name."""
    rsa_keys = [rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 1024)]
    now: dict[str, Any] = {}
    return {
        # Good.
        "good": _simple("good"),
        "without-intermediate": _direct("without-intermediate"),
        "two-intermediates": _rearranged("two-intermediates", 0, 1, 2),
        "rsa": _simple("rsa", root={"key": rsa_keys[0]}, key=rsa_keys[1]),
        "no-subject": _simple("no-subject", subject=False, critical_names=True),
        "wildcard": _simple("wildcard", names=("*.localhost", "wildcard.localhost")),
        "path-length": _simple("path-length", root={"path_length": 1}, middle={"path_length": 0}),
        "without-purpose": _simple("without-purpose", purposes=()),
        # Cross-signed.
        "cross-signed": _cross_signed("cross-signed"),
        "cross-signed-old-clients": _cross_signed("cross-signed-old-clients", known=False),
        "cross-sign-expired": _cross_signed("cross-sign-expired", **PAST),
        "cross-sign-not-yet": _cross_signed("cross-sign-not-yet", **FUTURE),
        "cross-sign-expired-old-clients": _cross_signed("cross-sign-expired-old-clients", known=False, **PAST),
        "old-intermediate-first": _two_intermediates("old-intermediate-first", PAST, now),
        "old-intermediate-last": _two_intermediates("old-intermediate-last", now, PAST),
        "generation-y": _new_hierarchy("generation-y", known=3),
        "generation-y-x2": _new_hierarchy("generation-y-x2", known=2),
        "generation-y-x1": _new_hierarchy("generation-y-x1", known=1),
        # Expired, or not yet valid, at each place.
        "leaf-expired": _simple("leaf-expired", **PAST),
        "leaf-not-yet": _simple("leaf-not-yet", **FUTURE),
        "intermediate-expired": _simple("intermediate-expired", middle=PAST),
        "intermediate-not-yet": _simple("intermediate-not-yet", middle=FUTURE),
        "root-expired": _simple("root-expired", root=PAST),
        "root-not-yet": _simple("root-not-yet", root=FUTURE),
        # Order and extra certificates.
        "order-wrong": _rearranged("order-wrong", 0, 2, 1),
        "leaf-last": _rearranged("leaf-last", 2, 1, 0),
        "leaf-twice": _rearranged("leaf-twice", 0, 0, 1, 2),
        "root-sent": _rearranged("root-sent", 0, 1, 2, root=True),
        "stranger-sent": _rearranged("stranger-sent", 0, 1, 2, stranger=True),
        # Missing.
        "intermediate-missing": _missing("intermediate-missing"),
        "root-unknown": _strange_root("root-unknown"),
        # Strict and lax (RFC 5280).
        "root-without-key-usage": _simple("root-without-key-usage", root={"key_usage": False}),
        "intermediate-without-key-usage": _simple("intermediate-without-key-usage", middle={"key_usage": False}),
        "leaf-without-key-ids": _simple("leaf-without-key-ids", key_id=False),
        "intermediate-without-key-ids": _simple("intermediate-without-key-ids", middle={"key_id": False}),
        "constraints-not-critical": _simple("constraints-not-critical", middle={"critical_ca": False}),
        "no-subject-not-critical": _simple("no-subject-not-critical", subject=False),
        # Not permitted.
        "intermediate-not-ca": _simple("intermediate-not-ca", middle={"ca": False}),
        "intermediate-without-constraints": _simple(
            "intermediate-without-constraints", middle={"basic_constraints": False}
        ),
        "path-too-long": _simple("path-too-long", root={"path_length": 0}),
        "name-not-permitted": _simple("name-not-permitted", middle={"extensions": _constraints("example.com")}),
        "name-permitted": _simple("name-permitted", middle={"extensions": _constraints("localhost")}),
        "for-clients": _simple("for-clients", purposes=(CLIENT,)),
        "intermediate-for-clients": _simple("intermediate-for-clients", middle={"purposes": (CLIENT,)}),
        "critical-extension": _simple("critical-extension", extensions=_unknown_extension()),
        "other-name": _simple("other-name", names=("elsewhere.localhost",)),
        "common-name-only": _simple("common-name-only", names=()),
        # Keys.
        "intermediate-p384": _simple("intermediate-p384", middle={"key": ec.generate_private_key(ec.SECP384R1())}),
        "intermediate-p521": _simple("intermediate-p521", middle={"key": ec.generate_private_key(ec.SECP521R1())}),
        "intermediate-ed25519": _simple("intermediate-ed25519", middle={"key": ed25519.Ed25519PrivateKey.generate()}),
        "intermediate-rsa-1024": _simple("intermediate-rsa-1024", middle={"key": rsa_keys[2]}),
        "leaf-p521": _simple("leaf-p521", key=ec.generate_private_key(ec.SECP521R1())),
        "leaf-ed25519": _simple("leaf-ed25519", key=ed25519.Ed25519PrivateKey.generate()),
    }
