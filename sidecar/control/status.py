"""What `GET /admin/v1/status` says: the state of every part. Nobody is let in without the store, so `/readyz` speaks while that is down."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from sidecar import __version__
from sidecar.control.metering import Metering
from sidecar.control.pulse import Pulse
from sidecar.events.record import NO_LEASE, WorkerState
from sidecar.settings import Settings
from sidecar.store.client import Store, StoreUnavailable


class Status:
    """Answers from what the control process holds; only the store's version is asked for."""

    def __init__(self, settings: Settings, store: Store, *, pulse: Pulse, metering: Metering, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._pulse = pulse
        self._metering = metering
        self._clock = clock

    async def snapshot(self) -> dict[str, Any]:
        """JSON-ready: `store`, `hub`, `workers`, `spool`, `versions`."""
        metering = self._metering
        return {
            "store": await self._store_part(),
            "hub": {"url": str(self._settings.hub.url), "profile": self._settings.hub.profile},
            "workers": [self._worker(state) for state in metering.workers.live()],
            "spool": {
                "spools": len(metering.spools.ids),
                "bytes": metering.spools.size(),
                "backlog_bytes": metering.fold.backlog(),
                "dropped": metering.workers.counters().get("dropped", 0),
                "corrupt": metering.spools.corrupt,
                "complaint": metering.loop.complaint,
            },
            "versions": {"sidecar": __version__, "python": platform.python_version()},
        }

    async def _store_part(self) -> dict[str, Any]:
        failure = self._pulse.failure
        part: dict[str, Any] = {
            "kind": self._settings.store.url.reveal().partition(":")[0],
            "up": not failure,
            "failure": failure,
            "on_unavailable": self._settings.store.on_unavailable,
        }
        if not failure:
            try:
                part["version"] = _server_version(await self._store.call("INFO", "server"))
            except StoreUnavailable as error:
                part.update(up=False, failure=str(error))
        return part

    def _worker(self, state: WorkerState) -> dict[str, Any]:
        return {
            "worker": state.worker,
            "pid": state.pid,
            "age_seconds": round(max(0.0, self._clock() - state.time), 3),
            "in_flight": sum(state.in_flight.values()),
            "lease_age_seconds": round(state.lease_age, 3) if state.lease_age < NO_LEASE else None,
            "loop_lag_seconds": round(state.loop_lag, 6),
            "connections": state.connections,
            "hub_connections": state.hub_connections,
            "drains": state.draining,
            "store_up": state.store_up,
            "dropped_events": state.dropped,
            "cache": state.cache,
        }


def _server_version(info: Any) -> str:
    text = info.decode() if isinstance(info, bytes) else str(info)
    fields = dict(row.partition(":")[::2] for row in text.splitlines() if ":" in row)
    name, version = ("valkey", fields["valkey_version"]) if "valkey_version" in fields else ("redis", fields.get("redis_version", ""))
    return f"{name} {version}".strip()
