"""Usage series: what is summed, in which buckets, and under which names it is kept.

A subject is a key, or all keys together (ALL, in shard 0). Three hashes are kept for each: minutes by the hour
(`m`), the same by group (`g`, short-lived), and hours by the day with their groups (`h`). A field is
`<bucket>` or `<bucket>|<dimension>|<value>`; a value is a MessagePack list in the order of MEASURES,
without trailing zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import add as plus

from sidecar.control.metrics.bounded import Bounded
from sidecar.control.metrics.counts import GLOBAL_SHARD
from sidecar.control.nested import add_list
from sidecar.control.sums import Row, Sums
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
MINUTE, HOUR, DAY = 60, 3600, 86_400
GROUP_MINUTES = 2 * DAY
"""Seconds for which minutes are kept by group."""

Values = list[float]
_AFTER_TOKENS = MEASURES.index("output_tokens") + 1
_NOTHING_MORE = (0,) * (len(MEASURES) - 4)
_ERRORS = frozenset({"client_error", "hub_error", "sidecar_error"})
_DENIED = frozenset({"denied", "rate_limited"})
_Like = tuple[int, str, str, str, str]
_Cells = dict[_Like, Values]
"""Sums by minute, model, route, outcome and reason."""
_Found = tuple[int, str, _Like, Values]
"""Shard, key, cell, and what is to be added to it."""


@dataclass(slots=True)
class Sum:
    """What is added to one hash. Not frozen, for there are three for each key of a stretch and that doubles their price."""

    name: str
    expires_at: int
    fields: dict[str, Values]


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds."""

    minutes: float
    hours: float


class SeriesBuilder:
    """Makes the sums of a stretch of requests; keeps nothing but the names of models."""

    def __init__(self, retention: Retention, *, models: int = 1000) -> None:
        self._retention = retention
        self._models = Bounded(models, unproven=models // 10)

    def minutes(self, sums: Sums) -> dict[int, list[Sum]]:
        """By shard, the minutes of every key and, in shard 0, of all together."""
        return self._build(_by_minute(sums), self._minutes)

    def details(self, sums: Sums) -> dict[int, list[Sum]]:
        """By shard, minutes by group and hours with their groups."""
        return self._build(self._by_result(sums), self._details)

    def _build(self, found: Iterator[_Found], hashes: Callable[[int, str, _Cells], list[Sum]]) -> dict[int, list[Sum]]:
        keys: dict[tuple[int, str], _Cells] = {}
        together: _Cells = {}
        for shard, key_id, like, values in found:
            _add(keys.setdefault((shard, key_id), {}), like, values)
        built: dict[int, list[Sum]] = {}
        for (shard, key_id), cells in keys.items():
            built.setdefault(shard, []).extend(hashes(shard, key_id, cells))
            for like, values in cells.items():
                _add(together, like, values)
        if together:
            built.setdefault(GLOBAL_SHARD, []).extend(hashes(GLOBAL_SHARD, ALL, together))
        return built

    def _by_result(self, sums: Sums) -> Iterator[_Found]:
        for row in sums.rows:
            event = row.sample
            if event.key_id:
                model = event.model_served or event.model
                name = self._models.name(model, proven=event.outcome == "ok") if model else ""
                yield row.shard, event.key_id, (int(event.time) // MINUTE, name, event.route, event.outcome, event.reason), _values(row)
        yield from _interim(sums)

    def _minutes(self, shard: int, subject: str, cells: _Cells) -> list[Sum]:
        by_hour: dict[int, dict[str, Values]] = {}
        for (minute, _, _, _, _), values in cells.items():
            hour, in_hour = divmod(minute, 60)
            _put(by_hour.setdefault(hour, {}), str(in_hour), _trimmed(values))
        return _sums(shard, subject, "m", by_hour, HOUR, self._retention.minutes)

    def _details(self, shard: int, subject: str, cells: _Cells) -> list[Sum]:
        by_hour: dict[int, dict[str, Values]] = {}
        by_day: dict[int, dict[str, Values]] = {}
        for (minute, model, route, outcome, reason), values in cells.items():
            hour, in_hour = divmod(minute, 60)
            day, in_day = divmod(hour, 24)
            values = _trimmed(values)
            _put_all(by_hour, hour, _groups(in_hour, model, route, outcome, reason), values)
            _put_all(by_day, day, (str(in_day), *_groups(in_day, model, route, outcome, reason)), values)
        groups = _sums(shard, subject, "g", by_hour, HOUR, min(self._retention.minutes, GROUP_MINUTES))
        return groups + _sums(shard, subject, "h", by_day, DAY, self._retention.hours)


def _by_minute(sums: Sums) -> Iterator[_Found]:
    for row in sums.rows:
        event = row.sample
        if event.key_id:
            yield row.shard, event.key_id, (int(event.time) // MINUTE, "", "", "", ""), _values(row)
    yield from _interim(sums)


def _interim(sums: Sums) -> Iterator[_Found]:
    for interim in sums.interim:
        if interim.key_id:
            values: Values = [0, 0.0, interim.bytes_in, interim.bytes_out, *_NOTHING_MORE]
            yield names.shard_of(interim.key_id), interim.key_id, (int(interim.time) // MINUTE, "", "", "", ""), values


def _sums(shard: int, subject: str, step: str, buckets: dict[int, dict[str, Values]], span: int, keep: float) -> list[Sum]:
    return [
        Sum(names.series(shard, subject, step, bucket), (bucket + 1) * span + int(keep), fields)
        for bucket, fields in buckets.items()
        if fields
    ]


def _add(cells: _Cells, like: _Like, values: Values) -> None:
    """Add to a cell. `values` stays as it is, for it may be what another cell holds."""
    known = cells.get(like)
    cells[like] = values if known is None else list(map(plus, known, values))


def _values(row: Row) -> Values:
    outcome = row.sample.outcome
    return [
        row.requests, row.duration, row.bytes_in, row.bytes_out, row.input, row.output,
        row.requests if outcome in _ERRORS else 0, row.requests if outcome in _DENIED else 0,
        row.credits, row.images, row.cached_input, row.cache_creation,
    ]  # fmt: skip


@lru_cache(maxsize=10_000)
def _groups(bucket: int, model: str, route: str, outcome: str, reason: str) -> tuple[str, ...]:
    """The fields of a bucket's groups; the same few over and over."""
    return tuple(f"{bucket}|{code}|{value}" for code, value in (("m", model), ("r", route), ("o", outcome), ("c", reason)) if value)


def _trimmed(values: Values) -> Values:
    # Most requests have none of what comes after the tokens.
    end = len(values) if any(values[_AFTER_TOKENS:]) else _AFTER_TOKENS
    while end > 1 and not values[end - 1]:
        end -= 1
    return values[:end]


def _put_all(buckets: dict[int, dict[str, Values]], bucket: int, names: tuple[str, ...], values: Values) -> None:
    fields = buckets.get(bucket)
    # Most keys do one kind of thing in a minute: then all their fields share one list, which is copied on the first addition.
    if fields is None:
        buckets[bucket] = dict.fromkeys(names, values)
        return
    for name in names:
        _put(fields, name, values)


def _put(fields: dict[str, Values], name: str, values: Values) -> None:
    mine = fields.get(name)
    if mine is None:
        fields[name] = values
    else:
        fields[name] = mine = mine[:]
        add_list(mine, values)


def values_of(event: Request) -> Values:
    """The measures of a single request; as those of its row, but for bytes that interim records brought earlier."""
    tokens = event.tokens if event.usage_source != "none" else NO_TOKENS
    return [
        1, event.total, event.bytes_in, event.bytes_out, tokens.input, tokens.output,
        int(event.outcome in _ERRORS), int(event.outcome in _DENIED),
        tokens.credits, tokens.images, tokens.cached_input, tokens.cache_creation_input,
    ]  # fmt: skip
