"""From a client address to the network it is counted under: a salted number for memory, a name for the evidence.

Only the number is ever stored with a key. With a MaxMind file the network is the autonomous system,
which survives a change of address within one provider.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from sidecar.settings.values import read_network

NameForm = Literal["full", "network", "hash"]
NUMBER_BYTES = 4
"""32 bits: a key remembers 40 networks, so a new one is mistaken for one of them once in 100 million times."""

_CACHE = 50_000
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HASHED = re.compile(r"network ([0-9a-f]{8})")
_PLACED = re.compile(r"[0-9a-f.:]+/(?:24|48) \((.+)\)")
"""The two forms of a network's name in which its number does not come from the name as a whole."""
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")


class GeoReader(Protocol):
    """The part of `maxminddb.Reader` that is used."""

    def get(self, address: str) -> object:
        """What the file says of an address."""
        ...


@dataclass(frozen=True, slots=True)
class Network:
    """One source: `number` is salted, `name` is for people."""

    number: int
    name: str
    is_trusted: bool = False
    """Declared by the operator: never new."""
    without_place: int | None = None
    """The number that it has without a MaxMind file, where that is another one."""


class Networks:
    """Maps addresses as text to networks, remembering the recent ones. ValueError for a trusted network that is none."""

    def __init__(self, salt: bytes, *, names: NameForm = "network", geo: GeoReader | None = None, trusted: Iterable[str] = ()) -> None:
        self._salt = salt
        self._trusted = [read_network(network) for network in trusted]
        self._names = names
        self._geo = geo
        self._known: dict[str, Network] = {}
        self._numbers: dict[str, int] = {}

    def use(self, salt: bytes) -> None:
        """Number with this salt from now on."""
        if salt != self._salt:
            self._salt = salt
            self._known.clear()
            self._numbers.clear()

    def of(self, address: str) -> Network:
        """The network of `address`: /24 for IPv4, /48 for IPv6; text that is no address is a network of its own."""
        network = self._known.get(address)
        if network is None:
            if len(self._known) >= _CACHE:
                self._known.clear()
            network = self._known[address] = self._make(address)
        return network

    def named(self, name: str) -> Network:
        """The network to which `of`, in this process or an earlier one with the same salt, gave this name."""
        hashed = _HASHED.fullmatch(name)
        if hashed is not None:
            return Network(int(hashed[1], 16), name)
        placed = _PLACED.fullmatch(name)
        return Network(self.number(placed[1] if placed is not None else name), name)

    def number(self, text: str) -> int:
        """A salted number for any text."""
        number = self._numbers.get(text)
        if number is None:
            if len(self._numbers) >= _CACHE:
                self._numbers.clear()
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=NUMBER_BYTES, key=self._salt).digest()
            number = self._numbers[text] = int.from_bytes(digest)
        return number

    def _make(self, address: str) -> Network:
        prefix = prefix_of(address)
        place = self._place(address)
        number = self.number(place or prefix)
        name = f"{prefix} ({place})" if place else prefix
        if self._names == "hash":
            name = f"network {number:08x}"
        return Network(number, name, self._is_trusted(address), self.number(prefix) if place else None)

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self._trusted)

    def _place(self, address: str) -> str:
        if self._geo is None:
            return ""
        try:
            found = self._geo.get(address)
        except ValueError:
            return ""
        return place_of(cast("Mapping[str, object]", found)) if isinstance(found, Mapping) else ""


def prefix_of(address: str) -> str:
    """The /24 or /48 around `address`; what is no address comes back as it is, cut to 64 characters."""
    if _IPV4.fullmatch(address):
        return f"{address.rpartition('.')[0]}.0/24"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64] or "an unknown address"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 48), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network((parsed, 24), strict=False))


def place_of(record: Mapping[str, object]) -> str:
    """Autonomous system and country of a MaxMind record, of whichever the file has."""
    number = record.get("autonomous_system_number")
    parts = [f"AS{number}"] if number is not None else []
    country = record.get("country")
    if isinstance(country, Mapping) and isinstance(country.get("iso_code"), str):
        parts.append(str(country["iso_code"]))
    return " ".join(parts)


def agent_product(agent: str) -> str:
    """The program of a User-Agent without its version: `openai-python/1.2` and `/1.3` are one client."""
    for index, character in enumerate(agent):
        if character in "/ (;":
            return agent[:index].lower()[:64]
    return agent.lower()[:64]
