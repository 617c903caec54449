"""Finds the pair in the operator's directory: by the usual names, in certbot's lineages, or by content."""

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509

from certificates import CertificateError
from certificates.chain import in_order, subject
from certificates.contents import Contents, PrivateKey, key_pem, public_bytes, read_contents
from certificates.development import CA_FILE, is_development, is_development_ca
from certificates.domain import covers
from certificates.pair import Pair, names_of, to_pem
from certificates.volume import CERTIFICATE, KEY

# The first layout that is present is used. The second and third are certbot's.
LAYOUTS = ((CERTIFICATE, KEY), ("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem"))
LINEAGES = "live"
# certbot's: old generations, requests and keys; none of them is a pair to serve.
_NOT_SEARCHED = ("archive", "csr", "keys", "accounts", "renewal", "renewal-hooks", LINEAGES)
MAX_SIZE = 1 << 20  # bytes of a file that may hold a certificate or a key
_SUFFIXES = (".pem", ".crt", ".cer", ".key", ".pfx", ".p12", ".p7b", ".der", ".jks")
_MAX_LISTED = 8

Files = dict[str, Contents]


@dataclass(frozen=True)
class Source:
    """The directory, and what in it is not for the server's pair."""

    directory: Path
    domain: tuple[str, ...]
    password_file: str = ""
    """The file in the directory with the password of its keys; empty: none is encrypted."""
    ignored: frozenset[str] = frozenset()
    """Files that other settings name, such as CLIENT_CA."""

    @property
    def _password(self) -> bytes | None:
        if not self.password_file:
            return None
        return read_file(self.directory / self.password_file).rstrip(b"\r\n")

    def find(self) -> Pair | None:
        """Return the pair to serve; None if no file looks like a certificate or a key.

        Raises CertificateError if there are files, but no pair, or several.
        """
        password = self._password
        files = self._read(self.directory, password)
        pair = _named_pair(files)
        if pair and not is_development(pair):
            return pair
        development, pair = pair, None
        if development:
            files = {name: each for name, each in files.items() if name not in (CERTIFICATE, KEY)}
        if pair := self._select_loose(_pairs(files)):
            return pair
        lineages, broken = self._lineages(password)
        if covering := [pair for pair in lineages if self._covers(pair)]:
            return max(covering, key=lambda pair: pair.expiry)
        if development:
            return development
        if lineages:
            found = "; ".join(sorted({_describe_pair(pair) for pair in lineages})[:_MAX_LISTED])
            raise CertificateError(
                f"no certificate there covers all of DOMAIN={','.join(self.domain)}: {found}."
                " Get one that does, or correct DOMAIN"
            )
        if found := describe({**files, **broken}):
            raise CertificateError(f"no certificate there has its private key in PEM: {found}")
        return None

    def unusable(self) -> str:
        """Describe what is there beside a pair with the usual names, and why it is not served."""
        password = self._password
        files = self._read(self.directory, password)
        _, broken = self._lineages(password)
        return describe({**{name: each for name, each in files.items() if name not in (CERTIFICATE, KEY)}, **broken})

    def read_named(self) -> Pair | None:
        """Return the pair with one of the usual names in the directory itself."""
        return _named_pair(self._read(self.directory, self._password))

    def _covers(self, pair: Pair) -> bool:
        return all(covers(pair.names, name) for name in self.domain)

    def _select_loose(self, pairs: list[Pair]) -> Pair | None:
        """Return the only pair under any names that covers DOMAIN; if there is only one, `check_pair` judges it."""
        covering = [pair for pair in pairs if self._covers(pair)]
        valid = [pair for pair in covering if pair.expiry > datetime.now(UTC)]
        candidates = valid or covering or pairs
        if len(candidates) > 1:
            found = "; ".join(map(_describe_pair, candidates[:_MAX_LISTED]))
            raise CertificateError(
                f"{len(candidates)} certificates with their keys are there: {found}. Leave one there"
            )
        return candidates[0] if candidates else None

    def _lineages(self, password: bytes | None) -> tuple[list[Pair], Files]:
        """Return the pairs in the subdirectories, and the files in them that cannot be used."""
        pairs: list[Pair] = []
        broken: Files = {}
        for directory in [*_subdirectories(self.directory), *_subdirectories(self.directory / LINEAGES)]:
            prefix = f"{directory.relative_to(self.directory)}/"
            files = {prefix + name: each for name, each in self._read(directory, password).items()}
            try:
                named = _named_pair(files, prefix)
                pairs += [named] if named else _pairs(files)
            except CertificateError as error:
                broken[prefix] = Contents(mistake=str(error))
            else:
                broken |= files
        return pairs, broken

    def _read(self, directory: Path, password: bytes | None) -> Files:
        ignored = self.ignored | {self.password_file}
        files: Files = {}
        for path in sorted(directory.iterdir()):
            if path.name.startswith(".") or (path.parent == self.directory and path.name in ignored):
                continue
            if path.name == CA_FILE and is_development_ca(path):
                continue
            if contents := _contents(path, password):
                files[path.name] = contents
        return files


def read_pair(directory: Path) -> Pair | None:
    """Return the pair with one of the usual names in the directory; None if there is none."""
    return Source(directory, ()).read_named() if directory.is_dir() else None


def describe(files: Files) -> str:
    """Return, in one line, what each file holds and what to do with it."""
    parts = [text for name, contents in files.items() if (text := _describe(name, contents))]
    more = f"; and {len(parts) - _MAX_LISTED} more files" if len(parts) > _MAX_LISTED else ""
    return "; ".join(parts[:_MAX_LISTED]) + more


def read_file(path: Path) -> bytes:
    """Return the content of the operator's file; raises CertificateError if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CertificateError(f"{path.name} is not a file. Put a PEM file there")
        return path.read_bytes()
    except FileNotFoundError:
        if not path.is_symlink():
            raise CertificateError(f"{path.name} is missing. Put the file there") from None
        raise CertificateError(
            f"{path.name} is a link to {path.readlink()}, which is outside this directory."
            " Put the file itself there (cp --dereference); if it is certbot's, set CERTS_DIR to /etc/letsencrypt"
        ) from None
    except OSError as error:
        raise CertificateError(f"{path.name} is unreadable ({error.strerror}). Put a readable PEM file there") from None


def _subdirectories(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    found = (path for path in directory.iterdir() if path.name not in _NOT_SEARCHED and not path.name.startswith("."))
    return sorted(path for path in found if path.is_dir())


def _contents(path: Path, password: bytes | None) -> Contents | None:
    """Return what a file holds; None for what is no part of TLS, such as a subdirectory or a README."""
    is_expected = any(path.name in layout for layout in LAYOUTS)
    looks_like_one = is_expected or path.suffix.lower() in _SUFFIXES
    try:
        if not is_expected and (path.is_dir() or (path.exists() and path.stat().st_size > MAX_SIZE)):
            return None
        contents = read_contents(read_file(path), path.name, password)
    except CertificateError as error:
        return Contents(mistake=str(error)) if looks_like_one else None
    if not contents and looks_like_one:
        return Contents(mistake=f"{path.name} has no PEM block (-----BEGIN …). Put a PEM file there")
    return contents


def _named_pair(files: Files, prefix: str = "") -> Pair | None:
    for layout in LAYOUTS:
        certificate, key = (prefix + name for name in layout)
        if certificate not in files:
            continue
        for name in (certificate, key):
            if name in files and files[name].mistake:
                raise CertificateError(files[name].mistake)
        if pairs := _pairs(files, only=(certificate, key)):
            # A certificate that was renewed with the same key is there twice at most: the new one counts.
            return max(pairs, key=lambda pair: pair.expiry)
        if key in files:
            raise CertificateError(_mismatch(files, certificate, key))
        if pairs := [pair for pair in _pairs(files) if pair.certificate_file == certificate]:
            return pairs[0]
        if layout != LAYOUTS[1] or (prefix + LAYOUTS[2][0]) not in files:
            raise CertificateError(
                f"{layout[0]} is there, but {layout[1]} is missing. Put both files there, or neither"
            )
    return None


def _mismatch(files: Files, certificate: str, key: str) -> str:
    if not files[certificate].certificates and not files[key].certificates:
        return f"{certificate} has no certificate: it contains a private key. Put the full chain there, leaf first"
    if not files[key].keys and not files[certificate].keys:
        return f"{key} has no private key: it contains a certificate. Put the key of {certificate} there"
    return (
        f"{key} is not the key of {certificate}. Put certificate and key of the same issuance there"
        " (the key that the certificate request was made with)"
    )


def _pairs(files: Files, only: tuple[str, ...] = ()) -> list[Pair]:
    """Return each certificate whose key is there, too, with the chain from all files; `only`: certificate and key."""
    return _find_pairs(tuple(files.items()), only)


@lru_cache(maxsize=2048)  # all lineages are read every second
def _find_pairs(items: tuple[tuple[str, Contents], ...], only: tuple[str, ...]) -> list[Pair]:
    files = dict(items)
    own = {name: files[name] for name in (only or files) if name in files}
    keys = {public_bytes(key): (name, key) for name, contents in reversed(own.items()) for key in contents.keys}
    leaves: dict[x509.Certificate, str] = {}
    for name, contents in own.items():
        for certificate in contents.certificates:
            # The file with the chain is a better name for it than that with the leaf alone.
            if certificate not in leaves or len(contents.certificates) > len(own[leaves[certificate]].certificates):
                leaves[certificate] = name
    pairs = []
    for leaf, name in leaves.items():
        if _has_readable_key(leaf) and (found := keys.get(public_bytes(leaf))):
            pairs.append(_assemble(leaf, name, *found, own, files))
    return pairs


def _assemble(leaf: x509.Certificate, file: str, key_file: str, key: PrivateKey, own: Files, files: Files) -> Pair:
    given = files[file].certificates
    nearby = [one for each in own.values() for one in each.certificates]
    # Another file completes a chain, but brings no expired certificate into it.
    now = datetime.now(UTC)
    others = [one for each in files.values() for one in each.certificates if one.not_valid_after_utc > now]
    chain = in_order(leaf, [*given, *nearby, *others])
    notes = []
    if unused := [one for one in given if one not in chain]:
        names = ", ".join(map(subject, unused))
        notes.append(f"{file} has certificates that are no part of its chain ({names}); they are not sent")
    if [one for one in chain if one in given] != [one for one in given if one in chain]:
        notes.append(f"{file} is out of order; the chain is sent in order, leaf first")
    if added := [one for one in chain if one not in given]:
        notes.append(f"the chain of {file} was completed from other files with {', '.join(map(subject, added))}")
    return Pair(to_pem(chain), key_pem(key), certificate_file=file, key_file=key_file, notes=tuple(notes))


def _has_readable_key(certificate: x509.Certificate) -> bool:
    try:
        public_bytes(certificate)
    except Exception:  # any unsupported key
        return False
    return True


def _describe_pair(pair: Pair) -> str:
    where = os.path.dirname(pair.certificate_file) or pair.certificate_file  # noqa: PTH120  # not a path of this machine
    return f"{where} is for {', '.join(pair.names) or 'no name'} until {pair.expiry:%Y-%m-%d}"


def _describe(name: str, contents: Contents) -> str:
    if contents.mistake:
        prefix = os.path.dirname(name)  # noqa: PTH120
        return f"{prefix}/{contents.mistake}" if prefix else contents.mistake
    if contents.certificates:
        leaf = contents.certificates[0]
        if names := names_of(leaf):
            return (
                f"{name} is a certificate for {', '.join(names)}, and its private key is not there. Put the key there"
            )
        return f"{name} is a certificate without names ({subject(leaf)}), perhaps of a CA"
    return f"{name} is a private key, and its certificate is not there. Put what the CA issued for it there"
