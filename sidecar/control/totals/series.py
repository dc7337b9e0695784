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

from sidecar.control.totals.bounded import Bounded
from sidecar.control.totals.nested import packed
from sidecar.control.totals.rows import Figures, Kind, Row
from sidecar.control.totals.sums import Sums
from sidecar.events.record import NO_TOKENS, Request
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
                self.add(names.GLOBAL_SHARD, ALL, SEPARATOR + part, values)


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
        """The bucket with that number."""
        bucket = self.buckets.get(number)
        return self._begin(number) if bucket is None else bucket

    def _begin(self, number: int) -> _Bucket:
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
            days.bucket(number).add_all(bucket.together)
        return [*hours.sums(), *days.sums()]

    def _build(self, step: str, keep: float, sums: Sums) -> _Series:
        series = _Series(step, keep)
        minutes = SERIES[step].bucket // MINUTE
        for row in sums.rows:
            if row.key_id:
                self._add(series.bucket(row.kind.minute // minutes), row)
        for kind in sums.kinds:
            if kind.traits.key_id:
                self._add_together(series.bucket(kind.minute // minutes).together, kind)
        for interim in sums.interim:
            if interim.key_id:
                bucket, values = series.bucket(int(interim.time) // MINUTE // minutes), [0, 0.0, interim.bytes_in, interim.bytes_out]
                bucket.add(names.shard_of(interim.key_id), interim.key_id, _TOTAL, values)
                add_to(bucket.together, _TOTAL, values)
        for bucket in series.buckets.values():
            bucket.add_all(bucket.together)
        return series

    def _add(self, bucket: _Bucket, row: Row) -> None:
        key_id, parts, values = row.key_id, self._parts(row.kind), row.values
        if values is None:
            # Asked for twice, by minutes and by hours.
            values = row.values = _values(row, row.kind.outcome)
        bucket.add(row.shard, key_id, parts, values)
        if row.told_in or row.told_out:
            bucket.add(row.shard, key_id, parts[1:], _told(row))

    def _add_together(self, together: dict[str, Values], kind: Kind) -> None:
        figures, parts = kind.figures, self._parts(kind)
        add_to(together, parts, _values(figures, kind.traits.outcome))
        if figures.told_in or figures.told_out:
            add_to(together, parts[1:], _told(figures))

    def _parts(self, kind: Kind) -> str:
        parts = kind.parts
        if parts is None:
            traits = kind.traits
            model = traits.model_served or traits.model
            name = self._models.name(model, proven=traits.outcome == "ok") if model else ""
            parts = kind.parts = _joined(name, traits.route, traits.outcome, traits.reason)
        return parts


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


def _values(figures: Figures, outcome: str) -> Values:
    if figures.output and outcome == "ok" and not (figures.credits or figures.images or figures.cached_input or figures.cache_creation):
        # Most requests have none of what comes after the tokens.
        return [figures.requests, figures.duration, figures.bytes_in, figures.bytes_out, figures.input, figures.output]
    values: Values = [
        figures.requests, figures.duration, figures.bytes_in, figures.bytes_out, figures.input, figures.output,
        figures.requests if outcome in _ERRORS else 0, figures.requests if outcome in _DENIED else 0,
        figures.credits, figures.images, figures.cached_input, figures.cache_creation,
    ]  # fmt: skip
    end = len(values)
    while end > 1 and not values[end - 1]:
        end -= 1
    return values[:end]


def _told(figures: Figures) -> Values:
    """What interim records told of before: it is in the total already. What it belongs to was not known before the request had ended."""
    return [0, 0.0, figures.told_in, figures.told_out]


def values_of(event: Request) -> Values:
    """The measures of a single request; as those of its row, but for bytes that interim records brought earlier."""
    tokens = event.tokens if event.usage_source != "none" else NO_TOKENS
    return [
        1, event.total, event.bytes_in, event.bytes_out, tokens.input, tokens.output,
        int(event.outcome in _ERRORS), int(event.outcome in _DENIED),
        tokens.credits, tokens.images, tokens.cached_input, tokens.cache_creation_input,
    ]  # fmt: skip
