"""What the store knows of a secret: a digest keyed with the pepper, a secret that never enters the store.

Secrets hold 256 random bits, so a fast digest is enough; the pepper makes a stolen store useless
even for short imported secrets, and keeps whoever can write to the store from planting a key: unless imported
tokens are accepted, which are known by their bare SHA-256 until their first use.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.keys.secret_file import make_once
from sidecar.keys.token import SENT, is_well_formed
from sidecar.settings.check import ADMIN_TOKEN_PREFIX

SHA256 = "sha256"
"""`pepper_id` of an imported secret that has not been used yet."""

LONGEST_TOKEN = 512
"""Bytes; longer tokens are not digested, or digesting would be a lever for denial of service."""

_SHORTEST_PEPPER = 32
"""Bytes."""
_SENT = re.compile(SENT)


@dataclass(frozen=True, slots=True)
class Pepper:
    """A pepper. `id` and `fingerprint` follow from the secret and give nothing of it away."""

    id: str
    fingerprint: str
    key: bytes = field(repr=False)
    keyed: hashlib.blake2b = field(repr=False, compare=False)
    """Has taken in the key, and nothing else: to copy it is half the work of a short digest."""

    @classmethod
    def of(cls, secret: bytes) -> Pepper:
        """The pepper whose file holds `secret`."""

        def derive(purpose: bytes, size: int) -> bytes:
            return hashlib.blake2b(secret, digest_size=size, person=purpose).digest()

        key = derive(b"pepper key", 64)
        keyed = hashlib.blake2b(digest_size=32, key=key)
        return cls(derive(b"pepper id", 8).hex(), derive(b"pepper print", 16).hex(), key, keyed)


def digest(token: bytes, pepper: Pepper) -> str:
    """Keyed BLAKE2b-256 of `token`, in hex."""
    state = pepper.keyed.copy()
    state.update(token)
    return state.hexdigest()


def imported_digest(token: bytes) -> str:
    """SHA-256 of `token` in hex, the form in which foreign keys are imported."""
    return hashlib.sha256(token).hexdigest()


def import_memory(sha256: str, pepper: Pepper) -> str:
    """By what an imported secret is remembered when its SHA-256 has left the store; in hex."""
    return digest(b"imported " + sha256.encode(), pepper)


def load_or_create(path: Path) -> Pepper:
    """The pepper in `path`, made there (mode 0600) when there is no file.

    Processes that start together end up with the same one. Raises OSError when the file cannot be
    read or made, ValueError when it holds less than 32 bytes.
    """
    make_once(path, lambda: secrets.token_hex(32) + "\n")
    return load(path)


def load(path: Path) -> Pepper:
    """The pepper in `path`; raises OSError or ValueError."""
    secret = path.read_bytes().strip()
    if len(secret) < _SHORTEST_PEPPER:
        raise ValueError(f"{path} holds fewer than {_SHORTEST_PEPPER} bytes; make a pepper with: openssl rand -hex 32")
    return Pepper.of(secret)


def may_be_key(token: bytes, prefix: str, *, accept_imported: bool) -> bool:
    """Whether `token` may open the data plane, by its form alone. An admin token never does, imported or not."""
    if not accept_imported or prefix == ADMIN_TOKEN_PREFIX:
        return is_well_formed(token, prefix)
    return bool(_SENT.fullmatch(token)) and len(token) <= LONGEST_TOKEN and not is_well_formed(token, ADMIN_TOKEN_PREFIX)


@dataclass(frozen=True, slots=True)
class Digester:
    """Turns tokens into the digests under which their secrets may be stored."""

    prefix: str
    pepper: Pepper
    previous: Pepper | None = None
    accept_imported: bool = False

    def primary(self, token: bytes) -> str:
        """The digest that new secrets are stored under."""
        return digest(token, self.pepper)

    def is_possible(self, token: bytes) -> bool:
        """Whether `token` may be a key, by its form alone."""
        # As may_be_key says, with one call less for whoever tries tokens.
        return may_be_key(token, self.prefix, accept_imported=True) if self.accept_imported else is_well_formed(token, self.prefix)

    def candidates(self, token: bytes) -> list[str]:
        """Every digest to look up, in order; none when `token` cannot be a key, without asking the store."""
        if not self.is_possible(token):
            return []
        found = [self.primary(token)]
        if self.previous is not None:
            found.append(digest(token, self.previous))
        if self.accept_imported:
            found.append(imported_digest(token))
        return found
