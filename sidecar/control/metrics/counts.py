"""Turns sums of requests into what is added to this instance's counts, field by field and shard by shard.

A count lives twice: in memory for /metrics, and in the store, where it moves together with the spool
position, so that a restart goes on from exactly where it was. What belongs to a key lies in the key's
shard; what belongs to none lies in shard 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from sidecar.control.metrics.bounded import OTHER, Bounded
from sidecar.control.nested import Nested, add_list
from sidecar.control.sums import Latency, Row, Sums
from sidecar.events.record import Interim
from sidecar.store.names import shard_of

GLOBAL_SHARD = 0
KEY_FIELD = "k:"
OVERFLOW = "_overflow"
SEPARATOR = "\x1f"
"""Between label values that form one name."""

Fields = dict[str, Nested]
Delta = dict[int, Fields]
"""Shard → field of the store's totals hash → what is added to it."""

_UNKEYED_OUTCOMES = frozenset({"denied", "rate_limited", "client_error", "sidecar_error"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Counter:
    """Makes deltas; keeps nothing of them. `label` gives the key_id under which a key is counted."""

    def __init__(self, label: Callable[[str], str], *, routes: int = 200, models: int = 100) -> None:
        self.label = label
        self._routes = Bounded(routes)
        # A client may choose a model's name, and one that breaks its label in two would end every scrape.
        self._models = Bounded(models, separator=SEPARATOR)

    def recall(self, models: Iterable[str]) -> None:
        """Let models that were counted before keep their names: else every restart would make room for as many again."""
        for model in models:
            if model != OTHER:
                self._models.name(model)

    def delta(self, sums: Sums) -> Delta:
        """Everything that `sums` adds to the counts."""
        delta: Delta = {}
        self._learn(sums)
        for row in sums.rows:
            key_id = row.traits.key_id
            if key_id:
                _count_key(_field(delta, row.shard, KEY_FIELD + self.label(key_id)), row)
            else:
                _count_unkeyed(delta, row)
            self._count_model(delta, row)
        for like, latency in sums.latencies:
            self._count_latency(delta, like, latency)
        for interim in sums.interim:
            self._count_interim(delta, interim)
        return delta

    def _learn(self, sums: Sums) -> None:
        """Models get their names first, so that the order within a stretch does not matter."""
        for row in sums.rows:
            if row.traits.outcome == "ok":
                self._models.name(row.traits.model_served or row.traits.model)

    def _count_model(self, delta: Delta, row: Row) -> None:
        traits = row.traits
        model = traits.model_served or traits.model
        if model and row.requests:
            name = _joined(self._models.name(model, proven=traits.outcome == "ok"), traits.outcome)
            _increase(_field(delta, GLOBAL_SHARD, "models"), name, row.requests)

    def _count_latency(self, delta: Delta, like: tuple[Any, ...], latency: Latency) -> None:
        route, method, status_class, streaming, model = like
        route = self._routes.name(route)
        name = SEPARATOR.join((route, method_label(method), f"{status_class}xx"))
        _histogram(delta, "duration", name, latency.total, latency.total_sum)
        _histogram(delta, "overhead", "auth", latency.auth, latency.auth_sum)
        if any(latency.first_byte):
            _histogram(delta, "overhead", "proxy", latency.proxy, latency.proxy_sum)
            name = route + SEPARATOR + ("true" if streaming else "false")
            _histogram(delta, "first_byte", name, latency.first_byte, latency.first_byte_sum)
        if any(latency.input):
            model = self._models.name(model, proven=False)
            _histogram(delta, "tokens", model + SEPARATOR + "input", latency.input, latency.input_sum)
            _histogram(delta, "tokens", model + SEPARATOR + "output", latency.output, latency.output_sum)

    def _count_interim(self, delta: Delta, interim: Interim) -> None:
        if interim.key_id:
            field = _field(delta, shard_of(interim.key_id), KEY_FIELD + self.label(interim.key_id))
            _add_list(field, "b", [interim.bytes_in, interim.bytes_out])


def method_label(method: str) -> str:
    """What stands for a method: clients may invent any number of them."""
    return method if method in _METHODS else OTHER


def _count_key(field: Nested, row: Row) -> None:
    traits = row.traits
    if row.input or row.output or row.cached_input or row.cache_creation:
        _add_list(field, "t", [row.input, row.output, row.cached_input, row.cache_creation])
    requests = row.requests
    if row.reconciled:
        _increase(field, "l", row.reconciled)
        return
    _add_list(field, "b", [row.bytes_in, row.bytes_out])
    _add_list(field, "d", [row.duration, requests])
    _increase_in(field, "r", _joined(traits.outcome, traits.reason), requests)
    if traits.usage_source == "none" and traits.model and traits.outcome == "ok":
        _increase(field, "u", requests)
    if traits.secret_state:
        _increase_in(field, "s", traits.secret_state, requests)
    if traits.shadow:
        _increase_in(field, "h", traits.shadow, requests)


@lru_cache(maxsize=1000)
def _joined(one: str, other: str) -> str:
    """The same few over and over."""
    return one + SEPARATOR + other


def _count_unkeyed(delta: Delta, row: Row) -> None:
    traits = row.traits
    if traits.outcome in _UNKEYED_OUTCOMES:
        _increase(_field(delta, GLOBAL_SHARD, "failures"), traits.reason, row.requests)
    if traits.shadow:
        _increase(_field(delta, GLOBAL_SHARD, "shadow"), traits.shadow, row.requests)


def _field(delta: Delta, shard: int, name: str) -> Nested:
    fields = delta.get(shard)
    if fields is None:
        fields = delta[shard] = {}
    field = fields.get(name)
    if field is None:
        field = fields[name] = {}
    return field


def _add_list(into: Nested, name: str, values: list[Any]) -> None:
    mine = into.get(name)
    if mine is None:
        into[name] = values
    else:
        add_list(mine, values)


def _increase(into: Nested, name: str, by: int) -> None:
    into[name] = into.get(name, 0) + by


def _increase_in(into: Nested, group: str, name: str, by: int) -> None:
    counts = into.get(group)
    if counts is None:
        into[group] = {name: by}
    else:
        counts[name] = counts.get(name, 0) + by


def _histogram(delta: Delta, family: str, name: str, counts: list[int], total: float) -> None:
    _add_list(_field(delta, GLOBAL_SHARD, family), name, [*counts, total])
