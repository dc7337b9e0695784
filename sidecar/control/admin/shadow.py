"""The shadow report: which clients would be refused, and why, if enforcement were real. Pure.

Bounded: each key and reason keeps a few examples of each kind, not all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.control.admin.messages.usage import ShadowEntry
from sidecar.control.admin.times import to_time
from sidecar.events.record import Request
from sidecar.keys.record import Key

_EXAMPLES = 10


@dataclass(slots=True)
class _Client:
    requests: int = 0
    first: float = 0.0
    last: float = 0.0
    examples: dict[str, dict[str, None]] = field(default_factory=lambda: {name: {} for name in ("route", "model", "client", "agent")})

    def add(self, call: Request) -> None:
        self.first = min(self.first or call.time, call.time)
        self.last = max(self.last, call.time)
        self.requests += 1
        for name, seen in self.examples.items():
            value = getattr(call, name)
            if value and len(seen) < _EXAMPLES:
                seen[value] = None


class Shadow:
    """Adds calls up; `calls` is how many it has seen."""

    def __init__(self) -> None:
        self.calls = 0
        self._since: float | None = None
        self._clients: dict[tuple[str, str], _Client] = {}

    def add(self, calls: Iterable[Request]) -> None:
        """Look at more calls."""
        for call in calls:
            self.calls += 1
            self._since = call.time if self._since is None else min(self._since, call.time)
            if call.shadow:
                self._clients.setdefault((call.key_id, call.shadow), _Client()).add(call)

    def key_ids(self) -> list[str]:
        """The keys that would be refused something."""
        return sorted({key_id for key_id, _ in self._clients if key_id})

    @property
    def since(self) -> float | None:
        """When the oldest of the calls ended, in Unix seconds."""
        return self._since

    def entries(self, keys: Mapping[str, Key | None]) -> Iterator[ShadowEntry]:
        """The clients, the most affected first; `keys` gives the names for `key_ids`."""
        for (key_id, reason), client in sorted(self._clients.items(), key=lambda item: -item[1].requests):
            key = keys.get(key_id)
            yield ShadowEntry(
                key_id=key_id,
                name=key.name if key is not None else "",
                owner=key.owner if key is not None else "",
                reason=reason,
                requests=client.requests,
                first_seen=to_time(client.first),
                last_seen=to_time(client.last),
                routes=list(client.examples["route"]),
                models=list(client.examples["model"]),
                clients=list(client.examples["client"]),
                agents=list(client.examples["agent"]),
            )
