"""Adds finished requests up, before anything else looks at them: one row for all that are alike in a minute.

The loop here runs for every request and its price is on the request's bill; whatever can be done once
for a row is done by the readers of rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain

import msgspec

from sidecar.control.metrics.buckets import DURATION, FIRST_BYTE, OVERHEAD, TOKENS
from sidecar.control.nested import add_list
from sidecar.events.record import Event, Interim, Reconciled, Request, WorkerState, decode
from sidecar.store.names import shard_of

Pairs = list[tuple[Event, bytes]]
"""Events, each with its record."""


class Latency:
    """Histogram counts, not cumulative, last place for what lies beyond all bounds; sums in seconds and tokens."""

    __slots__ = (
        "auth", "auth_sum", "first_byte", "first_byte_sum", "input", "input_sum",
        "output", "output_sum", "proxy", "proxy_sum", "total", "total_sum",
    )  # fmt: skip

    def __init__(self) -> None:
        self.total = [0] * (len(DURATION) + 1)
        self.auth = [0] * (len(OVERHEAD) + 1)
        self.proxy = [0] * (len(OVERHEAD) + 1)
        self.first_byte = [0] * (len(FIRST_BYTE) + 1)
        self.input = [0] * (len(TOKENS) + 1)
        self.output = [0] * (len(TOKENS) + 1)
        self.total_sum = self.auth_sum = self.proxy_sum = self.first_byte_sum = 0.0
        self.input_sum = self.output_sum = 0


class Block:
    """Records of one shard and hour, as the spool has them, for the call log."""

    __slots__ = ("first", "last", "mask", "records")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.first = 0.0
        self.last = 0.0
        self.mask = 0


class Row:
    """Requests of one minute that share key, secret, route, model and result; `sample` is the first of them.

    What the hub's ledger adds to them later makes a row of its own, which has `reconciled` calls and no requests.
    Bytes are those that no interim record has told of before.
    """

    __slots__ = (
        "block",
        "bytes_in",
        "bytes_out",
        "cache_creation",
        "cached_input",
        "callers",
        "cell",
        "credits",
        "duration",
        "first",
        "images",
        "input",
        "last",
        "latency",
        "output",
        "quota",
        "reconciled",
        "records",
        "requests",
        "sample",
        "shard",
    )  # fmt: skip

    def __init__(self, sample: Request, shard: int, latency: Latency, records: list[bytes], block: Block) -> None:
        self.sample = sample
        self.shard = shard
        self.latency = latency
        self.block = block
        self.records = records
        self.first = sample.time
        self.last = 0.0
        self.duration = 0.0
        self.credits = 0.0
        self.requests = self.bytes_in = self.bytes_out = self.images = self.reconciled = 0
        self.input = self.output = self.cached_input = self.cache_creation = 0
        self.callers: dict[tuple[str, str], int] = {}
        """Requests by client address and User-Agent."""
        self.cell: tuple[str, list[float]] | None = None
        """What the series make of it; theirs."""
        self.quota: list[Request] = []
        """Those that must be settled one by one, because their key has a token quota."""


class Sums:
    """What a stretch of events adds up to."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], Row] = {}
        self._latencies: dict[tuple[object, ...], Latency] = {}
        self._joined: list[Sums] = []
        self.blocks: dict[tuple[int, int], Block] = {}
        """By shard and hour."""
        self.interim: list[Interim] = []
        self.states: list[WorkerState] = []

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self._rows) + sum(each.size for each in self._joined)

    @property
    def rows(self) -> Iterable[Row]:
        """All rows."""
        return chain(self._rows.values(), *(each.rows for each in self._joined)) if self._joined else self._rows.values()

    @property
    def latencies(self) -> Iterable[tuple[tuple[object, ...], Latency]]:
        """Histograms by (route, method, status class, streaming, model)."""
        return self._latencies.items()

    def join(self, later: Sums) -> None:
        """Have the rows of `later` here too; what is alike in both keeps a row in each."""
        self._joined.append(later)
        self.interim += later.interim

    def add(self, events: Pairs) -> None:
        """Add `events`, each with its record."""
        rows = self._rows
        for event, record in events:
            if type(event) is not Request:
                self._add_other(event, record)
                continue
            time = event.time
            like = (
                time // 60.0, event.key_id, event.secret_id, event.outcome, event.reason, event.route, event.model, event.status,
                event.method, event.model_served, event.streaming, event.usage_source, event.secret_state, event.shadow,
            )  # fmt: skip
            row = rows.get(like)
            if row is None:
                row = rows[like] = self._row(event)
            row.records.append(record)
            row.requests += 1
            row.bytes_in += event.bytes_in - event.interim_in
            row.bytes_out += event.bytes_out - event.interim_out
            if time > row.last:
                row.last = time
            elif time < row.first:
                row.first = time
            caller = (event.client, event.agent)
            callers = row.callers
            callers[caller] = callers.get(caller, 0) + 1
            total, auth, latency = event.total, event.auth, row.latency
            row.duration += total
            latency.total[bisect_left(DURATION, total)] += 1
            latency.total_sum += total
            latency.auth[bisect_left(OVERHEAD, auth)] += 1
            latency.auth_sum += auth
            if event.quota_period:
                row.quota.append(event)
            if event.hub_status:
                _add_hub(event, row, latency)

    def _add_other(self, event: Event, record: bytes) -> None:
        if type(event) is Reconciled:
            self._add_reconciled(event, record)
        elif type(event) is Interim:
            self.interim.append(event)
        elif type(event) is WorkerState:
            self.states.append(event)

    def _add_reconciled(self, event: Reconciled, record: bytes) -> None:
        """Count it where its call was counted: in the minute in which that ended."""
        call = event.request
        like = ("ledger", call.time // 60.0, call.key_id, call.outcome, call.reason, call.route, call.model, call.model_served, call.status,
                call.method, call.streaming, call.usage_source)  # fmt: skip
        row = self._rows.get(like)
        if row is None:
            row = self._rows[like] = self._row(call)
        row.records.append(record)
        row.reconciled += 1
        row.first, row.last = min(row.first, call.time), max(row.last, call.time)
        added = msgspec.structs.replace(call, tokens=event.tokens, usage_source="ledger")
        latency = Latency()
        _add_hub(added, row, latency)
        # When the call ended, its times were counted, and its tokens too if it had any.
        if call.usage_source == "none":
            add_list(row.latency.input, latency.input)
            add_list(row.latency.output, latency.output)
            row.latency.input_sum += latency.input_sum
            row.latency.output_sum += latency.output_sum
        if call.quota_period:
            row.quota.append(added)

    def _row(self, event: Request) -> Row:
        shard = shard_of(event.key_id)
        like = (event.route, event.method, event.status // 100, event.streaming, event.model_served or event.model)
        latency = self._latencies.get(like)
        if latency is None:
            latency = self._latencies[like] = Latency()
        place = (shard, int(event.time) // 3600)
        block = self.blocks.get(place)
        if block is None:
            block = self.blocks[place] = Block()
        return Row(event, shard, latency, block.records, block)


def _add_hub(event: Request, row: Row, latency: Latency) -> None:
    proxy = event.total - event.hub_time - event.auth - event.queue
    if proxy < 0.0:
        proxy = 0.0
    latency.proxy[bisect_left(OVERHEAD, proxy)] += 1
    latency.proxy_sum += proxy
    latency.first_byte[bisect_left(FIRST_BYTE, event.first_byte)] += 1
    latency.first_byte_sum += event.first_byte
    if event.usage_source == "none":
        return
    tokens = event.tokens
    row.input += tokens.input
    row.output += tokens.output
    row.credits += tokens.credits
    row.images += tokens.images
    row.cached_input += tokens.cached_input
    row.cache_creation += tokens.cache_creation_input
    latency.input[bisect_left(TOKENS, tokens.input)] += 1
    latency.input_sum += tokens.input
    latency.output[bisect_left(TOKENS, tokens.output)] += 1
    latency.output_sum += tokens.output


def decode_all(records: list[bytes]) -> Pairs:
    """Each readable record with its event; a kind that this version does not know is passed over."""
    try:
        return list(zip(map(decode, records), records, strict=True))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    pairs: Pairs = []
    for record in records:
        try:
            pairs.append((decode(record), record))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return pairs
