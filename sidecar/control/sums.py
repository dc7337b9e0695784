"""Adds finished requests up, before anything else looks at them: one row for all that are alike in a minute.

The loop here runs for every request and its price is on the request's bill; whatever can be done once
for a row, or once for all requests with the same traits, is done there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain
from typing import cast

import msgspec

from sidecar.control.metrics.buckets import DURATION, FIRST_BYTE, OVERHEAD, TOKENS
from sidecar.events.record import Interim, Reconciled, Request, Traits, WorkerState, traits_of
from sidecar.events.wire import HEAD_SIZE, MARK, Head, decode, decode_traits, encode, unpack_head
from sidecar.store.names import shard_of


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

    def add_hub(self, proxy: float, first_byte: float) -> None:
        """Count what a request has that the hub answered."""
        if proxy < 0.0:
            proxy = 0.0
        self.proxy[bisect_left(OVERHEAD, proxy)] += 1
        self.proxy_sum += proxy
        self.first_byte[bisect_left(FIRST_BYTE, first_byte)] += 1
        self.first_byte_sum += first_byte

    def add_tokens(self, read: int, written: int) -> None:
        """Count the tokens of a request whose use is known."""
        self.input[bisect_left(TOKENS, read)] += 1
        self.input_sum += read
        self.output[bisect_left(TOKENS, written)] += 1
        self.output_sum += written


class Block:
    """Records of one shard and hour, as the spool has them, for the call log."""

    __slots__ = ("first", "last", "mask", "records")

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.first = 0.0
        self.last = 0.0
        self.mask = 0


class Row:
    """Requests of one minute that share key, secret, route, model and result; `traits` are those of the first of them.

    What the hub's ledger adds to them later makes a row of its own, which has `reconciled` calls and no requests.
    Bytes are those that no interim record has told of before, `told_*` the others. `priced` are the requests of which
    the hub said the credits.
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
        "example",
        "first",
        "images",
        "input",
        "last",
        "latency",
        "output",
        "priced",
        "quota",
        "reconciled",
        "requests",
        "shard",
        "told_in",
        "told_out",
        "traits",
    )  # fmt: skip

    def __init__(self, traits: Traits, time: float, shard: int, latency: Latency, block: Block) -> None:
        self.traits = traits
        self.shard = shard
        self.latency = latency
        self.block = block
        self.first = time
        self.last = 0.0
        self.duration = 0.0
        self.credits = 0.0
        self.requests = self.bytes_in = self.bytes_out = self.images = self.reconciled = self.priced = 0
        self.told_in = self.told_out = 0
        self.input = self.output = self.cached_input = self.cache_creation = 0
        self.callers: dict[tuple[str, str], int] = {}
        """Requests by client address and User-Agent."""
        self.cell: tuple[str, list[float]] | None = None
        """What the series make of it; theirs."""
        self.quota: list[tuple[str, int]] = []
        """Period and tokens of those that must be settled one by one, because their key has a token quota."""
        self.example: tuple[bytes, float, float, float] = (b"", 0.0, 0.0, 0.0)
        """Packed ids, time, total and first_byte of one of the requests."""


class Alike:
    """Requests of one minute with the same traits; several may share a row."""

    __slots__ = ("caller", "is_answered", "is_metered", "minute", "quota_period", "row")

    def __init__(self, row: Row, minute: float, traits: Traits) -> None:
        self.row = row
        self.minute = minute
        self.caller = (traits.client, traits.agent)
        self.is_answered = traits.hub_status != 0
        self.is_metered = self.is_answered and traits.usage_source != "none"
        self.quota_period = traits.quota_period


class Sums:
    """What a stretch of events adds up to."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], Row] = {}
        self._alike: dict[bytes, Alike] = {}
        """By traits, those of the latest minute."""
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

    def add(self, records: list[bytes], kept: list[bytes] | None = None) -> None:
        """Add what `records` tell; `kept` has each as the call log is to keep it. What cannot be read is passed over."""
        known = self._alike
        for record, keep in zip(records, records if kept is None else kept, strict=True):
            if len(record) < HEAD_SIZE or record[0] != MARK:
                self._add_other(record, keep)
                continue
            (
                _, size, length, time, total, auth, queue, first_byte, hub_time, bytes_in, bytes_out,
                read, written, cached, created, credits, images, interim_in, interim_out,
            ) = cast(Head, unpack_head(record))  # fmt: skip
            traits = record[size : size + length]
            alike = known.get(traits)
            if alike is None or alike.minute != time // 60.0:
                alike = self._meet(traits, time)
                if alike is None:
                    continue
                alike.row.example = (record[size + length :], time, total, first_byte)
            row, caller, latency = alike.row, alike.caller, alike.row.latency
            row.block.records.append(keep)
            row.requests += 1
            row.bytes_in += bytes_in - interim_in
            row.bytes_out += bytes_out - interim_out
            row.told_in += interim_in
            row.told_out += interim_out
            row.duration += total
            if time > row.last:
                row.last = time
            elif time < row.first:
                row.first = time
            row.callers[caller] = row.callers.get(caller, 0) + 1
            latency.total[bisect_left(DURATION, total)] += 1
            latency.total_sum += total
            latency.auth[bisect_left(OVERHEAD, auth)] += 1
            latency.auth_sum += auth
            if alike.quota_period:
                row.quota.append((alike.quota_period, read + written))
            if alike.is_answered:
                latency.add_hub(total - hub_time - auth - queue, first_byte)
            if alike.is_metered:
                latency.add_tokens(read, written)
                row.input += read
                row.output += written
                row.credits += credits
                row.priced += credits > 0.0
                row.images += images
                row.cached_input += cached
                row.cache_creation += created

    def _meet(self, packed: bytes, time: float) -> Alike | None:
        """Where requests with these traits are counted in this minute; None when the traits cannot be read."""
        try:
            traits = decode_traits(packed)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        minute = time // 60.0
        like = (
            minute, traits.key_id, traits.secret_id, traits.outcome, traits.reason, traits.route, traits.model, traits.status,
            traits.method, traits.model_served, traits.streaming, traits.usage_source, traits.secret_state, traits.shadow,
        )  # fmt: skip
        row = self._rows.get(like)
        if row is None:
            row = self._rows[like] = self._row(traits, time)
        alike = self._alike[packed] = Alike(row, minute, traits)
        return alike

    def _add_other(self, record: bytes, kept: bytes) -> None:
        try:
            event = decode(record)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if type(event) is Reconciled:
            self._add_reconciled(event, kept)
        elif type(event) is Interim:
            self.interim.append(event)
        elif type(event) is WorkerState:
            self.states.append(event)
        elif type(event) is Request and (again := encode(event))[0] == MARK:
            self.add([again], [kept])

    def _add_reconciled(self, event: Reconciled, kept: bytes) -> None:
        """Count it where its call was counted: in the minute in which that ended."""
        call = event.request
        like = ("ledger", call.time // 60.0, call.key_id, call.outcome, call.reason, call.route, call.model, call.model_served, call.status,
                call.method, call.streaming, call.usage_source)  # fmt: skip
        row = self._rows.get(like)
        if row is None:
            row = self._rows[like] = self._row(traits_of(call), call.time)
        row.block.records.append(kept)
        row.reconciled += 1
        row.first, row.last = min(row.first, call.time), max(row.last, call.time)
        tokens = event.tokens
        row.input += tokens.input
        row.output += tokens.output
        row.credits += tokens.credits
        row.images += tokens.images
        row.cached_input += tokens.cached_input
        row.cache_creation += tokens.cache_creation_input
        # When the call ended, its times were counted, and its tokens too if it had any.
        if call.usage_source == "none":
            row.latency.add_tokens(tokens.input, tokens.output)
        if call.quota_period:
            row.quota.append((call.quota_period, tokens.input + tokens.output))

    def _row(self, traits: Traits, time: float) -> Row:
        shard = shard_of(traits.key_id)
        like = (traits.route, traits.method, traits.status // 100, traits.streaming, traits.model_served or traits.model)
        latency = self._latencies.get(like)
        if latency is None:
            latency = self._latencies[like] = Latency()
        place = (shard, int(time) // 3600)
        block = self.blocks.get(place)
        if block is None:
            block = self.blocks[place] = Block()
        return Row(traits, time, shard, latency, block)
