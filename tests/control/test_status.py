"""What the status says of the workers."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from sidecar.control.admin import openapi
from sidecar.control.admin.endpoints import ENDPOINTS
from sidecar.control.admin.messages.operations import HubState, SpoolState, StoreState, Versions, WorkerObject
from sidecar.control.folding.spools import Spools
from sidecar.control.metering import compose
from sidecar.control.pulse import Pulse
from sidecar.control.status import Status
from sidecar.control.workers import Workers
from sidecar.events.record import NO_LEASE
from sidecar.settings import Settings
from sidecar.store.client import Store
from tests.control.support.events import state, sums_of
from tests.support.keys import Clock, open_keys


async def status_with_a_worker(store: Store, tmp_path: Path, **reported: float) -> Status:
    async def nothing() -> None:
        return

    keys, clock, settings = await open_keys(store, tmp_path), Clock(), Settings(data_dir=str(tmp_path))
    workers, pulse = Workers(clock, since=clock.now), Pulse(store, keys.adoption, first=nothing, again=nothing)
    metering = compose(settings, store, Spools(tmp_path), pulse, workers, (), digester=keys.digester)
    workers.observe("spool", [], sums_of(state(0, time=clock.now, **reported)))
    return Status(settings, store, pulse=pulse, metering=metering, clock=clock)


@pytest.mark.parametrize(("age", "shown"), [(0.25, 0.25), (3600.0, 3600.0), (NO_LEASE, None), (float("inf"), None)])
async def test_a_worker_without_a_lease_has_no_age(store: Store, tmp_path: Path, age: float, shown: float | None) -> None:
    status = await status_with_a_worker(store, tmp_path, lease_age=age)
    assert [worker["lease_age_seconds"] for worker in (await status.snapshot())["workers"]] == [shown]


async def test_the_state_is_what_the_openapi_document_says_of_it(store: Store, tmp_path: Path) -> None:
    parts = await (await status_with_a_worker(store, tmp_path)).snapshot()
    for name, message in {"store": StoreState, "hub": HubState, "spool": SpoolState, "versions": Versions}.items():
        # The store's version is told only while it answers.
        assert set(parts[name]) | {"version"} & set(message.__annotations__) == set(message.__annotations__), name
    assert [set(worker) for worker in parts["workers"]] == [set(WorkerObject.__annotations__)]
    schemas = openapi.document(ENDPOINTS, "")["components"]
    answer = {"version": "1", "time": "2026-11-29T06:20:22Z", "audit": {"waiting": 0}, **parts}
    jsonschema_rs.validator_for({"$ref": "#/components/schemas/StatusAnswer", "components": schemas}).validate(answer)
