"""What a stretch of events changes in the store, shard by shard, ready for the ledger's script. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sidecar.control.blocks import key_mask
from sidecar.control.metrics.counts import Delta, Fields
from sidecar.control.nested import packed
from sidecar.control.series import DAY, SeriesBuilder, Sum
from sidecar.control.sums import Block, Row, Sums
from sidecar.store import names
from sidecar.store.client import Argument

_MAX_AGENT = 128
_RECENT = 8


@dataclass(slots=True)
class Work:
    """One shard's part: `plan` steps are [kind, expires at, number of arguments], each with its names in `keys`."""

    keys: list[str] = field(default_factory=list)
    plan: list[list[Any]] = field(default_factory=list)
    totals: Fields = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    """Of all steps, one after the other; in pairs."""

    def step(self, kind: str, pairs: Iterable[tuple[Argument, Argument]], *keys: str, expires_at: int = 0) -> None:
        """Add a step."""
        before = len(self.arguments)
        self.arguments.extend(chain.from_iterable(pairs))
        self.plan.append([kind, expires_at, len(self.arguments) - before])
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
        _add_sums(works, self._series.minutes(sums))
        for row in sums.rows:
            if row.quota:
                _settle(_work(works, row.shard), row)
            block = row.block
            block.mask |= key_mask(row.traits.key_id)
            block.first = min(block.first or row.first, row.first)
            block.last = max(block.last, row.last)
        for (shard, _), block in sums.blocks.items():
            _work(works, shard).blocks.append(block)
        return works

    def details(self, sums: Sums) -> dict[int, Work]:
        """What may wait while there is much to do: hours, which keys were used and how."""
        works: dict[int, Work] = {}
        _add_sums(works, self._series.hours(sums))
        uses: dict[int, dict[str, dict[str, list[Any]]]] = {}
        active: dict[tuple[int, int], dict[str, int]] = {}
        for row in sums.rows:
            key_id = row.traits.key_id
            if not key_id or not row.requests:
                continue
            shard = row.shard
            of_keys = uses.get(shard)
            if of_keys is None:
                of_keys = uses[shard] = {}
            use = of_keys.get(key_id)
            if use is None:
                use = of_keys[key_id] = {}
            self._use(use, row)
            place = (shard, int(row.last) // DAY)
            used = active.get(place)
            if used is None:
                used = active[place] = {}
            used[key_id] = used.get(key_id, 0) + row.requests
        for interim in sums.interim:
            # Bytes of a day are a key's use of it, though the request may end on another.
            if interim.key_id:
                active.setdefault((names.shard_of(interim.key_id), int(interim.time) // DAY), {}).setdefault(interim.key_id, 0)
        for shard, of_keys in uses.items():
            work = _work(works, shard)
            work.step("use", [(key_id, packed(use)) for key_id, use in of_keys.items()], names.use(shard))
            work.step("latest", [(round(_latest(use), 3), key_id) for key_id, use in of_keys.items()], names.recent(shard))
        for (shard, day), used in active.items():
            _work(works, shard).step("counts", used.items(), names.active(shard, day), expires_at=(day + 1) * DAY + self._active_for)
        return works

    def _use(self, use: dict[str, list[Any]], row: Row) -> None:
        last = row.last
        secret = use.get(row.traits.secret_id)
        if secret is None:
            secret = use[row.traits.secret_id] = [last, 0, [], []]
        elif last > secret[0]:
            secret[0] = last
        secret[1] += row.requests
        for client, agent in row.callers:
            _put_first(secret[2], self._network(client))
            _put_first(secret[3], agent[:_MAX_AGENT])


def _work(works: dict[int, Work], shard: int) -> Work:
    work = works.get(shard)
    if work is None:
        work = works[shard] = Work()
    return work


def _add_sums(works: dict[int, Work], series: list[tuple[int, Sum]]) -> None:
    for shard, each in series:
        _work(works, shard).step("sums", each.fields.items(), each.name, expires_at=each.expires_at)


def _settle(work: Work, row: Row) -> None:
    key_id = row.traits.key_id
    work.step("quota", row.quota, names.limit(key_id, "holds"), names.limit(key_id, "counts"))


def _latest(use: dict[str, list[Any]]) -> float:
    times: list[float] = [secret[0] for secret in use.values()]
    return times[0] if len(times) == 1 else max(times)


def _put_first(seen: list[str], name: str) -> None:
    """Have `name` first among the latest few."""
    if seen and seen[0] == name:
        return
    if name in seen:
        seen.remove(name)
    seen.insert(0, name)
    del seen[_RECENT:]
