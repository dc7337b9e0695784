"""Composes what is about events: from the spools to the store, and what is counted on the way."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.control.access_log import AccessLog, standard_output
from sidecar.control.addresses import SALT_SIZE, Addresses, SharedSalt, load_salt
from sidecar.control.anomaly.compose import Detection
from sidecar.control.audit import ACTIONS, ATTEMPTS, AuditLog
from sidecar.control.folding.claims import Claims
from sidecar.control.folding.fold import Fold
from sidecar.control.folding.ledger import Ledger
from sidecar.control.folding.loop import FoldLoop
from sidecar.control.folding.observer import EventObserver
from sidecar.control.folding.spools import Spools
from sidecar.control.folding.sweep import Sweep
from sidecar.control.folding.work import Planner
from sidecar.control.metrics import catalogue
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.key_use import KeyUse
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.scrape import Gauges, Scrape
from sidecar.control.metrics.state import Counts
from sidecar.control.networks import Networks
from sidecar.control.pulse import Pulse
from sidecar.control.readiness import Readiness
from sidecar.control.reconcile import Reconciler
from sidecar.control.salt import HASHES, Salt
from sidecar.control.totals.buckets import STORE
from sidecar.control.totals.series import Retention, SeriesBuilder
from sidecar.control.workers import Workers
from sidecar.keys.digest import Digester
from sidecar.keys.secret_file import read_or_make
from sidecar.settings import Settings
from sidecar.store.client import Store

SPOOL_DIRECTORY = "spool"
INSTANCE_FILE = "instance-id"
_NO_ACTS = {(action, "success"): 0 for action in ACTIONS} | {(action, "denied"): 0 for action in ATTEMPTS}
"""Series that exist before the first act of their kind, which `increase()` would miss."""


@dataclass(frozen=True, slots=True)
class Metering:
    """The parts that are about events."""

    spools: Spools
    workers: Workers
    networks: Networks
    keys: LabelledKeys
    counts: Counts
    ledger: Ledger
    fold: Fold
    loop: FoldLoop
    sweep: Sweep
    access_log: AccessLog | None

    async def forget(self, key_ids: Sequence[str]) -> None:
        """Drop the counts of keys that are no longer exported; raises StoreUnavailable."""
        self.counts.forget(key_ids)
        await self.ledger.forget_keys(key_ids)


def compose(
    settings: Settings,
    store: Store,
    spools: Spools,
    pulse: Pulse,
    workers: Workers,
    further: Sequence[EventObserver],
    *,
    digester: Digester,
) -> Metering:
    """Put the fold together; `further` observers see the events too, and of `digester` only the peppers matter. Raises OSError."""
    data_dir = Path(settings.data_dir)
    salt = load_salt(data_dir)
    addresses = Addresses(settings.log.client_address, salt)
    shared = SharedSalt(addresses, Salt(store, digester.pepper, digester.previous, use=HASHES, first=salt[:SALT_SIZE]), data_dir)
    keys = LabelledKeys(settings.metrics.max_keys)
    ledger = Ledger(store, instance_of(data_dir))
    claims = Claims(store, ledger, spools, data_dir / SPOOL_DIRECTORY, pulse.check)
    networks = Networks()
    counts = Counts()
    access_log = _access_log(settings, addresses) if settings.log.access else None

    async def guard() -> None:
        await claims.guard()
        if settings.log.client_address == "hash":
            # Before anything is hashed: the fold asks here before it counts its first event.
            await shared.learn()

    fold = Fold(
        spools,
        ledger,
        counter=Counter(keys.label),
        counts=counts,
        planner=Planner(
            SeriesBuilder(Retention(settings.usage.minutes, settings.usage.hours)),
            network=addresses.network,
            active_for=settings.usage.hours,
        ),
        guard=guard,
        claim=claims.claim,
        observers=[workers, KeyUse(keys, networks), *([access_log] if access_log else []), *further],
        redact=addresses.redact,
    )
    return Metering(
        spools=spools,
        workers=workers,
        networks=networks,
        keys=keys,
        counts=counts,
        ledger=ledger,
        fold=fold,
        loop=FoldLoop(fold, spools.ends),
        sweep=Sweep(spools, fold, ledger, claims, store),
        access_log=access_log,
    )


def scrape_of(
    settings: Settings,
    metering: Metering,
    pulse: Pulse,
    readiness: Readiness,
    *,
    audit: AuditLog,
    detection: Detection | None,
    reconciler: Reconciler | None,
) -> Scrape:
    """What answers /metrics."""
    gauges = _gauges(metering, pulse, readiness)
    workers = settings.proxy.worker_count
    gauges.one(catalogue.WORKERS_CONFIGURED, lambda: workers)
    gauges.many(catalogue.AUDIT, lambda: sorted({**_NO_ACTS, **audit.recorded}.items()))
    if detection is not None:
        attempts = detection.delivery.attempts
        gauges.many(catalogue.WEBHOOKS, lambda: [((outcome,), count) for outcome, count in attempts.items()])
    if reconciler is not None:
        _add_reconciler(gauges, metering.keys, reconciler)
    return Scrape(
        counts=metering.counts,
        keys=metering.keys,
        workers=metering.workers,
        networks=metering.networks,
        gauges=gauges,
        key_info=settings.metrics.key_info,
        restored=metering.fold.restored.is_set,
        signals=detection.engine if detection is not None else None,
    )


def instance_of(data_dir: Path) -> str:
    """The name under which this data directory's counts are kept in the store; made at the first start."""
    return read_or_make(data_dir / INSTANCE_FILE, lambda: secrets.token_hex(8))


def _access_log(settings: Settings, addresses: Addresses) -> AccessLog:
    return AccessLog(standard_output(), sample=settings.log.access_sample, client=addresses.client, network=addresses.network)


def _add_reconciler(gauges: Gauges, keys: LabelledKeys, reconciler: Reconciler) -> None:
    gauges.one(catalogue.RECONCILE_WAITING, lambda: reconciler.waiting)
    gauges.one(catalogue.RECONCILE_GIVEN_UP, lambda: reconciler.given_up)
    gauges.one(catalogue.RECONCILE_UP, lambda: int(not reconciler.complaint))
    gauges.many(catalogue.KEY_DRIFT, lambda: [((key_id,), drift) for key_id, drift in reconciler.drift.items() if key_id in keys.records])


def _gauges(metering: Metering, pulse: Pulse, readiness: Readiness) -> Gauges:
    gauges = Gauges()
    gauges.one(catalogue.STORE_UP, lambda: int(not pulse.failure))
    gauges.one(catalogue.READY, lambda: int(not readiness()))
    gauges.one(catalogue.TRACKED, lambda: len(metering.keys.records))
    gauges.one(catalogue.KEY_LIMIT, lambda: metering.keys.limit)
    gauges.one(catalogue.OVERFLOWN, lambda: metering.keys.overflowing)
    gauges.one(catalogue.SPOOL_BYTES, metering.spools.size)
    gauges.one(catalogue.BACKLOG, metering.fold.backlog)
    gauges.one(catalogue.CORRUPT, lambda: metering.spools.corrupt)
    access_log = metering.access_log
    if access_log is not None:
        gauges.one(catalogue.LOG_DROPPED, lambda: access_log.dropped)
    gauges.histogram(catalogue.STORE_DURATION, STORE, lambda: [(("ping",), pulse.durations)])
    return gauges
