"""External account binding (RFC 8555 section 7.3.4): an account of the CA, to which the ACME account belongs."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from certificates import CertificateError


@dataclass(frozen=True)
class AccountBinding:
    """The ID of the HMAC key, and the key in base64url without padding."""

    kid: str
    key: str = field(repr=False)


def read_binding(kid: str, file: Path) -> AccountBinding:
    """Return the binding with the key in a file; raises CertificateError, which does not contain the key."""
    if not kid.isascii() or not kid.isprintable() or any(character in " \"'" for character in kid):
        raise CertificateError(f"ACME_EAB_KID={kid!r} is not an ID. Set the key's ID, without quotes and spaces")
    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise CertificateError(
            f"ACME_EAB_HMAC_KEY_FILE={file.name!r} is not readable in CERTS_DIR ({reason})."
            " Put a file with the key there"
        ) from None
    # Some CAs show it in the other alphabet, or with padding.
    key = key.translate(str.maketrans("+/", "-_")).rstrip("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key) or len(key) % 4 == 1:
        raise CertificateError(
            f"ACME_EAB_HMAC_KEY_FILE={file.name!r} is not one key in base64url. Put nothing but the HMAC key there,"
            " as the ACME server's operator shows it"
        )
    return AccountBinding(kid, key)
