"""The counts of this instance in memory, and how they come back from the store after a restart."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sidecar.control.metrics.counts import KEY_FIELD, SEPARATOR, Delta, method_label
from sidecar.control.metrics.text import Exemplar
from sidecar.control.totals.buckets import PROPAGATION
from sidecar.control.totals.nested import Nested, add
from sidecar.control.totals.rows import STEP, Example
from sidecar.control.totals.sums import Sums
from sidecar.events.wire import decode_ids

_Place = tuple[tuple[str, ...], int]
"""Label values, and a bucket's index."""
Exemplars = dict[_Place, Exemplar]


class Counts:
    """Counts since ever: by key label, and by family."""

    def __init__(self) -> None:
        self.keys: dict[str, Nested] = {}
        self.families: dict[str, Nested] = {}
        self.duration_exemplars: Exemplars = {}
        self.first_byte_exemplars: Exemplars = {}
        self.revocation: list[float] = [0] * (len(PROPAGATION) + 2)

    def apply(self, delta: Delta) -> None:
        """Add what a stretch of events counted."""
        for fields in delta.values():
            for name, nested in fields.items():
                self._add(name, nested)

    def restore(self, stored: Mapping[bytes, bytes]) -> None:
        """Add one shard's totals hash, as the store holds it."""
        for name, packed in stored.items():
            self._add(name.decode(), _in_steps(msgspec.msgpack.decode(packed)))

    def _add(self, name: str, nested: Nested) -> None:
        if name.startswith(KEY_FIELD):
            add(self.keys.setdefault(name.removeprefix(KEY_FIELD), {}), nested)
        else:
            add(self.families.setdefault(name, {}), nested)

    def forget(self, key_ids: Iterable[str]) -> None:
        """Drop the counts of keys that are no longer exported."""
        for key_id in key_ids:
            self.keys.pop(key_id, None)

    def observe(self, sums: Sums) -> None:
        """Keep what is not a sum: exemplars, and the lags that workers report."""
        for (route, method, status_class, streaming, _), latency in sums.latencies:
            _keep(latency.durations, (route, method_label(method), f"{status_class}xx"), self.duration_exemplars)
            _keep(latency.first_bytes, (route, "true" if streaming else "false"), self.first_byte_exemplars)
        for state in sums.states:
            for lag in state.revocation_lags:
                self.revocation[bisect_left(PROPAGATION, lag)] += 1
                self.revocation[-1] += lag

    def labels(self, name: str) -> list[tuple[str, ...]]:
        """The label values of a family's series."""
        return [tuple(labels.split(SEPARATOR)) for labels in self.families.get(name, {})]

    def family(self, name: str) -> list[tuple[tuple[str, ...], list[float]]]:
        """A histogram family's series by label values."""
        return [(tuple(labels.split(SEPARATOR)), counts) for labels, counts in self.families.get(name, {}).items()]


def _in_steps(sums: Any) -> Any:
    """`sums` with all seconds in whole steps, as they are added up now; what an earlier build has left between two is rounded up.

    Up, because it may have exported that much; but not for the last digits, in which its sums were never sure. What is added
    later is whole, so each restart makes the same of them.
    """
    if type(sums) is dict:
        return {name: _in_steps(value) for name, value in sums.items()}
    if type(sums) is list:
        return [_in_steps(value) for value in sums]
    return 0.0 - (STEP / 1024 - sums) // STEP * STEP if type(sums) is float else sums


def _keep(examples: dict[int, Example], labels: tuple[str, ...], exemplars: Exemplars) -> None:
    for bucket, (ids, value, time) in examples.items():
        try:
            trace_id = decode_ids(ids).trace_id
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if trace_id:
            exemplars[labels, bucket] = Exemplar(trace_id, value, time)
