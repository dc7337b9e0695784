"""Composes reconciliation, for a hub that has a ledger and settings that want it asked."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sidecar.control.reconcile.hub_ledger import HubLedger
from sidecar.control.reconcile.journal import Journal
from sidecar.control.reconcile.match import metered_routes
from sidecar.control.reconcile.reconciler import Reconciler
from sidecar.control.usage.calls import Calls
from sidecar.events.spool import SpoolWriter
from sidecar.hubs.load import load_profile
from sidecar.settings import Settings

JOURNAL_FILE = "reconcile"

_log = logging.getLogger(__name__)


def compose(settings: Settings, calls: Calls, spools: Path) -> Reconciler | None:
    """The reconciler, None when there is nothing to ask. Raises OSError and ProfileError."""
    if not settings.reconcile.enabled:
        return None
    profile = load_profile(settings.hub.profile)
    if not profile.ledger.form:
        _log.warning("reconcile.enabled has no effect: the profile %s names no ledger", profile.name)
        return None
    spool = settings.spool
    spools.mkdir(mode=0o700, exist_ok=True)
    return Reconciler(
        Journal.open(Path(settings.data_dir) / JOURNAL_FILE, spools),
        SpoolWriter(spools, segment_bytes=spool.segment_bytes, max_bytes=spool.max_bytes, writers=settings.proxy.worker_count + 1),
        HubLedger(settings.hub, profile),
        calls,
        routes=metered_routes(profile),
        every=settings.reconcile.every,
        give_up=settings.reconcile.give_up,
        clock=time.time,
    )
