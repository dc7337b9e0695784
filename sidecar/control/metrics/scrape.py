"""Makes the answer to a scrape out of what the control process holds."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from sidecar import __version__
from sidecar.control.metrics import catalogue
from sidecar.control.metrics.catalogue import Family
from sidecar.control.metrics.counts import SEPARATOR
from sidecar.control.metrics.key_rows import KeyRows
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.signal_rows import SignalRows, Signals
from sidecar.control.metrics.state import Counts
from sidecar.control.metrics.text import Page
from sidecar.control.networks import Networks
from sidecar.control.totals.buckets import DURATION, FIRST_BYTE, OVERHEAD, PROPAGATION, TOKENS
from sidecar.control.workers import Workers
from sidecar.events.record import NO_LEASE

Samples = Iterable[tuple[tuple[str, ...], float]]
Histograms = Iterable[tuple[tuple[str, ...], Sequence[float]]]


@dataclass(slots=True)
class Gauges:
    """Further samples, each asked for at the scrape, by family."""

    sources: dict[Family, Callable[[], Samples]] = field(default_factory=dict)
    histograms: dict[Family, tuple[Sequence[float], Callable[[], Histograms]]] = field(default_factory=dict)

    def one(self, family: Family, value: Callable[[], float]) -> None:
        """Add a family without labels."""
        self.sources[family] = lambda: [((), value())]

    def histogram(self, family: Family, bounds: Sequence[float], series: Callable[[], Histograms]) -> None:
        """Add a histogram: by label values its counts and, last, its sum."""
        self.histograms[family] = (bounds, series)

    def many(self, family: Family, values: Callable[[], Samples]) -> None:
        """Add a family with labels."""
        self.sources[family] = values


class Scrape:
    """Composes the page."""

    def __init__(
        self,
        *,
        counts: Counts,
        keys: LabelledKeys,
        workers: Workers,
        networks: Networks,
        gauges: Gauges,
        key_info: bool,
        restored: Callable[[], bool],
        signals: Signals | None = None,
    ) -> None:
        self._counts = counts
        self._keys = keys
        self._workers = workers
        self._networks = networks
        self._gauges = gauges
        self._restored = restored
        self._signals = SignalRows(signals, keys) if signals is not None else None
        self._rows = KeyRows(counts, keys, key_info=key_info)
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    def render(self, now: float, *, openmetrics: bool) -> bytes:
        """The page. Until the counts of earlier runs are back it holds none: a counter must not jump."""
        page = Page(openmetrics=openmetrics)
        if self._restored():
            self._networks.forget(now)
            self._rows.write(page, self._workers.in_flight(), self._networks.count)
            if self._signals is not None:
                self._signals.write(page)
            self._write_counts(page)
        self._write_workers(page)
        for family, values in self._gauges.sources.items():
            page.samples(family, values())
        for family, (bounds, series) in self._gauges.histograms.items():
            page.histogram(family, bounds, series())
        page.samples(catalogue.MANY_KEYS, [((), self._networks.many_keys())])
        page.samples(catalogue.BUILD, [((__version__, platform.python_version()), 1)])
        made = (generate_openmetrics if openmetrics else generate_latest)(self._process).decode()
        page.raw(made.removesuffix("# EOF\n"))
        return page.render()

    def _write_counts(self, page: Page) -> None:
        counts = self._counts
        page.samples(catalogue.FAILURES, _flat(counts.families.get("failures", {})))
        page.samples(catalogue.MODELS, _flat(counts.families.get("models", {})))
        page.histogram(catalogue.DURATION, DURATION, counts.family("duration"), counts.duration_exemplars)
        page.histogram(catalogue.OVERHEAD, OVERHEAD, counts.family("overhead"))
        page.histogram(catalogue.FIRST_BYTE, FIRST_BYTE, counts.family("first_byte"), counts.first_byte_exemplars)
        page.histogram(catalogue.TOKENS, TOKENS, counts.family("tokens"))
        page.histogram(catalogue.REVOCATION, PROPAGATION, [((), counts.revocation)])

    def _write_workers(self, page: Page) -> None:
        workers = self._workers
        for family, name in (
            (catalogue.LOOP_LAG, "loop_lag"),
            (catalogue.CONNECTIONS, "connections"),
            (catalogue.HUB_CONNECTIONS, "hub_connections"),
            (catalogue.WORKER_STORE_UP, "store_up"),
            (catalogue.DRAINS, "draining"),
        ):
            page.samples(family, workers.gauge(name))
        page.samples(catalogue.LEASE_AGE, [sample for sample in workers.gauge("lease_age") if sample[1] < NO_LEASE])
        page.samples(catalogue.WORKERS, [((), len(workers.indexes()))])
        if workers.all_heard():
            self._write_counters(page, workers.counters())

    def _write_counters(self, page: Page, counters: Mapping[str, int]) -> None:
        """Never a part of them: the rest would look like an increase, and of lost events, for which somebody is woken."""
        cache = [((name.removeprefix("cache:"),), count) for name, count in sorted(counters.items()) if name.startswith("cache:")]
        page.samples(catalogue.CACHE, cache)
        page.samples(catalogue.DROPPED, [((), counters.get("dropped", 0))])
        for family in catalogue.WORKER_COUNTERS:
            page.samples(family, _labelled(family, counters))


def _flat(counts: Mapping[str, Any]) -> Samples:
    return [(tuple(name.split(SEPARATOR)), value) for name, value in counts.items()]


def _labelled(family: Family, counters: Mapping[str, int]) -> Samples:
    """A worker names a counter by its family, and a label's value after a `:`."""
    found = [(name.partition(":")[2], count) for name, count in sorted(counters.items()) if name.partition(":")[0] == family.name]
    return [((value,) if family.labels else (), count) for value, count in found]
