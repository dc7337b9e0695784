"""Composes the control process: what there is, and who knows whom. Nothing runs yet when `compose` returns."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from sidecar.control import metering
from sidecar.control.admin.services import AdminServices
from sidecar.control.anomaly import compose as anomaly
from sidecar.control.audit import JOURNAL_DIRECTORY, AuditLog, Journal
from sidecar.control.console import app as console
from sidecar.control.folding.spools import Spools
from sidecar.control.lost_revocations import LostRevocations
from sidecar.control.metering import Metering
from sidecar.control.metrics.app import Endpoints
from sidecar.control.metrics.key_watch import KeyWatch
from sidecar.control.pulse import Pulse
from sidecar.control.readiness import Readiness
from sidecar.control.reconcile import Reconciler
from sidecar.control.reconcile import compose as compose_reconciler
from sidecar.control.status import Status
from sidecar.control.totals.series import Retention
from sidecar.control.usage.call_bounds import CallLogBounds
from sidecar.control.usage.calls import Calls
from sidecar.control.usage.overview import Overview
from sidecar.control.usage.reports import Reports
from sidecar.control.workers import Workers
from sidecar.keys import setup
from sidecar.keys.admin_tokens import AdminTokens
from sidecar.keys.digest import Digester
from sidecar.keys.idempotency import Idempotency
from sidecar.keys.repository import KeyRepository
from sidecar.keys.tombstone_file import TombstoneFile
from sidecar.settings import Settings
from sidecar.store.client import Store, connect

QUICK, PATIENT = 1.0, 2.0
"""Seconds that an answer of the store may take: to a person or a probe, and to the fold with its long scripts."""
ADMIN_FILE = "admin-token"
TOMBSTONE_FILE = "revoked"


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs and what is served."""

    stores: tuple[Store, Store]
    pulse: Pulse
    watch: KeyWatch
    metering: Metering
    call_log: CallLogBounds
    detection: anomaly.Detection | None
    reconciler: Reconciler | None
    readiness: Readiness
    admin: web.Application
    metrics: web.Application

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the fold, once the store has answered for the first time."""
        running = [self._watch()]
        if self.detection is not None:
            running += [self.detection.engine.run(), self.detection.delivery.run()]
        if self.reconciler is not None:
            running.append(self.reconciler.run())
        return running

    async def _watch(self) -> None:
        # Keys with counts take their places first.
        await self.metering.fold.restored.wait()
        await self.watch.run()


async def compose(settings: Settings, *, workers: int) -> Parts:
    """Put everything together; connects to the store, but does not wait for one that is down. Raises OSError and ValueError."""
    data_dir = Path(settings.data_dir)
    os.makedirs(data_dir, mode=0o700, exist_ok=True)
    made = setup.prepare(settings)
    store, patient = await asyncio.gather(
        connect(settings.store, data_dir, timeout=QUICK), connect(settings.store, data_dir, timeout=PATIENT)
    )
    tombstones = TombstoneFile(data_dir / TOMBSTONE_FILE, time.time())
    repository = KeyRepository(store, made.adoption, made.digester, tombstones=tombstones)
    admin_tokens = AdminTokens(store, made.adoption, made.digester, tombstones=tombstones)

    async def again() -> None:
        await lost_revocations.repeat()
        await admin_tokens.look_at_first()

    pulse = Pulse(store, made.adoption, first=lambda: admin_tokens.ensure_first(data_dir / ADMIN_FILE), again=again)
    audit = AuditLog(store, Journal(data_dir / JOURNAL_DIRECTORY), guard=pulse.check)
    lost_revocations = LostRevocations(tombstones, repository, admin_tokens, audit, time.time)
    spools = Spools(data_dir / metering.SPOOL_DIRECTORY)
    reported = Workers(time.time, since=time.time(), count=settings.proxy.worker_count, touched=spools.touched)
    detection = _detection(settings, store, repository, audit, reported, pulse, made.digester)
    engine = detection.engine if detection is not None else None
    calls = Calls(store)
    reconciler = compose_reconciler(settings, calls, data_dir / metering.SPOOL_DIRECTORY)
    further = [observer for observer in (engine, reconciler) if observer is not None]
    events = metering.compose(settings, patient, spools, pulse, reported, further, digester=made.digester)
    watch = KeyWatch(store, made.adoption, repository, events.keys, events.forget, time.time)
    readiness = Readiness(lambda: pulse.failure, events.fold.restored.is_set, reported, workers)
    reports = _reports(settings, store, calls, repository)
    services = AdminServices(
        settings=settings,
        keys=repository,
        admin_tokens=admin_tokens,
        idempotency=Idempotency(store),
        audit=audit,
        usage=reports,
        calls=calls,
        status=Status(settings, store, pulse=pulse, metering=events, clock=time.time),
        anomalies=detection.queries if detection is not None else None,
        clock=time.time,
    )
    scrape = metering.scrape_of(settings, events, pulse, readiness, audit=audit, detection=detection, reconciler=reconciler)
    return Parts(
        stores=(store, patient),
        pulse=pulse,
        watch=watch,
        metering=events,
        call_log=CallLogBounds(patient, max_count=settings.calls.max_count, max_age=settings.calls.max_age, clock=time.time),
        detection=detection,
        reconciler=reconciler,
        readiness=readiness,
        admin=console.build(services, store, made.digester.pepper, Overview(store, reports)),
        metrics=Endpoints(scrape, readiness, watch.sync).application(),
    )


def _detection(
    settings: Settings, store: Store, keys: KeyRepository, audit: AuditLog, workers: Workers, pulse: Pulse, digester: Digester
) -> anomaly.Detection | None:
    if not settings.anomaly.enabled:
        return None
    data_dir = Path(settings.data_dir)
    return anomaly.compose(
        settings,
        store,
        keys,
        audit,
        instance=metering.instance_of(data_dir),
        digester=digester,
        in_flight=workers.in_flight,
        guard=pulse.check,
        clock=time.time,
    )


def _reports(settings: Settings, store: Store, calls: Calls, keys: KeyRepository) -> Reports:
    async def owners(key_ids: list[str]) -> dict[str, str]:
        return {key.id: key.owner for key in await keys.get_many(key_ids) if key is not None}

    return Reports(store, calls, owners, Retention(settings.usage.minutes, settings.usage.hours), time.time)
