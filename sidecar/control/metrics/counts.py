"""Turns sums of requests into what is added to this instance's counts, field by field and shard by shard.

A count lives twice: in memory for /metrics, and in the store, where it moves together with the spool
position, so that a restart goes on from exactly where it was. What belongs to a key lies in the key's
shard; what belongs to none lies in shard 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from sidecar.control.totals.bounded import OTHER, Bounded
from sidecar.control.totals.nested import Nested, add_list
from sidecar.control.totals.rows import Figures, Kind, Labels, Latency, Row
from sidecar.control.totals.sums import Sums
from sidecar.events.record import Interim, Traits
from sidecar.store.names import GLOBAL_SHARD, shard_of

KEY_FIELD = "k:"
OVERFLOW = "_overflow"
SEPARATOR = "\x1f"
"""Between label values that form one name."""
_OVERFLOW_FIELD = KEY_FIELD + OVERFLOW

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
        overflow: dict[int, dict[Kind, Figures]] = {}
        for row in sums.rows:
            key_id = row.key_id
            if not key_id:
                _count_unkeyed(delta, row)
                continue
            label = self.label(key_id)
            field = _field(delta, row.shard, _OVERFLOW_FIELD if label == OVERFLOW else KEY_FIELD + label)
            if label == OVERFLOW and not row.reconciled:
                # Of a hundred thousand keys most are here, and need not be added up one by one.
                _overflow(overflow, row)
            else:
                _count_figures(field, row, row.traits, row.reconciled)
            _count_states(field, row)
        for shard, kinds in overflow.items():
            for kind, figures in kinds.items():
                _count_figures(_field(delta, shard, _OVERFLOW_FIELD), figures, kind.traits)
        for kind in sums.kinds:
            self._count_model(delta, kind)
        for labels, latency in sums.latencies:
            self._count_latency(delta, labels, latency)
        for interim in sums.interim:
            self._count_interim(delta, interim)
        return delta

    def _learn(self, sums: Sums) -> None:
        """Models get their names first, so that the order within a stretch does not matter."""
        for kind in sums.kinds:
            if kind.traits.outcome == "ok":
                self._models.name(kind.traits.model_served or kind.traits.model)

    def _count_model(self, delta: Delta, kind: Kind) -> None:
        traits, requests = kind.traits, kind.figures.requests
        model = traits.model_served or traits.model
        if model and requests:
            name = _joined(self._models.name(model, proven=traits.outcome == "ok"), traits.outcome)
            _increase(_field(delta, GLOBAL_SHARD, "models"), name, requests)

    def _count_latency(self, delta: Delta, labels: Labels, latency: Latency) -> None:
        route, method, status_class, streaming, model = labels
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


def _overflow(overflow: dict[int, dict[Kind, Figures]], row: Row) -> None:
    kinds = overflow.get(row.shard)
    if kinds is None:
        kinds = overflow[row.shard] = {}
    figures = kinds.get(row.kind)
    if figures is None:
        figures = kinds[row.kind] = Figures()
    figures.add(row)


def _count_figures(field: Nested, figures: Figures, traits: Traits, reconciled: int = 0) -> None:
    if figures.input or figures.output or figures.cached_input or figures.cache_creation:
        _add_list(field, "t", [figures.input, figures.output, figures.cached_input, figures.cache_creation])
    if reconciled:
        _increase(field, "l", reconciled)
        return
    _add_list(field, "b", [figures.bytes_in, figures.bytes_out])
    _add_list(field, "d", [figures.duration, figures.requests])
    _increase_in(field, "r", _joined(traits.outcome, traits.reason), figures.requests)


def _count_states(field: Nested, row: Row) -> None:
    traits, requests = row.traits, row.requests
    if not requests:
        return
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
