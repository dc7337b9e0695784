"""The form in which client addresses are kept: whole, as their network, or as a salted hash."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from sidecar.control.networks import network_of
from sidecar.control.salt import Salt
from sidecar.events.record import Request
from sidecar.events.wire import decode, encode
from sidecar.keys.secret_file import replace_private
from sidecar.store.client import StoreUnavailable

SALT_FILE = "address-salt"
SALT_SIZE = 32
Form = Literal["full", "network", "hash"]
_REMEMBERED = 50_000
"""Client addresses whose kept form is remembered."""
LEARN_EVERY = 60.0
"""Seconds; a store that was emptied and adopted lacks the salt."""


class Addresses:
    """Rewrites addresses; remembers the recent ones."""

    def __init__(self, form: Form, salt: bytes) -> None:
        self._form = form
        self._salt = salt
        self._clients: dict[str, str] = {}
        self._networks: dict[str, str] = {}

    def use(self, salt: bytes) -> bool:
        """Hash with this salt from now on; whether it is another one."""
        if salt == self._salt:
            return False
        self._salt = salt
        self._clients.clear()
        self._networks.clear()
        return True

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


class SharedSalt:
    """Has `addresses` hash as all replicas do: in the one call log a client is one client, whichever of them it came to."""

    def __init__(self, addresses: Addresses, salt: Salt, data_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._addresses = addresses
        self._salt = salt
        self._data_dir = data_dir
        self._clock = clock
        self._is_known = False
        self._due_at = float("-inf")

    async def learn(self) -> None:
        """Take up the store's salt, once in a while. What hinders that hinders nothing else: until then the one that is there serves."""
        now = self._clock()
        if now < self._due_at:
            return
        if self._is_known:
            # Whoever asks here is not to wait each time for the one server of a Cluster that has it, and is away.
            self._due_at = now + LEARN_EVERY
        with suppress(StoreUnavailable):
            found = await self._salt.read()
            self._is_known, self._due_at = True, now + LEARN_EVERY
            if self._addresses.use(found):
                # What a full disk does not take is learnt again at the next start.
                with suppress(OSError):
                    replace_private(self._data_dir / SALT_FILE, found)


def load_salt(data_dir: Path) -> bytes:
    """The salt that this data directory knows, made at the first start, and anew where a crash has left less than one. Raises OSError."""
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
