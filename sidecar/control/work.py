"""What a stretch of events changes in the store, shard by shard, ready for the ledger's script. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sidecar.control.blocks import key_mask
from sidecar.control.metrics.counts import Delta, Fields
from sidecar.control.series import DAY, SeriesBuilder
from sidecar.control.sums import Block, Row, Sums
from sidecar.events.record import Request
from sidecar.store import names

_MAX_AGENT = 128
_RECENT = 8


@dataclass(slots=True)
class Work:
    """One shard's part: `plan` steps are [kind, expires at, what], each with its names in `keys`."""

    keys: list[str] = field(default_factory=list)
    plan: list[list[Any]] = field(default_factory=list)
    totals: Fields = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def step(self, kind: str, what: object, *keys: str, expires_at: int = 0) -> None:
        """Add a step."""
        self.plan.append([kind, expires_at, what])
        self.keys.extend(keys)


class Planner:
    """Makes the work of a stretch of events. `network` names the network of a client address."""

    def __init__(self, series: SeriesBuilder, *, network: Callable[[str], str], active_for: float) -> None:
        self._series = series
        self._network = network
        self._active_for = int(active_for)

    def plan(self, sums: Sums, counts: Delta) -> dict[int, Work]:
        """By shard. A shard that nothing touches has no entry."""
        works: dict[int, Work] = {}
        for shard, fields in counts.items():
            _work(works, shard).totals = fields
        for shard, (series, active) in self._series.build(sums).items():
            work = _work(works, shard)
            for each in series:
                work.step("sums", each.fields, each.name, expires_at=each.expires_at)
            for day, keys in active.items():
                for part in _parts(sorted(keys)):
                    work.step("set", part, names.active(shard, day), expires_at=(day + 1) * DAY + self._active_for)
        self._plan_use(works, sums)
        for row in sums.rows:
            block = row.block
            block.mask |= key_mask(row.sample.key_id)
            block.first = min(block.first or row.first, row.first)
            block.last = max(block.last, row.last)
        for (shard, _), block in sums.blocks.items():
            _work(works, shard).blocks.append(block)
        return works

    def _plan_use(self, works: dict[int, Work], sums: Sums) -> None:
        uses: dict[str, tuple[int, list[Any]]] = {}
        settled: dict[str, list[tuple[str, int]]] = {}
        for row in sums.rows:
            key_id = row.sample.key_id
            if not key_id:
                continue
            use = uses.get(key_id)
            if use is None:
                use = uses[key_id] = (row.shard, [0.0, {}])
            self._use(use[1], row)
            if row.quota:
                settled.setdefault(key_id, []).extend((event.quota_period, _total(event)) for event in row.quota)
        for key_id, (shard, what) in uses.items():
            for secret in what[1].values():
                secret[2:] = _newest_first(secret[2]), _newest_first(secret[3])
            _work(works, shard).step("use", what, names.use(key_id))
        for key_id, pairs in settled.items():
            work = _work(works, names.shard_of(key_id))
            work.step("quota", pairs, names.limit(key_id, "holds"), names.limit(key_id, "counts"))

    def _use(self, use: list[Any], row: Row) -> None:
        event = row.sample
        use[0] = max(use[0], row.last)
        if not event.secret_id:
            return
        secret = use[1].get(event.secret_id)
        if secret is None:
            secret = use[1][event.secret_id] = [0.0, 0, {}, {}]
        secret[0] = max(secret[0], row.last)
        secret[1] += row.requests
        for client, agent in row.callers:
            secret[2][self._network(client)] = row.last
            secret[3][agent[:_MAX_AGENT]] = row.last


def _work(works: dict[int, Work], shard: int) -> Work:
    work = works.get(shard)
    if work is None:
        work = works[shard] = Work()
    return work


def _total(event: Request) -> int:
    return event.tokens.input + event.tokens.output


def _newest_first(seen: dict[str, float]) -> list[str]:
    return sorted(seen, key=seen.__getitem__, reverse=True)[:_RECENT]


def _parts(members: list[str], size: int = 1000) -> list[list[str]]:
    return [members[start : start + size] for start in range(0, len(members), size)]
