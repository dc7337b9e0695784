"""What a stretch of events changes in the store, shard by shard, ready for the ledger's script. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sidecar.control.blocks import key_mask
from sidecar.control.metrics.counts import Delta, Fields
from sidecar.control.series import DAY, SeriesBuilder, Sum
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

    def now(self, sums: Sums, counts: Delta) -> dict[int, Work]:
        """What must show at once, by shard: counts, minutes, settled quotas, calls. A shard that nothing touches has no entry."""
        works: dict[int, Work] = {}
        for shard, fields in counts.items():
            _work(works, shard).totals = fields
        for shard, series in self._series.minutes(sums).items():
            _add_sums(_work(works, shard), series)
        for row in sums.rows:
            if row.quota:
                _settle(_work(works, row.shard), row)
            block = row.block
            block.mask |= key_mask(row.sample.key_id)
            block.first = min(block.first or row.first, row.first)
            block.last = max(block.last, row.last)
        for (shard, _), block in sums.blocks.items():
            _work(works, shard).blocks.append(block)
        return works

    def details(self, sums: Sums) -> dict[int, Work]:
        """What may wait while there is much to do: groups, hours, which keys were used and how."""
        works: dict[int, Work] = {}
        for shard, series in self._series.details(sums).items():
            _add_sums(_work(works, shard), series)
        uses: dict[tuple[int, str], list[Any]] = {}
        active: dict[tuple[int, int], dict[str, int]] = {}
        latest: dict[int, dict[str, float]] = {}
        for row in sums.rows:
            key_id = row.sample.key_id
            if key_id and row.requests:
                self._use(uses.setdefault((row.shard, key_id), [0.0, {}]), row)
                used = active.setdefault((row.shard, int(row.last) // DAY), {})
                used[key_id] = used.get(key_id, 0) + row.requests
        for (shard, key_id), use in uses.items():
            for secret in use[1].values():
                secret[2:] = _newest_first(secret[2]), _newest_first(secret[3])
            _work(works, shard).step("use", use, names.use(key_id))
            latest.setdefault(shard, {})[key_id] = use[0]
        for shard, times in latest.items():
            _work(works, shard).step("latest", times, names.recent(shard))
        for (shard, day), used in active.items():
            _work(works, shard).step("counts", used, names.active(shard, day), expires_at=(day + 1) * DAY + self._active_for)
        return works

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


def _add_sums(work: Work, series: list[Sum]) -> None:
    for each in series:
        work.step("sums", each.fields, each.name, expires_at=each.expires_at)


def _settle(work: Work, row: Row) -> None:
    key_id = row.sample.key_id
    pairs = [(event.quota_period, _total(event)) for event in row.quota]
    work.step("quota", pairs, names.limit(key_id, "holds"), names.limit(key_id, "counts"))


def _total(event: Request) -> int:
    return event.tokens.input + event.tokens.output


def _newest_first(seen: dict[str, float]) -> list[str]:
    return sorted(seen, key=seen.__getitem__, reverse=True)[:_RECENT]
