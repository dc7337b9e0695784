"""A store whose clock is set by hand, for tests of the script of one turn."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from sidecar.keys.record import Key
from sidecar.limits.decision import Admission
from sidecar.limits.turn import plan, read_answers, turn
from sidecar.settings.declaration import Enforcement
from sidecar.store.client import Store
from sidecar.store.script import Script, load
from tests.support.store import Server, open_store

NOON = 1_795_521_600_000_000 + 365 * 86_400_000_000
"""2027-11-24T12:00:00Z; ahead of the server's own clock, by which names run out."""
SECOND = 1_000_000
LIMITS = load("limits")
LEDGER = Script("ledger", load("settle_quota").text + "settle_quota(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]))")


class Bench:
    """A store with a clock that is set by hand."""

    def __init__(self, server: Server) -> None:
        self.runner = asyncio.Runner()
        self.store: Store = self.runner.run(open_store(server, timeout=5))
        self.ids = (f"key_{serial:016}" for serial in itertools.count())

    def key(self, **fields: Any) -> Key:
        return Key(id=next(self.ids), name="test", created_at=0, **fields)

    def run(self, key: Key, now: int, *, enforcement: Enforcement = "enforce", **what: Any) -> list[Admission]:
        made = plan(key, enforcement)
        assert made is not None
        arguments = turn(made, now / SECOND, store_time=now, **what)
        return read_answers(made, self.runner.run(self.store.run(LIMITS, made.names, arguments)))

    def names(self, key: Key) -> tuple[str, ...]:
        """Of `rpm`, `settled`, `holds` and `counts`."""
        made = plan(key, "enforce")
        assert made is not None
        return made.names

    def counts(self, key: Key, *fields: str) -> list[bytes | None]:
        """Fields of the hash `counts`."""
        return list(self.call("HMGET", self.names(key)[3], *fields))

    def ask(self, key: Key, now: int, tokens: int = 1, name: str = "r", **more: Any) -> Admission:
        return self.run(key, now, asking=[(name, tokens)], **more)[0]

    def fold(self, key: Key, entry: str, tokens: int) -> None:
        """What the ledger does with an event."""
        self.runner.run(self.store.run(LEDGER, self.names(key)[2:], [entry, tokens]))

    def call(self, *command: str) -> Any:
        return self.runner.run(self.store.call(*command))


def ended(admission: Admission, tokens: int | None) -> list[tuple[str, int | None]]:
    """As a worker says it."""
    return [(hold, tokens or 0 if hold == admission.quota_period else tokens) for hold in admission.holds]
