"""What requests are added up in: rows by key, kinds over all keys, histograms, and blocks for the call log.

Very many of these are made while there is much to do, so they hold no container that not every one of them needs.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from sidecar.control.totals.buckets import DURATION, FIRST_BYTE, OVERHEAD, TOKENS
from sidecar.events.record import Traits

Example = tuple[bytes, float, float]
"""Packed ids of a request, what was measured of it, and its time."""
Labels = tuple[str, str, int, bool, str]
"""Route, method, status class, streaming, model."""
STEP: Final = 2.0**-20
"""Seconds are added up in whole steps of this, just under a microsecond, so that no addition rounds while a sum is below 2³³ (272 years).

Then the same requests make the same figure in whatever stretches they are read. What the store adds up after an outage, and the next
control process goes on from, is to the last digit what this one has exported: else it may be less, which looks like a counter that has
begun anew.
"""
WHOLE: Final = 6442450944.0
"""1.5 · 2³², where floats lie one STEP apart: adding it to seconds and taking it off again rounds them to whole steps."""


class Latency:
    """Histogram counts, not cumulative, last place for what lies beyond all bounds; sums in seconds and tokens."""

    __slots__ = (
        "auth", "auth_sum", "durations", "first_byte", "first_byte_sum", "first_bytes", "input", "input_sum",
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
        self.durations: dict[int, Example] = {}
        self.first_bytes: dict[int, Example] = {}
        """By bucket the first request in it: of the seconds that it took, and of those until its first byte."""

    def add(self, total: float, auth: float, record: bytes, ids: int, time: float) -> None:
        """Count what every request has; `record` has its packed ids from `ids` on."""
        bucket = bisect_left(DURATION, total)
        if not self.total[bucket]:
            self.durations[bucket] = (record[ids:], total, time)
        self.total[bucket] += 1
        self.total_sum += total + WHOLE - WHOLE
        self.auth[bisect_left(OVERHEAD, auth)] += 1
        self.auth_sum += auth + WHOLE - WHOLE

    def add_hub(self, proxy: float, first_byte: float, record: bytes, ids: int, time: float) -> None:
        """Count what a request has that the hub answered."""
        if proxy < 0.0:
            proxy = 0.0
        self.proxy[bisect_left(OVERHEAD, proxy)] += 1
        self.proxy_sum += proxy + WHOLE - WHOLE
        bucket = bisect_left(FIRST_BYTE, first_byte)
        if not self.first_byte[bucket]:
            self.first_bytes[bucket] = (record[ids:], first_byte, time)
        self.first_byte[bucket] += 1
        self.first_byte_sum += first_byte + WHOLE - WHOLE

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


class Caller:
    """Requests of a row with one client address and User-Agent; callers are a chain, for most rows have one. A pair may occur again."""

    __slots__ = ("after", "agent", "client", "requests")

    def __init__(self, client: str, agent: str) -> None:
        self.client = client
        self.agent = agent
        self.requests = 0
        self.after: Caller | None = None


class Figures:
    """What requests add up to. Bytes are those that no interim record has told of before, `told_*` the others."""

    __slots__ = (
        "bytes_in", "bytes_out", "cache_creation", "cached_input", "credits", "duration",
        "images", "input", "output", "requests", "told_in", "told_out",
    )  # fmt: skip

    def __init__(self) -> None:
        self.duration = 0.0
        self.credits = 0.0
        self.requests = self.bytes_in = self.bytes_out = self.told_in = self.told_out = 0
        self.input = self.output = self.cached_input = self.cache_creation = self.images = 0

    def add(self, other: Figures) -> None:
        """Add the figures of others."""
        self.requests += other.requests
        self.duration += other.duration
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.told_in += other.told_in
        self.told_out += other.told_out
        self.input += other.input
        self.output += other.output
        self.credits += other.credits
        self.images += other.images
        self.cached_input += other.cached_input
        self.cache_creation += other.cache_creation


class Kind:
    """Requests of one minute, since 1970, that are alike but for their keys; `traits` are those of the first of them.

    What is looked at over all keys is looked at here, so that it costs nothing by key. Requests without a key are of other kinds.
    Kinds whose histograms have the same labels share their `latency`.
    """

    __slots__ = ("figures", "latency", "minute", "outcome", "parts", "traits")

    def __init__(self, minute: int, traits: Traits, latency: Latency) -> None:
        self.minute = minute
        self.traits = traits
        self.outcome = traits.outcome
        self.latency = latency
        self.figures = Figures()
        self.parts: str | None = None
        """Under which names the series count it; theirs."""


class Row(Figures):
    """Requests of a kind that share key, secret and its state, where their use was read, what shadow mode would have refused,
    and whether a change of the key cut them off.

    `traits` are those of the first of them.
    What the hub's ledger adds to them later makes a row of its own, which has `reconciled` calls and no requests.
    `priced` are the requests of which the hub said the credits.
    """

    __slots__ = (
        "block",
        "callers",
        "first",
        "key_id",
        "kind",
        "last",
        "last_caller",
        "priced",
        "quota",
        "reconciled",
        "shard",
        "traits",
        "values",
    )

    def __init__(self, traits: Traits, key_id: str, time: float, shard: int, kind: Kind, block: Block) -> None:
        super().__init__()
        self.traits = traits
        self.key_id = key_id
        self.shard = shard
        self.kind = kind
        self.block = block
        self.first = time
        self.last = 0.0
        self.reconciled = self.priced = 0
        self.callers: Caller | None = None
        self.last_caller: Caller | None = None
        """The two ends of the chain."""
        self.values: list[float] | None = None
        """What the series make of it; theirs."""
        self.quota: list[tuple[str, int]] | None = None
        """Period and tokens of those that must be settled one by one, because their key has a token quota."""

    def meet(self, client: str, agent: str) -> Caller:
        """One more caller."""
        caller = Caller(client, agent)
        if self.last_caller is None:
            self.callers = caller
        else:
            self.last_caller.after = caller
        self.last_caller = caller
        return caller

    def settle(self, period: str, tokens: int) -> None:
        """Note what a request has used of a token quota."""
        if self.quota is None:
            self.quota = []
        self.quota.append((period, tokens))
