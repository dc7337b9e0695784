"""Which client networks use which keys in the last 10 minutes: /24 of IPv4, /48 of IPv6. Bounded, with the caller's clock."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_network

WINDOW = 600
"""Seconds for which a use counts as recent."""
FORGET_EVERY = 60
"""Seconds from one time that what is over is dropped to the next, at most: scrapes ask for it, but there may be none."""
MAX_NETWORKS = 64
"""Networks of one key that are counted."""
MAX_SOURCES = 10_000
"""Networks whose keys are counted, those used last."""
MANY_KEYS = 5
"""Keys from which on a network uses many."""
_MAX_KEYS = 32
"""Keys of one network that are counted."""
_CACHE = 50_000
"""Client addresses whose network is remembered."""


def network_of(client: str) -> str:
    """The network of a client address; what is no address (a network already, a hash, a socket) stands for itself."""
    if ":" not in client:
        head, dot, last = client.rpartition(".")
        return f"{head}.0/24" if dot and last.isdigit() else client
    try:
        address = IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return network_of(str(address.ipv4_mapped))
    return str(ip_network((address, 48), strict=False))


class Networks:
    """Recent networks by key, and recent keys by network."""

    def __init__(self) -> None:
        self._of_client: dict[str, str] = {}
        self._by_key: dict[str, dict[str, int]] = {}
        self._by_source: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._forgot_at = float("-inf")

    def name(self, client: str) -> str:
        """`network_of`, remembered."""
        network = self._of_client.get(client)
        if network is None:
            if len(self._of_client) >= _CACHE:
                self._of_client.clear()
            network = self._of_client[client] = network_of(client)
        return network

    def seen(self, key_id: str, client: str, second: int, *, counted: bool = True) -> None:
        """Note a request; `counted` says whether `count` will be asked for its key."""
        if second - self._forgot_at >= FORGET_EVERY:
            # What is long over must not keep out what is now.
            self.forget(second)
        network = self.name(client)
        if counted:
            _note(self._by_key.setdefault(key_id, {}), network, second, MAX_NETWORKS)
        source = self._by_source.get(network)
        if source is None:
            source = self._by_source[network] = {}
            if len(self._by_source) > MAX_SOURCES:
                self._by_source.popitem(last=False)
        else:
            self._by_source.move_to_end(network)
        _note(source, key_id, second, _MAX_KEYS)

    def forget(self, now: float) -> None:
        """Drop what is older than the window, and what cannot be since a clock was put back."""
        self._forgot_at = now
        for table in (self._by_key, self._by_source):
            for name in [name for name, recent in table.items() if _expire(recent, now)]:
                del table[name]

    def count(self, key_id: str) -> int:
        """Networks of a key, as of the last `forget`."""
        return len(self._by_key.get(key_id, ()))

    def many_keys(self) -> int:
        """Networks with at least MANY_KEYS keys, as of the last `forget`."""
        return sum(len(keys) >= MANY_KEYS for keys in self._by_source.values())


def _note(recent: dict[str, int], name: str, second: int, limit: int) -> None:
    if name in recent or len(recent) < limit:
        recent[name] = max(second, recent.get(name, 0))


def _expire(recent: dict[str, int], now: float) -> bool:
    for name in [name for name, second in recent.items() if not now - WINDOW <= second <= now + WINDOW]:
        del recent[name]
    return not recent
