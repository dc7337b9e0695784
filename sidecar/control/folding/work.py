"""What a stretch of events changes in the store, shard by shard, ready for the ledger's script.

Pure, but for what it notes on rows, kinds and blocks so as not to work it out again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from sidecar.control.metrics.counts import Delta, Fields
from sidecar.control.totals.nested import packed
from sidecar.control.totals.rows import Block, Row
from sidecar.control.totals.series import DAY, SeriesBuilder, Sum
from sidecar.control.totals.sums import Sums
from sidecar.control.usage.blocks import key_mask, pack
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
            if row.quota is not None:
                _settle(_work(works, row.shard), row.key_id, row.quota)
            block = row.block
            block.mask |= key_mask(row.key_id)
            block.first = min(block.first or row.first, row.first)
            block.last = max(block.last, row.last)
        for (shard, _), block in sums.blocks.items():
            if shard == names.KEYLESS:
                _keep_keyless(_work(works, names.shard_of("")), block)
            else:
                _work(works, shard).blocks.append(block)
        return works

    def details(self, sums: Sums) -> dict[int, Work]:
        """What may wait while there is much to do: hours, which keys were used and how."""
        works: dict[int, Work] = {}
        _add_sums(works, self._series.hours(sums))
        rows_of: list[dict[str, list[Row]]] = [{} for _ in range(names.SHARDS)]
        active: dict[int, dict[int, dict[str, int]]] = {}
        for row in sums.rows:
            key_id = row.key_id
            if not key_id or not row.requests:
                continue
            of_keys = rows_of[row.shard]
            rows = of_keys.get(key_id)
            if rows is None:
                of_keys[key_id] = [row]
            else:
                rows.append(row)
            used = _of_day(active, int(row.last) // DAY, row.shard)
            used[key_id] = used.get(key_id, 0) + row.requests
        for interim in sums.interim:
            # Bytes of a day are a key's use of it, though the request may end on another.
            if interim.key_id:
                _of_day(active, int(interim.time) // DAY, names.shard_of(interim.key_id)).setdefault(interim.key_id, 0)
        for shard, of_keys in enumerate(rows_of):
            if of_keys:
                work = _work(works, shard)
                work.step("use", [(key_id, packed(self._use(rows))) for key_id, rows in of_keys.items()], names.use(shard))
                work.step("latest", [(round(_latest(rows), 3), key_id) for key_id, rows in of_keys.items()], names.recent(shard))
        for day, shards in active.items():
            for shard, used in shards.items():
                _work(works, shard).step("counts", used.items(), names.active(shard, day), expires_at=(day + 1) * DAY + self._active_for)
        return works

    def _use(self, rows: list[Row]) -> dict[str, list[Any]]:
        """By secret of one key: latest time, requests, networks and programs, those that were met last first."""
        use: dict[str, list[Any]] = {}
        for row in rows:
            secret = use.get(row.traits.secret_id)
            if secret is None:
                secret = use[row.traits.secret_id] = [row.last, 0, [], []]
            elif row.last > secret[0]:
                secret[0] = row.last
            secret[1] += row.requests
            caller = row.callers
            while caller is not None:
                _put_first(secret[2], self._network(caller.client))
                _put_first(secret[3], caller.agent[:_MAX_AGENT])
                caller = caller.after
        return use


def _work(works: dict[int, Work], shard: int) -> Work:
    work = works.get(shard)
    if work is None:
        work = works[shard] = Work()
    return work


def _of_day(active: dict[int, dict[int, dict[str, int]]], day: int, shard: int) -> dict[str, int]:
    shards = active.get(day)
    if shards is None:
        shards = active[day] = {}
    used = shards.get(shard)
    if used is None:
        used = shards[shard] = {}
    return used


def _add_sums(works: dict[int, Work], series: list[tuple[int, Sum]]) -> None:
    for shard, each in series:
        _work(works, shard).step("sums", each.fields.items(), each.name, expires_at=each.expires_at)


def _settle(work: Work, key_id: str, quota: list[tuple[str, int]]) -> None:
    work.step("quota", quota, names.limit(key_id, "holds"), names.limit(key_id, "counts"))


def _keep_keyless(work: Work, block: Block) -> None:
    pairs: list[tuple[Argument, Argument]] = [(len(block.records), repr(block.first)), (repr(block.last), pack(block.records))]
    work.step("calls", pairs, names.calls(names.KEYLESS), names.call_blocks(names.KEYLESS))


def _latest(rows: list[Row]) -> float:
    latest = rows[0].last
    for row in rows:
        if row.last > latest:
            latest = row.last
    return latest


def _put_first(seen: list[str], name: str) -> None:
    """Have `name` first among the latest few."""
    if seen and seen[0] == name:
        return
    if name in seen:
        seen.remove(name)
    seen.insert(0, name)
    del seen[_RECENT:]
