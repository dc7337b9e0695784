"""Slows down whoever keeps failing to authenticate: a token bucket for each source, in bounded memory.

Only failures are charged, so a source that never fails is never remembered. The sources are
addresses, never keys: locking a key would let anybody lock out its owner.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable


def source_of(address: str) -> str:
    """What failures are counted under: an IPv4 address itself, an IPv6 address's /64 (one host owns all of it)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


class Throttle:
    """`burst` failures at once, then one each `interval` seconds; the `capacity` latest sources are remembered."""

    def __init__(
        self, *, burst: int = 20, interval: float = 3.0, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._interval = interval
        self._capacity = capacity
        self._clock = clock
        self._allowed_at: OrderedDict[str, float] = OrderedDict()
        """For each source the time at which its bucket is full again (the generic cell rate algorithm)."""

    def wait(self, source: str) -> float:
        """Seconds until `source` may try again; 0.0 when it may now."""
        if not self._allowed_at:
            return 0.0
        full_at = self._allowed_at.get(source)
        if full_at is None:
            return 0.0
        return max(0.0, full_at - self._clock() - (self._burst - 1) * self._interval)

    def charge(self, source: str) -> None:
        """Count one failed attempt of `source`."""
        now = self._clock()
        limit = now + self._burst * self._interval
        self._allowed_at[source] = min(limit, max(now, self._allowed_at.get(source, now)) + self._interval)
        self._allowed_at.move_to_end(source)
        if len(self._allowed_at) > self._capacity:
            self._allowed_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._allowed_at)
