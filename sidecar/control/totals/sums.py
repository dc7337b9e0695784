"""Adds finished requests up, before anything else looks at them: one row for all that are alike in a minute.

The loop here runs for every request and its price is on the request's bill; whatever can be done once
for a row, once for a kind of request over all keys, or once for all requests with the same traits, is done there.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import cast

import msgspec
from msgspec.structs import astuple

from sidecar.control.totals.rows import WHOLE, Block, Caller, Figures, Kind, Labels, Latency, Row
from sidecar.events.record import Interim, Reconciled, Request, Traits, WorkerState, sum_of, traits_of
from sidecar.events.wire import HEAD_SIZE, MARK, Head, decode, decode_traits, encode, unpack_head
from sidecar.limits.reservation import counted, spent
from sidecar.store.names import KEYLESS, shard_of


class Alike:
    """Requests of one minute with the same traits; several may share a row."""

    __slots__ = ("caller", "is_answered", "is_metered", "latency", "minute", "quota_period", "row")

    def __init__(self, row: Row, minute: float, caller: Caller, quota_period: str, *, is_answered: bool, is_metered: bool) -> None:
        self.row = row
        self.caller = caller
        self.latency = row.kind.latency
        self.minute = minute
        self.is_answered = is_answered
        self.is_metered = is_metered
        self.quota_period = quota_period


class Sums:
    """What a stretch of events adds up to."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._by_like: dict[tuple[object, ...], Row] = {}
        self._alike: dict[bytes, Alike] = {}
        """By traits, those of the latest minute."""
        self._kinds: dict[tuple[object, ...], Kind] = {}
        self._latencies: dict[Labels, Latency] = {}
        self._joined: list[Sums] = []
        self._is_summed = True
        self.blocks: dict[tuple[int, int], Block] = {}
        """By shard and hour, those of requests without a key under KEYLESS."""
        self.interim: list[Interim] = []
        self.states: list[WorkerState] = []

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self._rows) + sum(each.size for each in self._joined)

    @property
    def rows(self) -> Iterable[Row]:
        """All rows."""
        return chain(self._rows, *(each.rows for each in self._joined)) if self._joined else self._rows

    @property
    def kinds(self) -> Iterable[Kind]:
        """All kinds of requests."""
        if not self._is_summed:
            self._sum_kinds()
        return chain(self._kinds.values(), *(each.kinds for each in self._joined)) if self._joined else self._kinds.values()

    @property
    def latencies(self) -> Iterable[tuple[Labels, Latency]]:
        """Histograms by what they are labelled with."""
        return self._latencies.items()

    def close(self) -> None:
        """Let go of what only adding needs, which is more than what is kept. What is added later has rows of its own."""
        self._by_like.clear()
        self._alike.clear()

    def join(self, later: Sums) -> None:
        """Have the rows and kinds of `later` here too; what is alike in both keeps one in each."""
        self._joined.append(later)
        self.interim += later.interim

    def add(self, records: list[bytes], kept: list[bytes] | None = None) -> None:
        """Add what `records` tell; `kept` has each as the call log is to keep it. What cannot be read is passed over."""
        known = self._alike
        self._is_summed = False
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
            row, latency = alike.row, alike.latency
            row.block.records.append(keep)
            row.requests += 1
            row.bytes_in += bytes_in
            row.bytes_out += bytes_out
            row.duration += total + WHOLE - WHOLE
            if time > row.last:
                row.last = time
            elif time < row.first:
                row.first = time
            alike.caller.requests += 1
            latency.add(total, auth, record, size + length, time)
            if alike.quota_period or interim_in or interim_out:
                _add_rare(row, interim_in, interim_out, alike.quota_period, spent(read, written, cached, created))
            if alike.is_answered:
                latency.add_hub(total - hub_time - auth - queue, first_byte, record, size + length, time)
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
        # All of it in one step, in the order of their declaration: compiled code reaches a msgspec struct's fields slowly.
        (
            key_id, secret_id, outcome, reason, status, hub_status, method, route, _, model, model_served, client, agent, streaming, ending,
            usage_source, shadow, secret_state, quota_period, _, _,
        ) = astuple(traits)  # fmt: skip
        kind = self._kind(traits, (minute, not key_id, outcome, reason, route, model, model_served, status, method, streaming))
        like = (kind, key_id, secret_id, secret_state, usage_source, shadow, ending == "revoked")
        row = self._by_like.get(like)
        if row is None:
            row = self._by_like[like] = self._row(traits, key_id, time, kind)
        is_metered = hub_status != 0 and usage_source != "none"
        alike = Alike(row, minute, row.meet(client, agent), quota_period, is_answered=hub_status != 0, is_metered=is_metered)
        self._alike[packed] = alike
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
        traits = traits_of(call)
        kind = self._kind(
            traits,
            (
                call.time // 60.0, not call.key_id, call.outcome, call.reason, call.route, call.model, call.model_served, call.status,
                call.method, call.streaming,
            ),
        )  # fmt: skip
        like = ("ledger", kind, call.key_id, call.usage_source)
        row = self._by_like.get(like)
        if row is None:
            row = self._by_like[like] = self._row(traits, call.key_id, call.time, kind)
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
            kind.latency.add_tokens(tokens.input, tokens.output)
        if call.quota_period:
            row.settle(call.quota_period, counted(sum_of((call.tokens, tokens))) - counted(call.tokens))

    def _kind(self, traits: Traits, like: tuple[float, bool, str, str, str, str, str, int, str, bool]) -> Kind:
        """The kind of requests that are like this: minute, without a key or not, and the traits that tell kinds apart."""
        kind = self._kinds.get(like)
        if kind is None:
            kind = self._kinds[like] = Kind(int(like[0]), traits, self._latency(traits))
        return kind

    def _latency(self, traits: Traits) -> Latency:
        like = (traits.route, traits.method, traits.status // 100, traits.streaming, traits.model_served or traits.model)
        latency = self._latencies.get(like)
        if latency is None:
            latency = self._latencies[like] = Latency()
        return latency

    def _row(self, traits: Traits, key_id: str, time: float, kind: Kind) -> Row:
        shard = shard_of(key_id)
        place = (shard if key_id else KEYLESS, int(time) // 3600)
        block = self.blocks.get(place)
        if block is None:
            block = self.blocks[place] = Block()
        row = Row(traits, key_id, time, shard, kind, block)
        self._rows.append(row)
        return row

    def _sum_kinds(self) -> None:
        for kind in self._kinds.values():
            kind.figures = Figures()
        for row in self._rows:
            row.kind.figures.add(row)
        self._is_summed = True


def _add_rare(row: Row, told_in: int, told_out: int, quota_period: str, tokens: int) -> None:
    """What few requests have: bytes of which interim records told before, and a token quota to settle."""
    row.bytes_in -= told_in
    row.bytes_out -= told_out
    row.told_in += told_in
    row.told_out += told_out
    if quota_period:
        row.settle(quota_period, tokens)
