"""Composes the control process: what there is, and who knows whom. Nothing runs yet when `compose` returns."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sidecar.control.access_log import AccessLog
from sidecar.control.addresses import Addresses, load_salt
from sidecar.control.admin.app import build
from sidecar.control.admin.services import AdminServices
from sidecar.control.anomaly.compose import Detection
from sidecar.control.anomaly.compose import compose as compose_detection
from sidecar.control.audit import AuditLog, Journal
from sidecar.control.calls import CallLogBounds, Calls
from sidecar.control.fold import Fold, Observer
from sidecar.control.fold_loop import FoldLoop
from sidecar.control.key_use import KeyUse
from sidecar.control.key_watch import KeyWatch
from sidecar.control.ledger import Ledger
from sidecar.control.listener import Listener
from sidecar.control.metrics import catalogue
from sidecar.control.metrics.buckets import STORE
from sidecar.control.metrics.counts import Counter
from sidecar.control.metrics.keys import LabelledKeys
from sidecar.control.metrics.scrape import Gauges, Scrape
from sidecar.control.metrics.state import Counts
from sidecar.control.networks import Networks
from sidecar.control.pulse import Pulse
from sidecar.control.readiness import Readiness
from sidecar.control.series import Retention, SeriesBuilder
from sidecar.control.spools import Spools
from sidecar.control.status import Status
from sidecar.control.sweep import Sweep
from sidecar.control.usage import Usage
from sidecar.control.work import Planner
from sidecar.control.workers import Workers
from sidecar.keys import setup
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.idempotency import Idempotency
from sidecar.keys.repository import KeyRepository
from sidecar.settings import Settings
from sidecar.store.client import Store, connect

QUICK, PATIENT = 1.0, 2.0
"""Seconds that an answer of the store may take: to a person or a probe, and to the fold with its long scripts."""
SPOOL_DIRECTORY = "spool"
ADMIN_FILE = "admin-token"
INSTANCE_FILE = "instance-id"
JOURNAL_DIRECTORY = "audit-journal"


@dataclass(slots=True)
class Parts:
    """What runs and what is served."""

    stores: tuple[Store, Store]
    pulse: Pulse
    watch: KeyWatch
    loop: FoldLoop
    sweep: Sweep
    call_log: CallLogBounds
    readiness: Readiness
    admin: web.Application
    metrics: web.Application
    access_log: AccessLog | None
    detection: Detection | None


@dataclass(frozen=True, slots=True)
class _Metering:
    """The parts that are about events."""

    spools: Spools
    workers: Workers
    networks: Networks
    keys: LabelledKeys
    counts: Counts
    fold: Fold
    loop: FoldLoop
    sweep: Sweep
    access_log: AccessLog | None


async def compose(settings: Settings, *, workers: int) -> Parts:
    """Put everything together; connects to the store, but does not wait for one that is down. Raises OSError and ValueError."""
    data_dir = Path(settings.data_dir)
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    made = setup.prepare(settings)
    store, patient = await asyncio.gather(
        connect(settings.store, data_dir, timeout=QUICK), connect(settings.store, data_dir, timeout=PATIENT)
    )
    repository = KeyRepository(store, made.adoption, made.digester)
    admin_tokens = AdminTokens(store, made.adoption, made.digester)
    pulse = Pulse(store, made.adoption, lambda: admin_tokens.ensure_first(data_dir / ADMIN_FILE))
    audit = AuditLog(store, Journal(data_dir / JOURNAL_DIRECTORY))
    detection = None
    if settings.anomaly.enabled:
        detection = compose_detection(
            settings,
            patient,
            repository,
            audit,
            instance=_instance(data_dir),
            salt=load_salt(data_dir),
            in_flight=lambda: metering.workers.in_flight(),
            clock=time.time,
        )
    metering = _meter(settings, data_dir, patient, pulse, [detection.engine] if detection is not None else [])
    watch = KeyWatch(store, made.adoption, repository, metering.keys, time.time)
    readiness = Readiness(lambda: pulse.failure, lambda: metering.fold.restored, metering.workers, workers)
    calls = Calls(store)

    async def owners(key_ids: list[str]) -> dict[str, str]:
        found = await repository.get_many(key_ids)
        return {key.id: key.owner for key in found if key is not None}

    retention = Retention(settings.usage.minutes, settings.usage.hours)
    services = AdminServices(
        settings=settings,
        keys=repository,
        admin_tokens=admin_tokens,
        idempotency=Idempotency(store),
        audit=audit,
        usage=Usage(store, calls, owners, retention, time.time),
        calls=calls,
        status=Status(
            settings,
            store,
            failure=lambda: pulse.failure,
            complaint=lambda: metering.loop.complaint,
            readiness=readiness,
            workers=metering.workers,
            spools=metering.spools,
            fold=metering.fold,
            keys=metering.keys,
            clock=time.time,
        ),
        clock=time.time,
        anomalies=detection.queries if detection is not None else None,
    )
    scrape = Scrape(
        counts=metering.counts,
        keys=metering.keys,
        workers=metering.workers,
        networks=metering.networks,
        gauges=_gauges(metering, pulse, readiness),
        key_info=settings.metrics.key_info,
        restored=lambda: metering.fold.restored,
        signals=detection.engine if detection is not None else None,
    )
    return Parts(
        stores=(store, patient),
        pulse=pulse,
        watch=watch,
        loop=metering.loop,
        sweep=metering.sweep,
        call_log=CallLogBounds(patient, max_count=settings.calls.max_count, max_age=settings.calls.max_age, clock=time.time),
        readiness=readiness,
        admin=build(services),
        metrics=Listener(scrape, readiness, watch.sync).application(),
        access_log=metering.access_log,
        detection=detection,
    )


def _meter(settings: Settings, data_dir: Path, store: Store, pulse: Pulse, further: Sequence[Observer]) -> _Metering:
    addresses = Addresses(settings.log.client_address, load_salt(data_dir))
    keys = LabelledKeys(settings.metrics.max_keys)
    spools = Spools(data_dir / SPOOL_DIRECTORY)
    ledger = Ledger(store, _instance(data_dir))
    workers = Workers(time.time)
    networks = Networks()
    counts = Counts()
    access_log = None
    observers: list[Observer] = [workers, KeyUse(keys, networks), *further]
    if settings.log.access:
        access_log = AccessLog(sys.stdout.buffer, sample=settings.log.access_sample, client=addresses.client, network=addresses.network)
        observers.append(access_log)
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
        guard=pulse.check,
        observers=observers,
        redact=addresses.redact,
    )
    return _Metering(
        spools=spools,
        workers=workers,
        networks=networks,
        keys=keys,
        counts=counts,
        fold=fold,
        loop=FoldLoop(fold),
        sweep=Sweep(spools, fold, ledger, store, time.monotonic),
        access_log=access_log,
    )


def _gauges(metering: _Metering, pulse: Pulse, readiness: Readiness) -> Gauges:
    gauges = Gauges()
    gauges.one(catalogue.STORE_UP, lambda: float(not pulse.failure))
    gauges.one(catalogue.READY, lambda: float(not readiness()))
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


def _instance(data_dir: Path) -> str:
    """The name under which this data directory's counts are kept in the store."""
    path = data_dir / INSTANCE_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        instance = secrets.token_hex(8)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(instance + "\n")
        return instance
