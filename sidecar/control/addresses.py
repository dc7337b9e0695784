"""The form in which client addresses are kept: whole, as their network, or as a salted hash."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from sidecar.control.networks import network_of
from sidecar.events.record import Request
from sidecar.events.wire import decode, encode
from sidecar.keys.secret_file import replace_private

SALT_FILE = "address-salt"
SALT_SIZE = 32
Form = Literal["full", "network", "hash"]
_REMEMBERED = 50_000
"""Client addresses whose kept form is remembered."""


class Addresses:
    """Rewrites addresses; remembers the recent ones."""

    def __init__(self, form: Form, salt: bytes) -> None:
        self._form = form
        self._salt = salt
        self._clients: dict[str, str] = {}
        self._networks: dict[str, str] = {}

    def client(self, client: str) -> str:
        """A client's address as it is kept."""
        if self._form == "full" or not client:
            return client
        kept = self._clients.get(client)
        if kept is None:
            kept = _remember(self._clients, client, network_of(client) if self._form == "network" else self._hash(client))
        return kept

    def network(self, client: str) -> str:
        """A client's network as it is kept."""
        kept = self._networks.get(client)
        if kept is None:
            network = network_of(client)
            kept = _remember(self._networks, client, self._hash(network) if self._form == "hash" else network)
        return kept

    def redact(self, records: list[bytes]) -> list[bytes]:
        """The same records, each at its place, with clients as they are kept; what cannot be read stays as it is."""
        return records if self._form == "full" else [self._redacted(record) for record in records]

    def _redacted(self, record: bytes) -> bytes:
        try:
            event = decode(record)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return record
        return encode(replace(event, client=self.client(event.client))) if isinstance(event, Request) else record

    def _hash(self, text: str) -> str:
        return "hash:" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._salt).hexdigest()


def load_salt(data_dir: Path) -> bytes:
    """The salt of this data directory, made at the first start, and anew where a crash has left less than one. Raises OSError."""
    path = data_dir / SALT_FILE
    with suppress(FileNotFoundError):
        # An empty salt is none: whoever tries every address would know those that were hashed.
        if len(salt := path.read_bytes()) >= SALT_SIZE:
            return salt
    salt = secrets.token_bytes(SALT_SIZE)
    replace_private(path, salt)
    return salt


def _remember(known: dict[str, str], client: str, kept: str) -> str:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[client] = kept
    return kept
