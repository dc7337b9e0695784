"""Usage series: what is summed, in which buckets, and under which names it is kept.

There are three series (`SERIES`), each in hashes that all keys of a shard share: an hour of minutes (`m`), a
day of hours (`h`), and a month of days (`d`), which only all keys together have. A field is
`<subject>|<slice>`: a key, or all keys together (ALL, in shard 0), and a few buckets that follow each other.
Its value is a MessagePack map from `<bucket><SEPARATOR><part>...` to a list in the order of MEASURES, without
trailing zeros. A list counts under every part of its name: the empty part is the total, the others are
`<dimension>|<value>`. So what a key did is one small field, whatever it is asked for later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from operator import add as plus

from sidecar.control.metrics.bounded import Bounded
from sidecar.control.metrics.counts import GLOBAL_SHARD
from sidecar.control.nested import packed
from sidecar.control.sums import Row, Sums
from sidecar.events.record import NO_TOKENS, Request, Traits
from sidecar.store import names

ALL = "_all"
MEASURES = (
    "requests",
    "duration_seconds",
    "bytes_in",
    "bytes_out",
    "input_tokens",
    "output_tokens",
    "errors",
    "denied",
    "credits",
    "images",
    "cached_input_tokens",
    "cache_creation_input_tokens",
)
DIMENSIONS = {"model": "m", "route": "r", "outcome": "o", "reason": "c"}
SEPARATOR = "\x1f"
MINUTE, HOUR, DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Layout:
    """How a series lies in the store: seconds of a bucket and of a hash, buckets of a field."""

    bucket: int
    span: int
    slice: int


SERIES = {"m": Layout(MINUTE, HOUR, 5), "h": Layout(HOUR, DAY, 1), "d": Layout(DAY, 32 * DAY, 1)}
"""Some minutes share a field because a busy key has all of them, and a field costs more than what is in it."""

Values = list[float]
Cells = dict[str, Values]
"""Sums by bucket and parts, as they are stored."""
_ERRORS = frozenset({"client_error", "hub_error", "sidecar_error"})
_DENIED = frozenset({"denied", "rate_limited"})
_TOTAL = SEPARATOR
"""The parts of a bucket's total alone."""


@dataclass(slots=True)
class Sum:
    """What is added to one hash: field → packed cells. Not frozen: that doubles the price of making one."""

    name: str
    expires_at: int
    fields: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds."""

    minutes: float
    hours: float


class _Bucket:
    """One bucket of a series while it is added up."""

    __slots__ = ("_names", "_prefix", "_shards", "_suffix", "together")

    def __init__(self, shards: list[dict[str, Cells]], slice_: int, number: int) -> None:
        self._shards = shards
        self._suffix = f"|{slice_}"
        self._prefix = str(number)
        self._names: dict[str, str] = {}
        self.together: dict[str, Values] = {}
        """Of all keys, by parts."""

    def add(self, shard: int, subject: str, parts: str, values: Values) -> None:
        """Add to a cell. `values` stays as it is, for it may be what another cell holds."""
        fields = self._shards[shard]
        name = self._names.get(parts)
        if name is None:
            name = self._names[parts] = self._prefix + parts
        field = subject + self._suffix
        cells = fields.get(field)
        if cells is None:
            fields[field] = {name: values}
        else:
            add_to(cells, name, values)

    def add_all(self, together: dict[str, Values]) -> None:
        """Add what all keys together did, by parts: every combination of groups occurs, so each group has sums of its own."""
        for parts, values in together.items():
            for part in parts.split(SEPARATOR)[1:]:
                self.add(GLOBAL_SHARD, ALL, SEPARATOR + part, values)


class _Series:
    """One series of a stretch while it is added up: by span, the fields of every shard."""

    def __init__(self, step: str, keep: float) -> None:
        self._step = step
        self._keep = int(keep)
        self._layout = SERIES[step]
        self._spans: dict[int, list[dict[str, Cells]]] = {}
        self.buckets: dict[int, _Bucket] = {}
        """By number since 1970."""

    def bucket(self, number: int) -> _Bucket:
        """The bucket with that number, which is not in `buckets` yet."""
        layout = self._layout
        in_span = layout.span // layout.bucket
        span, place = divmod(number, in_span)
        shards = self._spans.get(span)
        if shards is None:
            shards = self._spans[span] = [{} for _ in range(names.SHARDS)]
        bucket = self.buckets[number] = _Bucket(shards, place // layout.slice, place)
        return bucket

    def sums(self) -> Iterator[tuple[int, Sum]]:
        """Each hash with its shard."""
        for span, shards in self._spans.items():
            expires_at = (span + 1) * self._layout.span + self._keep
            for shard, fields in enumerate(shards):
                if fields:
                    filled = {field: packed(cells) for field, cells in fields.items()}
                    yield shard, Sum(names.series(shard, self._step, span), expires_at, filled)


class SeriesBuilder:
    """Makes the sums of a stretch of requests; keeps nothing but the names of models."""

    def __init__(self, retention: Retention, *, models: int = 1000) -> None:
        self._retention = retention
        self._models = Bounded(models, unproven=models // 10)

    def minutes(self, sums: Sums) -> list[tuple[int, Sum]]:
        """With their shards, the minutes of every key and, in shard 0, of all together."""
        return list(self._build("m", self._retention.minutes, sums).sums())

    def hours(self, sums: Sums) -> list[tuple[int, Sum]]:
        """The same of hours, and the days of all together."""
        hours = self._build("h", self._retention.hours, sums)
        days = _Series("d", self._retention.hours)
        for hour, bucket in hours.buckets.items():
            number = hour * HOUR // DAY
            day = days.buckets.get(number) or days.bucket(number)
            day.add_all(bucket.together)
        return [*hours.sums(), *days.sums()]

    def _build(self, step: str, keep: float, sums: Sums) -> _Series:
        series = _Series(step, keep)
        size = SERIES[step].bucket
        buckets = series.buckets
        for shard, key_id, time, parts, values in self._found(sums):
            number = time // size
            bucket = buckets.get(number) or series.bucket(number)
            bucket.add(shard, key_id, parts, values)
            add_to(bucket.together, parts, values)
        for bucket in buckets.values():
            bucket.add_all(bucket.together)
        return series

    def _found(self, sums: Sums) -> Iterator[tuple[int, str, int, str, Values]]:
        """Shard, key, time, parts, and what is to be added there."""
        for row in sums.rows:
            traits = row.traits
            if traits.key_id:
                # Asked for twice, by minutes and by hours.
                cell = row.cell
                if cell is None:
                    cell = row.cell = (self._parts(traits), _values(row))
                yield row.shard, traits.key_id, int(row.first), cell[0], cell[1]
                if row.told_in or row.told_out:
                    # In the total already. What they belong to was not known before the request had ended.
                    yield row.shard, traits.key_id, int(row.first), cell[0][1:], [0, 0.0, row.told_in, row.told_out]
        for interim in sums.interim:
            if interim.key_id:
                values: Values = [0, 0.0, interim.bytes_in, interim.bytes_out]
                yield names.shard_of(interim.key_id), interim.key_id, int(interim.time), _TOTAL, values

    def _parts(self, traits: Traits) -> str:
        model = traits.model_served or traits.model
        name = self._models.name(model, proven=traits.outcome == "ok") if model else ""
        return _joined(name, traits.route, traits.outcome, traits.reason)


@lru_cache(maxsize=10_000)
def _joined(model: str, route: str, outcome: str, reason: str) -> str:
    """The parts of a request's sums; the same few over and over."""
    groups = (("m", model.replace(SEPARATOR, " ")), ("r", route), ("o", outcome), ("c", reason))
    return _TOTAL + "".join(f"{SEPARATOR}{code}|{value}" for code, value in groups if value)


def added(one: Values, other: Values) -> Values:
    """The sums of both."""
    if len(one) == len(other):
        return list(map(plus, one, other))
    return [mine + more for mine, more in zip_longest(one, other, fillvalue=0)]


def summed(lists: Sequence[Values]) -> Values:
    """The sums of all."""
    return list(map(sum, zip_longest(*lists, fillvalue=0))) if len(lists) > 1 else lists[0]


def add_to(cells: dict[str, Values], name: str, values: Values) -> None:
    """Add to one of `cells`, whose lists are never changed but replaced."""
    known = cells.get(name)
    cells[name] = values if known is None else added(known, values)


def _values(row: Row) -> Values:
    outcome = row.traits.outcome
    if row.output and outcome == "ok" and not (row.credits or row.images or row.cached_input or row.cache_creation):
        # Most requests have none of what comes after the tokens.
        return [row.requests, row.duration, row.bytes_in, row.bytes_out, row.input, row.output]
    values: Values = [
        row.requests, row.duration, row.bytes_in, row.bytes_out, row.input, row.output,
        row.requests if outcome in _ERRORS else 0, row.requests if outcome in _DENIED else 0,
        row.credits, row.images, row.cached_input, row.cache_creation,
    ]  # fmt: skip
    end = len(values)
    while end > 1 and not values[end - 1]:
        end -= 1
    return values[:end]


def values_of(event: Request) -> Values:
    """The measures of a single request; as those of its row, but for bytes that interim records brought earlier."""
    tokens = event.tokens if event.usage_source != "none" else NO_TOKENS
    return [
        1, event.total, event.bytes_in, event.bytes_out, tokens.input, tokens.output,
        int(event.outcome in _ERRORS), int(event.outcome in _DENIED),
        tokens.credits, tokens.images, tokens.cached_input, tokens.cache_creation_input,
    ]  # fmt: skip
